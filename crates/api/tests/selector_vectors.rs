//! The selector language against recorded answers of Calico, and its messages by hand.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use serde::Deserialize;
use tortie_api::selector::{MAX_DEPTH, MAX_PARENTHESES, Selector, SelectorError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    selector: String,
    valid: bool,
    canonical: Option<String>,
    id: Option<String>,
    #[serde(default)]
    cases: Vec<Case>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    labels: BTreeMap<String, String>,
    r#match: bool,
}

#[test]
fn each_recorded_selector_has_calicos_canonical_form_id_matches_and_message() {
    let vectors: Vec<Vector> = include_str!("vectors/selectors.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(vectors.len(), 80);
    for vector in vectors {
        let text = &vector.selector;
        match Selector::parse(text) {
            Ok(selector) => {
                assert!(vector.valid, "{text} was read, and is invalid");
                assert_eq!(Some(selector.canonical()), vector.canonical, "{text}");
                assert_eq!(Some(selector.id().to_string()), vector.id, "{text}");
                assert!(!vector.cases.is_empty());
                for Case { labels, r#match } in vector.cases {
                    assert_eq!(selector.matches(&labels), r#match, "{text} with {labels:?}");
                }
            }
            Err(error) => {
                assert!(!vector.valid, "{text}: {error}, and is valid");
                assert_eq!(Some(error.to_string()), vector.error, "{text}");
            }
        }
    }
}

#[test]
fn the_id_of_all_is_the_one_that_shows_in_calicos_dataplane() {
    for text in ["", " \t", "all()", "all( \t)"] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.canonical(), "all()");
        assert_eq!(selector.id().as_str(), "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug");
    }
}

