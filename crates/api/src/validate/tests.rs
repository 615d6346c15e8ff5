//! The refused side of each condition on a single field, for each kind that has the field.

#[path = "../../tests/messages/broken.rs"]
mod broken;

use std::collections::BTreeSet;

use super::check::Check;
use super::{has_schema, table, validate_json};
use crate::kind::{Api, Kind};
use crate::registry;
use broken::{Condition, Step, broken, each_condition, nested, shown};

fn break_one(kind: Kind, check: Check, path: &[Step]) {
    for (value, words) in broken(check) {
        let object = nested(path, &value);
        let faults = validate_json(kind, &object);
        let field = shown(path);
        // A condition that only schemas know is passed over inside of a list too.
        let is_told =
            faults.iter().any(|fault| fault.field.starts_with(&field) && fault.message.contains(&words));
        let in_schema_only =
            matches!(check, Check::Each(inner) if inner.iter().any(|check| check.only_in_schemas()));
        assert!(is_told || (in_schema_only && !has_schema(kind)), "{kind:?} {object}: {words}: {faults:#?}");
        for fault in faults.iter().filter(|fault| fault.field.starts_with(&field)) {
            assert!(fault.message.starts_with("error with field "), "{}", fault.message);
            assert!(!fault.expected.is_empty() && !fault.found.is_empty(), "{fault:?}");
        }
    }
}

#[test]
fn each_condition_on_a_field_refuses_what_breaks_it_and_says_why() {
    let mut done = BTreeSet::new();
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.api() == Api::Calico) {
        for Condition { of, field, check, path } in each_condition(registry::shape(kind)) {
            if has_schema(kind) || !check.only_in_schemas() {
                break_one(kind, check, &path);
                done.insert((of.to_owned(), field.to_owned()));
            }
        }
    }
    // There is no condition on a field that no kind has.
    let all: BTreeSet<(String, String)> =
        table::all().map(|(of, field)| (of.to_owned(), field.to_owned())).collect();
    assert_eq!(all.difference(&done).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
    assert!(done.len() > 200, "{} conditions", done.len());
}
