//! calc + classify against analysis, on random clusters, edits and packets.

use tortie_proof::check::Fault;
use tortie_proof::{Plan, faults, search};

#[test]
fn tables_say_what_analysis_says_and_each_commit_shows_only_before_or_after() {
    let plan = Plan::default();
    let (cover, found) = search(plan, 2_000, Fault::default());
    assert!(found.is_none(), "\n{}", found.unwrap_or_default());
    assert!(2_000 * plan.commits * (1 + plan.edits) / 2 >= 20_000, "fewer edits than promised");
    assert!(2_000 * plan.packets_per_cluster() >= 200_000, "fewer packets than promised");
    assert_eq!(
        cover.lacking(),
        [],
        "of {} sides compared, these decided less than one in a hundred",
        cover.packets()
    );
}

#[test]
fn each_seeded_fault_is_found() {
    let missed: Vec<&str> = faults::all()
        .into_iter()
        // The same seeds as above, where nothing differs without a fault.
        .filter(|(_, fault)| !finds(Plan::default(), *fault))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(missed, [""; 0]);
}

/// Whether 400 clusters show a difference; it isn't made small.
fn finds(plan: Plan, fault: Fault) -> bool {
    (plan.seed..plan.seed + 400).any(|seed| {
        tortie_proof::check::run(&plan.case(seed), fault, &mut tortie_proof::cover::Cover::default())
            .is_some()
    })
}