#[test]
fn spellings_have_one_canonical_form() {
    let long = "l".repeat(512);
    for (text, canonical) in [
        ("a startswith 'x'", "a starts with \"x\""),
        ("a starts\t with'x'", "a starts with \"x\""),
        ("a endswith \"x\"", "a ends with \"x\""),
        ("a notin {'x'}", "a not in {\"x\"}"),
        ("a not \t in{'x'}", "a not in {\"x\"}"),
        ("a in {'y','x','y',}", "a in {\"x\", \"y\"}"),
        ("a in {}", "a in {}"),
        ("a == 'say \"hi\"'", "a == 'say \"hi\"'"),
        ("a == \"it's\"", "a == \"it's\""),
        ("!!!has(a)", "!has(a)"),
        ("!! has(a)", "has(a)"),
        ("!(!has(a))", "!!has(a)"),
        ("((has(a)))", "has(a)"),
        ("has(a)&&has(b)&&has(c)", "(has(a) && has(b) && has(c))"),
        ("(has(a)&&has(b))&&has(c)", "((has(a) && has(b)) && has(c))"),
        ("has(a)||has(b)&&has(c)", "(has(a) || (has(b) && has(c)))"),
        ("has(a)&&!has(b)||has(c)", "((has(a) && !has(b)) || has(c))"),
        ("contains contains 'contains'", "contains contains \"contains\""),
        ("in in {'in'}", "in in {\"in\"}"),
        ("not notin {'in'}", "not not in {\"in\"}"),
        ("global() && has(has)", "(global() && has(has))"),
        ("-1./_ == ''", "-1./_ == \"\""),
        (&*format!("has({long})"), &*format!("has({long})")),
    ] {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.canonical(), canonical, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_in_calicos_words() {
    let long = "l".repeat(513);
    for (text, message) in [
        ("a", "unexpected end of string looking for op"),
        ("has(b) && a", "unexpected end of string looking for op"),
        ("a ==", "expected string"),
        ("a == b", "expected string"),
        ("a contains {'b'}", "expected string"),
        ("a in 'b'", "expected set literal"),
        ("a in b", "expected set literal"),
        ("a not in", "expected set literal"),
        ("a not in b", "expected operator after label \"a\""),
        ("a inside {'b'}", "expected operator after label \"a\""),
        ("a b", "expected operator after label \"a\""),
        ("a starts 'b'", "expected operator after label \"a\""),
        ("a ü", "expected operator after label \"a\""),
        ("a in {'b'", "expected }"),
        ("a in {'b' 'c'}", "expected }"),
        ("a in {,}", "expected }"),
        ("a in {b == 'c'}", "expected }"),
        ("(a == 'b'", "expected )"),
        ("(a)", "expected == or != not: TokRParen()"),
        ("a !b == 'c'", "expected == or != not: TokNot()"),
        ("has (a)", "expected == or != not: TokLParen()"),
        ("()", "unexpected token: TokRParen()"),
        ("!", "unexpected token: TokEOF()"),
        ("a == 'b' &&", "unexpected token: TokEOF()"),
        ("'a' == 'b'", "unexpected token: TokStringLiteral(a)"),
        ("has(a) || == 'b'", "unexpected token: TokEq()"),
        (
            "a == 'b' c in {'d'}",
            "unexpected content at end of selector [TokLabel(c) TokIn() TokLBrace() TokStringLiteral(d) TokRBrace() TokEOF()]",
        ),
        ("all() has(a)", "unexpected content at end of selector [TokHas(a) TokEOF()]"),
        ("all() )", "unexpected content at end of selector [TokRParen() TokEOF()]"),
        ("a = 'b'", "expected =="),
        ("a & 'b'", "expected &&"),
        ("all() & all()", "expected &&"),
        ("all() | all()", "expected ||"),
        ("a == 'b", "unterminated string"),
        ("a == \"b'", "unterminated string"),
        ("has(", "expected identifier"),
        ("has()", "expected identifier"),
        ("has(a", "no closing ')' after has("),
        ("has(a b)", "no closing ')' after has("),
        ("all(a)", "no closing ')' after all("),
        ("global(", "no closing ')' after global("),
        ("a\n== 'b'", "expected operator after label \"a\""),
        ("\na == 'b'", "expected identifier"),
        ("ü == 'b'", "expected identifier"),
        // The fault of the letters is named before the fault of the grammar in front of it.
        ("a in 'b' && c = 'd'", "expected =="),
        (&*format!("{long} == 'b'"), &*format!("label too long: {long}")),
        (&*format!("has({long})"), &*format!("label too long: {long}")),
    ] {
        match Selector::parse(text) {
            Ok(selector) => panic!("{text} was read as {selector}"),
            Err(error) => assert_eq!(error.to_string(), message, "{text}"),
        }
    }
}

#[test]
fn parentheses_nest_as_deep_as_the_api_takes_them_and_no_deeper_than_the_stack() {
    let nested = |depth: usize| {
        let text = "(".repeat(depth) + "a==''" + &")".repeat(depth);
        Selector::parse(&text)
    };
    assert_eq!(nested(509).unwrap().canonical(), "a == \"\"");
    assert!(nested(MAX_PARENTHESES).is_ok());
    let too_deep = |found, expected| Err(SelectorError::TooDeep { found, expected });
    assert_eq!(nested(MAX_PARENTHESES + 1), too_deep(MAX_PARENTHESES + 1, MAX_PARENTHESES));
    assert!(nested(1_000_000).is_err());

    // Three operators a level; and the longest chain of negations of 1,024 characters.
    let deep = |depth: usize| {
        let text = "has(a)||has(a)&&!(".repeat(depth) + "has(b)" + &")".repeat(depth);
        Selector::parse(&text)
    };
    assert!(deep(MAX_DEPTH / 3 + 1) == too_deep(MAX_DEPTH + 2, MAX_DEPTH));
    let negations = Selector::parse(&("!(".repeat(340) + "a==" + "''" + &")".repeat(340)));
    for selector in [deep(MAX_DEPTH / 3).unwrap(), negations.unwrap()] {
        assert_ne!(selector.matches(&[("a", "")]), selector.clone().not().matches(&[("a", "")]));
        assert!(selector.label_restrictions().is_some());
        assert!(selector.clone().in_rule_namespaces() != selector);
        assert!(!format!("{selector:?}").is_empty());
        let again = Selector::parse(&selector.canonical()).unwrap();
        assert_eq!(again.matches(&[("a", "")]), selector.matches(&[("a", "")]));
    }

    assert!(Selector::parse(&"!".repeat(1_000_000)).is_err());
    assert!(Selector::parse(&"has(a)&&".repeat(100_000)).is_err());
}
