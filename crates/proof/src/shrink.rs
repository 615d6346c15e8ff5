//! Makes a failing case small: fewer edits, fewer objects, fewer rules, one packet a commit.

use tortie_api::kind::ResourceKey;
use tortie_api::policy::Rule;
use tortie_api::resource::Resource;

use crate::check::{Case, Difference, Fault, run};
use crate::cover::Cover;
use crate::random::{Edit, Objects};

/// The smallest case found that still differs, with its difference.
pub fn shrink(case: &Case, fault: Fault) -> (Case, Difference) {
    let fails = |case: &Case| run(case, fault, &mut Cover::default());
    let mut best = case.clone();
    let Some(mut difference) = fails(&best) else {
        return (
            best,
            Difference {
                commits: 0,
                during: None,
                packet: None,
                expected: "the same difference again".to_owned(),
                found: "none: the run isn't repeatable".to_owned(),
            },
        );
    };
    loop {
        let mut smaller = candidates(&best, &difference).into_iter();
        let found = smaller.find_map(|case| fails(&case).map(|difference| (case, difference)));
        match found {
            Some((case, found)) => (best, difference) = (case, found),
            None => return (best, difference),
        }
    }
}

/// Cases that are a little smaller, the boldest first.
fn candidates(case: &Case, difference: &Difference) -> Vec<Case> {
    let mut all = Vec::new();
    let with = |change: &dyn Fn(&mut Case)| {
        let mut smaller = case.clone();
        change(&mut smaller);
        smaller
    };
    let needed = difference.commits;
    if case.edits.len() > needed {
        all.push(with(&|case| case.edits.truncate(needed)));
    }
    // The first edits as part of the start.
    if !case.edits.is_empty() {
        all.push(with(&|case| {
            let first = case.edits.remove(0);
            apply(&mut case.objects, &first);
        }));
    }
    all.extend((0..case.edits.len()).map(|at| {
        with(&|case| {
            case.edits.remove(at);
        })
    }));
    let keys: Vec<&ResourceKey> = case.objects.keys().collect();
    for part in keys.chunks((keys.len() / 2).max(1)) {
        all.push(with(&|case| {
            part.iter().for_each(|key| {
                case.objects.remove(*key);
            })
        }));
    }
    all.extend(keys.iter().map(|key| {
        with(&|case| {
            case.objects.remove(*key);
        })
    }));
    for (key, object) in &case.objects {
        for smaller in simpler(object) {
            all.push(with(&|case| {
                case.objects.insert(key.clone(), smaller.clone());
            }));
        }
    }
    all
}

fn apply(objects: &mut Objects, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Put(resource) => {
                objects.insert(resource.key(), resource.clone());
            }
            Edit::Delete(key) => {
                objects.remove(key);
            }
        }
    }
}

/// The object with one rule less.
fn simpler(object: &Resource) -> Vec<Resource> {
    fn fewer(rules: &[Rule]) -> Vec<Vec<Rule>> {
        (0..rules.len())
            .map(|skip| {
                let kept = rules.iter().enumerate().filter(|(at, _)| *at != skip);
                kept.map(|(_, rule)| rule.clone()).collect()
            })
            .collect()
    }
    macro_rules! rules {
        ($policy:expr) => {{
            let mut all = Vec::new();
            for ingress in fewer(&$policy.spec.ingress) {
                let mut policy = (**$policy).clone();
                policy.spec.ingress = ingress;
                all.push(policy);
            }
            for egress in fewer(&$policy.spec.egress) {
                let mut policy = (**$policy).clone();
                policy.spec.egress = egress;
                all.push(policy);
            }
            all
        }};
    }
    match object {
        Resource::NetworkPolicy(policy) => rules!(policy).into_iter().map(Resource::from).collect(),
        Resource::GlobalNetworkPolicy(policy) => rules!(policy).into_iter().map(Resource::from).collect(),
        Resource::Profile(profile) => rules!(profile).into_iter().map(Resource::from).collect(),
        _ => Vec::new(),
    }
}
