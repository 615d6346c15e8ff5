//! `tortie validate`, the real binary.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const CLUSTERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/explain");

fn validate(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tortie"))
        .arg("validate")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may have refused its arguments and gone before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const GOOD: &str = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: a}\nspec: {nets: [10.0.0.0/8]}\n";
const BAD: &str = "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  oder: 1
  ingress:
  - action: allow
    source: {nets: [10.0.0.0/8, 10.0.0.300]}
";

#[test]
fn files_directories_and_standard_input_that_calico_takes_are_taken() {
    let output = validate(&["-f", CLUSTERS, "-R"], "");
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)));
    assert!(text(&output.stdout).starts_with("Successfully validated "), "{}", text(&output.stdout));
    let output = validate(&["-f", "-"], GOOD);
    assert_eq!(text(&output.stdout), "Successfully validated 1 resource(s)\n");
}

#[test]
fn every_fault_is_written_with_file_line_column_object_and_field() {
    let output = validate(&["-f", "-"], BAD);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{stderr}");
    let wanted = [
        "-:5:3: NetworkPolicy(shop/web): spec.oder: field in document is not recognized or is in the wrong location: oder (found oder, expected a field of NetworkPolicySpec: order,",
        "-:7:13: NetworkPolicy(shop/web): spec.ingress[0].action: error with field spec.ingress[0].action = 'allow' (supported values: \"Allow\", \"Deny\", \"Log\", \"Pass\") (found allow,",
        "-:8:33: NetworkPolicy(shop/web): spec.ingress[0].source.nets[1]: error with field Nets = '10.0.0.300' (Reason: failed to validate Field: Nets because of Tag: net ) (found 10.0.0.300, expected an address or a CIDR)",
        "3 fault(s) in 1 of 1 resource(s)",
    ];
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.starts_with(wanted), "{line}\n{wanted}");
    }
}

#[test]
fn programs_get_a_json_object_for_each_fault() {
    let output = validate(&["-f", "-", "-o", "json"], BAD);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[2],
        json!({"file": "-", "object": "NetworkPolicy(shop/web)", "line": 8, "column": 33,
            "field": "spec.ingress[0].source.nets[1]", "found": "10.0.0.300", "expected": "an address or a CIDR",
            "message": "error with field Nets = '10.0.0.300' (Reason: failed to validate Field: Nets because of Tag: net )"})
    );
}

#[test]
fn directories_in_directories_are_read_only_when_asked() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("validate-nested");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(directory.join("inner")).unwrap();
    fs::write(directory.join("good.yaml"), GOOD).unwrap();
    fs::write(directory.join("note.txt"), "not: [yaml").unwrap();
    fs::write(directory.join("inner/bad.yml"), BAD).unwrap();
    let path = directory.to_str().unwrap();
    assert_eq!(validate(&["-f", path], "").status.code(), Some(0));
    let output = validate(&["-f", path, "-R"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with(&format!("{path}/inner/bad.yml:5:3: ")),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn nothing_is_a_failure_unless_told_otherwise() {
    assert_eq!(validate(&["-f", "-"], "# nothing\n").status.code(), Some(1));
    assert_eq!(validate(&["-f", "-", "--skip-empty"], "---\n").status.code(), Some(0));
    assert_eq!(validate(&["-f", "/nowhere/at/all.yaml"], "").status.code(), Some(1));
}
