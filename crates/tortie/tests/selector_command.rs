//! `tortie selector`, the real binary, over recorded answers of Calico.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const VECTORS: &str = include_str!("../../api/tests/vectors/selectors.jsonl");

fn tortie(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tortie")).arg("selector").args(arguments).output().unwrap()
}

fn batch(questions: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tortie"))
        .args(["selector", "--batch", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let questions = questions.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_batch_is_answered_in_order_with_the_answers_of_calico() {
    let mut questions = String::new();
    let mut expected = Vec::new();
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        match vector["cases"].as_array() {
            None => {
                questions += &format!("{}\n", json!({"selector": vector["selector"], "labels": {}}));
                expected.push(json!({"valid": false, "error": vector["error"]}));
            }
            Some(cases) => {
                for case in cases {
                    let question = json!({"selector": vector["selector"], "labels": case["labels"]});
                    questions += &format!("{question}\n");
                    expected.push(json!({
                        "valid": true,
                        "canonical": vector["canonical"],
                        "id": vector["id"],
                        "match": case["match"],
                    }));
                }
            }
        }
    }
    let output = batch(&questions);
    assert!(output.status.success());
    assert_eq!(lines(&output), expected);
    assert!(expected.len() >= 80);
}

#[test]
fn one_selector_is_answered_with_labels_from_the_command_line() {
    for (selector, labels, matches) in [
        ("app == 'web'", "app=web,tier=front", true),
        ("app == 'web'", "tier=front", false),
        ("app == 'a=b'", "app=a=b", true),
        ("", "", true),
    ] {
        let arguments: &[&str] = match labels {
            "" => &[selector, "-o", "json"],
            labels => &[selector, "--labels", labels, "-o", "json"],
        };
        let output = tortie(arguments);
        assert!(output.status.success(), "{output:?}");
        let [answer] = lines(&output).try_into().unwrap();
        assert_eq!((&answer["valid"], &answer["match"]), (&json!(true), &json!(matches)), "{selector}");
    }
    let all = tortie(&["", "-o", "json"]);
    assert_eq!(
        String::from_utf8_lossy(&all.stdout),
        "{\"valid\":true,\"canonical\":\"all()\",\
         \"id\":\"s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug\",\"match\":true}\n"
    );
}

#[test]
fn an_invalid_selector_is_an_answer_for_programs_and_a_failure_for_people() {
    let output = tortie(&["a = 'b'", "-o", "json"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"valid\":false,\"error\":\"expected ==\"}\n");
    let output = tortie(&["a = 'b'"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "invalid: expected ==\n");
}

#[test]
fn what_is_no_question_is_named_with_its_line() {
    let output = batch("{\"selector\":\"all()\"}\n\n{\"labels\":{}}\n");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("line 3") && message.contains("missing field `selector`"), "{message}");
    let output = tortie(&["all()", "--labels", "app"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected key=value"));
    assert_eq!(tortie(&[]).status.code(), Some(2));
}
