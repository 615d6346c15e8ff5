//! Values that break the conditions on single fields, made from the conditions themselves, so that none can be without one.

use serde_json::{Value, json};
use tortie_api::schema::Shape;
use tortie_api::validate::check::Check;
use tortie_api::validate::conditions;

/// Values that break a condition, and what is said of each.
pub fn broken(check: Check) -> Vec<(Value, String)> {
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
pub fn nested(path: &[Step], value: &Value) -> Value {
    match path {
        [] => value.clone(),
        [Step::Field(name), rest @ ..] => json!({ *name: nested(rest, value) }),
        [Step::Item, rest @ ..] => json!([nested(rest, value)]),
    }
}

/// A step on the way from an object to what is in it.
#[derive(Clone, Copy)]
pub enum Step {
    /// The field of that name.
    Field(&'static str),
    /// The first of a list.
    Item,
}

/// The way as messages have it.
pub fn shown(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Item => "[0]".to_owned(),
    });
    steps.collect::<String>().trim_start_matches('.').to_owned()
}

/// A condition of a type, on the way to a field.
pub struct Condition {
    /// The type's name in Go.
    pub of: &'static str,
    /// The field's name.
    pub field: &'static str,
    /// The condition.
    pub check: Check,
    /// The way to the field.
    pub path: Vec<Step>,
}

/// Each condition below a shape.
pub fn each_condition(shape: &'static Shape) -> Vec<Condition> {
    let mut found = Vec::new();
    below(shape, &mut Vec::new(), &mut found);
    found
}

fn below(shape: &'static Shape, path: &mut Vec<Step>, found: &mut Vec<Condition>) {
    match shape {
        Shape::Struct(known) => {
            for field in known.fields {
                path.push(Step::Field(field.name));
                let checks = conditions(known.go_name).iter().filter(|(name, _)| *name == field.name);
                found.extend(checks.flat_map(|(_, checks)| *checks).map(|check| Condition {
                    of: known.go_name,
                    field: field.name,
                    check: *check,
                    path: path.clone(),
                }));
                below(field.shape, path, found);
                path.pop();
            }
        }
        Shape::List(inner) => {
            path.push(Step::Item);
            below(inner, path, found);
            path.pop();
        }
        _ => {}
    }
}
