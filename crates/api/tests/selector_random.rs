//! Random selectors: written in any spelling, read, and held against a second evaluator that
//! shares nothing with the first.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use fastrand::Rng;
use tortie_api::selector::{Node, Selector};

const NAMES: [&str; 6] = ["a", "b", "in", "not", "pcns.a", "x/y-z"];
const VALUES: [&str; 7] = ["", "a", "b", "ab", "bab", "it's", "say \"a\""];

/// A selector as a nest of closures would be: what the naive evaluator walks.
enum Expression {
    All,
    Global,
    Has(&'static str),
    Compare(&'static str, &'static str, &'static str),
    Set(&'static str, bool, Vec<&'static str>),
    Not(Box<Expression>),
    Chain(&'static str, Vec<Expression>),
}

fn mk_expression(rng: &mut Rng, depth: usize) -> Expression {
    let name = *rng.choice(&NAMES).as_ref().unwrap();
    let value = *rng.choice(&VALUES).as_ref().unwrap();
    match rng.usize(0..if depth == 0 { 8 } else { 16 }) {
        0 if rng.bool() => Expression::All,
        0 => Expression::Global,
        1 => Expression::Has(name),
        2..6 => {
            let operators = ["==", "!=", "contains", "starts with", "ends with"];
            Expression::Compare(name, rng.choice(operators).unwrap(), value)
        }
        6 | 7 => {
            let count = rng.usize(0..4);
            let values = rng.choose_multiple(VALUES, count);
            Expression::Set(name, rng.bool(), values)
        }
        8..10 => Expression::Not(Box::new(mk_expression(rng, depth - 1))),
        _ => {
            let operands = (0..rng.usize(2..4)).map(|_| mk_expression(rng, depth - 1));
            let operands = operands.collect();
            Expression::Chain(if rng.bool() { "&&" } else { "||" }, operands)
        }
    }
}

fn naive(expression: &Expression, labels: &BTreeMap<&str, &str>) -> bool {
    match expression {
        Expression::All | Expression::Global => true,
        Expression::Has(name) => labels.contains_key(name),
        Expression::Compare(name, operator, wanted) => {
            let found = labels.get(name).map_or("(none)".to_owned(), ToString::to_string);
            if !labels.contains_key(name) {
                return *operator == "!=";
            }
            match *operator {
                "==" => found == *wanted,
                "!=" => found != *wanted,
                "contains" => found.split(wanted).count() > 1,
                "starts with" => found.find(wanted) == Some(0),
                _ => found.rfind(wanted) == Some(found.len().wrapping_sub(wanted.len())),
            }
        }
        Expression::Set(name, negated, values) => {
            let inside = values.iter().any(|value| labels.get(name) == Some(value));
            inside != *negated
        }
        Expression::Not(operand) => !naive(operand, labels),
        Expression::Chain(operator, operands) => {
            let matching = operands.iter().filter(|operand| naive(operand, labels));
            match *operator {
                "&&" => matching.count() == operands.len(),
                _ => matching.count() > 0,
            }
        }
    }
}

/// The expression in some spelling; every operand of a chain in parentheses, or not where the
/// precedence allows it.
fn spell(expression: &Expression, rng: &mut Rng) -> String {
    let blank = |rng: &mut Rng| *rng.choice(&["", " ", "\t", "  "]).unwrap();
    let some = |rng: &mut Rng| *rng.choice(&[" ", "\t", " \t "]).unwrap();
    match expression {
        Expression::All => format!("all({})", blank(rng)),
        Expression::Global => format!("global({})", blank(rng)),
        Expression::Has(name) => format!("has({}{name}{})", blank(rng), blank(rng)),
        Expression::Compare(name, operator, value) => {
            let operator = match (*operator, rng.bool()) {
                ("starts with", true) => "startswith",
                ("ends with", true) => "endswith",
                (operator, _) => operator,
            };
            let before = some(rng);
            format!("{name}{before}{operator}{}{}", blank(rng), quote(value, rng))
        }
        Expression::Set(name, negated, values) => {
            let operator = match (negated, rng.bool()) {
                (false, _) => "in",
                (true, false) => "not in",
                (true, true) => "notin",
            };
            let mut text = format!("{name}{}{operator}{}{{", some(rng), blank(rng));
            for (index, value) in values.iter().enumerate() {
                text += &format!("{}{}{}", blank(rng), quote(value, rng), blank(rng));
                if index + 1 < values.len() || rng.bool() {
                    text += ",";
                }
            }
            text + blank(rng) + "}"
        }
        Expression::Not(operand) => {
            format!("!{}{}", blank(rng), operand_text(operand, true, rng))
        }
        Expression::Chain(operator, operands) => {
            let mut texts = Vec::new();
            for operand in operands {
                let nested = *operator == "&&" || matches!(operand, Expression::Chain("||", _));
                texts.push(operand_text(operand, nested, rng));
            }
            texts.join(&format!("{}{operator}{}", blank(rng), blank(rng)))
        }
    }
}

fn operand_text(operand: &Expression, chains_need_it: bool, rng: &mut Rng) -> String {
    let text = spell(operand, rng);
    let needed = chains_need_it && matches!(operand, Expression::Chain(..));
    if needed || rng.usize(0..8) == 0 {
        return format!("({text})");
    }
    text
}

fn quote(value: &str, rng: &mut Rng) -> String {
    let quote = match (value.contains('"'), value.contains('\'')) {
        (true, _) => '\'',
        (_, true) => '"',
        _ => *rng.choice(&['"', '\'']).unwrap(),
    };
    format!("{quote}{value}{quote}")
}

fn mk_labels(rng: &mut Rng) -> BTreeMap<&'static str, &'static str> {
    let count = rng.usize(0..5);
    let names = rng.choose_multiple(NAMES, count);
    names.into_iter().map(|name| (name, *rng.choice(&VALUES).unwrap())).collect()
}

fn has_double_negation(node: &Node) -> bool {
    match node {
        Node::All | Node::Global | Node::Label(_) => false,
        Node::Not(operand) => matches!(**operand, Node::Not(_)) || has_double_negation(operand),
        Node::And(operands) | Node::Or(operands) => operands.iter().any(has_double_negation),
    }
}

#[test]
fn a_random_selector_matches_what_the_naive_evaluator_says_and_reads_back_from_its_print() {
    let mut rng = Rng::with_seed(20);
    let (mut matched, mut missed, mut bounded, mut read_back) = (0, 0, 0, 0);
    for _ in 0..4_000 {
        let expression = mk_expression(&mut rng, 4);
        let text = spell(&expression, &mut rng);
        let selector = Selector::parse(&text).unwrap_or_else(|error| {
            unreachable!("{text}: {error}");
        });
        let canonical = selector.canonical();
        let again = Selector::parse(&canonical).unwrap();
        // `!(!a)` is printed as `!!a`, which is read as `a`: as in Calico.
        if !has_double_negation(selector.root()) {
            assert_eq!(again, selector, "{text}");
            assert_eq!(again.id(), selector.id());
            read_back += 1;
        }
        let restrictions = selector.label_restrictions();
        for _ in 0..20 {
            let labels = mk_labels(&mut rng);
            let expected = naive(&expression, &labels);
            assert_eq!(selector.matches(&labels), expected, "{text} with {labels:?}");
            assert_eq!(again.matches(&labels), expected, "{canonical} with {labels:?}");
            assert_eq!(selector.clone().not().matches(&labels), !expected);
            *(if expected { &mut matched } else { &mut missed }) += 1;
            let kept = restrictions.as_ref().is_some_and(|restrictions| {
                let mut all = restrictions.iter();
                all.all(|(name, one)| one.allows(labels.get(name).copied()))
            });
            assert!(kept || !expected, "{text} with {labels:?}: {restrictions:?}");
            bounded += u32::from(!kept);
        }
    }
    // Each of these would pass unseen if the generator made only one kind.
    assert!(matched > 20_000 && missed > 20_000, "{matched} {missed}");
    assert!(bounded > 10_000, "restrictions excluded only {bounded}");
    assert!(read_back > 3_000, "{read_back}");
}

#[test]
fn combinators_mean_the_conjunction_the_disjunction_and_the_prefix() {
    let mut rng = Rng::with_seed(21);
    for _ in 0..1_000 {
        let (left, right) = (mk_expression(&mut rng, 3), mk_expression(&mut rng, 3));
        let read = |expression, rng: &mut Rng| Selector::parse(&spell(expression, rng)).unwrap();
        let (one, other) = (read(&left, &mut rng), read(&right, &mut rng));
        let both = one.clone().and(other.clone());
        let either = one.clone().or(other);
        let prefixed = one.clone().with_label_prefix("pcsa.");
        for _ in 0..20 {
            let labels = mk_labels(&mut rng);
            let (in_left, in_right) = (naive(&left, &labels), naive(&right, &labels));
            assert_eq!(both.matches(&labels), in_left && in_right, "{both}");
            assert_eq!(either.matches(&labels), in_left || in_right, "{either}");
            let renamed: Vec<(String, &str)> =
                labels.iter().map(|(name, value)| (format!("pcsa.{name}"), *value)).collect();
            assert_eq!(prefixed.matches(renamed.as_slice()), in_left, "{prefixed}");
            let namespace = if rng.bool() { "shop" } else { "bank" };
            let mut there = labels.clone();
            there.insert("projectcalico.org/namespace", namespace);
            let namespaced = one.clone().namespaced("shop");
            assert_eq!(namespaced.matches(&there), in_left && namespace == "shop");
            assert!(!namespaced.matches(&labels));
        }
    }
}

#[test]
fn random_text_is_read_or_refused_and_never_a_panic() {
    const PIECES: [&str; 29] = [
        "a", "b", " ", "\t", "\n", "ü", "'", "\"", "(", ")", "{", "}", ",", "==", "=", "!", "!=", "&&", "&",
        "||", "|", "in", "not", "starts", "with", "contains", "has(", "all(", "global(",
    ];
    let mut rng = Rng::with_seed(22);
    let mut read = 0;
    for _ in 0..200_000 {
        let pieces = (0..rng.usize(1..9)).map(|_| *rng.choice(&PIECES).unwrap());
        let text: String = pieces.collect();
        if let Ok(selector) = Selector::parse(&text) {
            let again = Selector::parse(&selector.canonical()).unwrap();
            assert_eq!(again.canonical(), selector.canonical(), "{text}");
            read += 1;
        }
    }
    assert!(read > 100, "{read}");
}
