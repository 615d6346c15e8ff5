//! The refused side of each condition on a single field, for each kind that has the field: the value is made from the condition
//! itself, so that none can be without one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::check::Check;
use super::{has_schema, table, validate_json};
use crate::kind::{Api, Kind};
use crate::registry;
use crate::schema::Shape;

/// Values that break a condition, and what is said of each.
fn broken(check: Check) -> Vec<(Value, String)> {
    let text = |length: usize| Value::from("x".repeat(length));
    match check {
        Check::OneOf(known) => vec![(json!("none of them"), format!("supported values: {:?}", known[0]))],
        Check::OneOfNumbers(known) => vec![(json!(-7), format!("supported values: {}", known[0]))],
        Check::Pattern(pattern) => vec![(json!("\u{1} no, not this"), format!("should match '{pattern}'"))],
        Check::Length(most) => vec![(text(most + 1), format!("Too long: may not be more than {most} bytes"))],
        Check::Items(most) => {
            let items = vec![Value::Null; most + 1];
            vec![(items.into(), format!("Too many: {}: must have at most {most} items", most + 1))]
        }
        Check::Range(least, most) => {
            let low = (json!(i128::from(least) - 1), format!("should be greater than or equal to {least}"));
            let high = (json!(i128::from(most) + 1), format!("should be less than or equal to {most}"));
            [low, high].into_iter().filter(|(number, _)| number.is_i64()).collect()
        }
        Check::Bounds(least, most) => {
            let low = (json!(i128::from(least) - 1), "because of Tag: gte".to_owned());
            let high = (json!(i128::from(most) + 1), "because of Tag: lte".to_owned());
            [low, high].into_iter().filter(|(number, _)| number.is_i64()).collect()
        }
        Check::Int32 => vec![(json!(1_i64 << 31), "must be of type int32".to_owned())],
        Check::Cidr => vec![(json!("10.0.0.1"), "must be of type cidr".to_owned())],
        Check::Required => {
            vec![(json!(""), "Required value".to_owned()), (Value::Null, "Required value".to_owned())]
        }
        Check::Tag(tag, ..) => vec![(json!("\u{1} [ , no"), format!("because of Tag: {tag} "))],
        Check::Each(checks) => checks
            .iter()
            .flat_map(|check| broken(*check))
            .map(|(item, said)| (Value::Array(vec![item]), said))
            .collect(),
    }
}

/// An object that holds nothing but `value`, at a path of fields and list items.
fn nested(path: &[Step], value: &Value) -> Value {
    match path {
        [] => value.clone(),
        [Step::Field(name), rest @ ..] => json!({ *name: nested(rest, value) }),
        [Step::Item, rest @ ..] => json!([nested(rest, value)]),
    }
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Item,
}

fn shown(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Item => "[0]".to_owned(),
    });
    steps.collect::<String>().trim_start_matches('.').to_owned()
}

/// Breaks each condition below `shape`, and notes it.
fn break_all(kind: Kind, shape: &'static Shape, path: &mut Vec<Step>, done: &mut BTreeSet<(String, String)>) {
    match shape {
        Shape::Struct(known) => {
            for field in known.fields {
                path.push(Step::Field(field.name));
                let conditions = table::checks(known.go_name).iter().filter(|(name, _)| *name == field.name);
                for check in conditions.flat_map(|(_, checks)| *checks) {
                    if has_schema(kind) || !check.only_in_schemas() {
                        break_one(kind, *check, path);
                        done.insert((known.go_name.to_owned(), field.name.to_owned()));
                    }
                }
                break_all(kind, field.shape, path, done);
                path.pop();
            }
        }
        Shape::List(inner) => {
            path.push(Step::Item);
            break_all(kind, inner, path, done);
            path.pop();
        }
        _ => {}
    }
}

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
        break_all(kind, registry::shape(kind), &mut Vec::new(), &mut done);
    }
    // There is no condition on a field that no kind has.
    let all: BTreeSet<(String, String)> =
        table::all().map(|(of, field)| (of.to_owned(), field.to_owned())).collect();
    assert_eq!(all.difference(&done).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
    assert!(done.len() > 200, "{} conditions", done.len());
}
