//! What a selector means in its place, and what an index can know of it: by hand.
#![expect(clippy::unwrap_used, reason = "tests")]

use tortie_api::selector::{LabelRestriction, SERVICE_ACCOUNT_LABEL, Selector, Test};

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

#[test]
fn all_and_global_in_a_rules_namespace_selector_ask_for_a_namespace() {
    for (text, meaning) in [
        ("all()", "has(projectcalico.org/namespace)"),
        ("global()", "!has(projectcalico.org/namespace)"),
        ("!global()", "has(projectcalico.org/namespace)"),
        ("team == 'red' || global()", "(pcns.team == \"red\" || !has(projectcalico.org/namespace))"),
        ("!(all() && team in {'red'})", "!(has(projectcalico.org/namespace) && pcns.team in {\"red\"})"),
        ("has(team)", "has(pcns.team)"),
        // A value is not a selector, whatever it says.
        ("team == 'all()'", "pcns.team == \"all()\""),
    ] {
        let meant = selector(text).in_rule_namespaces();
        assert_eq!(meant.canonical(), meaning, "{text}");
    }
}

#[test]
fn service_accounts_are_matched_by_prefixed_labels_and_by_name() {
    let labels = selector("role == 'admin' && all()").in_service_accounts();
    assert_eq!(labels.canonical(), "(pcsa.role == \"admin\" && all())");
    let names = Selector::service_account_names(["web", "api"]);
    assert_eq!(names.canonical(), "projectcalico.org/serviceaccount in {\"api\", \"web\"}");
    assert_eq!(
        selector("all() && has(a)").with_all_as_has(SERVICE_ACCOUNT_LABEL).canonical(),
        "(has(projectcalico.org/serviceaccount) && has(a))"
    );
}

#[test]
fn combining_keeps_the_precedence_of_each_side() {
    let either = selector("has(a) || has(b)");
    assert_eq!(
        either.clone().namespaced("shop").canonical(),
        "((has(a) || has(b)) && projectcalico.org/namespace == \"shop\")"
    );
    assert_eq!(Selector::all().namespaced("shop"), Selector::in_namespace("shop"));
    assert_eq!(either.clone().or(Selector::all()), Selector::all());
    assert_eq!(either.clone().not().not(), either);
}

#[test]
fn what_could_not_be_written_down_is_not_made() {
    let value = |text: &str| Test::Equal(text.into());
    assert!(Selector::label("a", value("it's")).is_some());
    assert!(Selector::label("a", value("it's \"quoted\"")).is_none());
    assert!(Selector::label("a b", value("c")).is_none());
    assert!(Selector::label("", Test::Present).is_none());
    let set = ["a", "'\""].into_iter().collect();
    assert!(Selector::label("a", Test::In(set)).is_none());
}

#[test]
fn restrictions_name_every_required_label_of_a_conjunction() {
    let selector = selector(
        "app in {'web','api'} && (app == 'api' || app == 'db') && has(tier) && !has(legacy) \
         && !(zone != 'eu') && name starts with 'x' && free != 'y'",
    );
    let restrictions = selector.label_restrictions().unwrap();
    let named: Vec<&str> = restrictions.keys().copied().collect();
    assert_eq!(named, ["app", "legacy", "name", "tier", "zone"]);
    let one_of = |values: &[&'static str]| LabelRestriction {
        must_be_present: true,
        must_be_absent: false,
        must_have_one_of: Some(values.to_vec()),
    };
    assert_eq!(restrictions["app"], one_of(&["api"]));
    assert_eq!(restrictions["zone"], one_of(&["eu"]));
    assert!(restrictions["legacy"].must_be_absent);
    assert!(restrictions["tier"].must_be_present);
    assert!(restrictions["name"].must_be_present);
}

#[test]
fn restrictions_of_an_alternative_are_what_all_sides_require() {
    let either = selector("a == 'x' && b == 'y' || a in {'z'} || a in {} && c == 'q'");
    let restrictions = either.label_restrictions().unwrap();
    assert_eq!(restrictions.len(), 1);
    assert_eq!(restrictions["a"].must_have_one_of, Some(vec!["x", "z"]));

    for nothing in [
        "a in {}",
        "!all()",
        "!(a not in {})",
        "a == 'x' && a == 'y'",
        "a == 'x' && !has(a)",
        "!(has(a) || !has(a))",
        "a in {} || !all()",
    ] {
        assert_eq!(selector(nothing).label_restrictions(), None, "{nothing}");
    }
    for anything in ["all()", "global()", "a != 'x'", "has(a) || has(b)", "!(a == 'x')"] {
        let restrictions = selector(anything);
        assert!(restrictions.label_restrictions().unwrap().is_empty(), "{anything}");
    }
}
