//! calicoctl with the rights of `deploy/calicoctl.yaml`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::{DEPLOY, Lab, give, pool};

/// Runs calicoctl; what it says, and whether it succeeded.
fn calicoctl(program: &Path, config: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .env("DATASTORE_TYPE", "kubernetes")
        .env("KUBECONFIG", config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn calicoctl_in_its_pod_has_the_rights_that_its_commands_need_and_no_more() {
    let lab = Lab::start();
    let client = lab.client();
    pool(&client);
    lab.nodes(&["n1"]);
    let web = give(&client, "n1", Some("web"));
    lab.pod("web", "n1", &web);
    lab.kubectl(&["apply", "-f", &format!("{DEPLOY}/calicoctl.yaml")], "");
    let config = lab.account("calicoctl");
    let program = lab.directory.path().join("calicoctl");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tortie"), &program).unwrap();
    let run = |arguments: &[&str], input: &str| calicoctl(&program, &config, arguments, input);
    let must = |arguments: &[&str], input: &str, wanted: &str| {
        let (done, said) = run(arguments, input);
        assert!(done && said.contains(wanted), "calicoctl {arguments:?}: {said}");
    };
    must(&["version"], "", "Cluster");
    must(&["get", "nodes"], "", "n1");
    must(&["get", "workloadendpoints", "-n", "default"], "", "web");
    must(&["get", "ippools", "-o", "wide"], "", "10.65.0.0/16");
    must(&["ipam", "show", "--show-blocks"], "", "10.65.");
    must(&["ipam", "check"], "", "");
    must(&["ipam", "configure", "--strictaffinity=true"], "", "");
    let policy = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p, namespace: default}\nspec: {selector: all()}\n";
    must(&["apply", "-f", "-"], policy, "Successfully applied 1");
    must(&["get", "networkpolicy", "p", "-n", "default", "-o", "yaml"], "", "selector: all()");
    let pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: more}\nspec: {cidr: 10.66.0.0/16}\n";
    must(&["create", "-f", "-"], pool, "Successfully created 1");
    must(&["label", "nodes", "n1", "rack=c2", "--overwrite"], "", "");
    must(&["delete", "ippool", "more"], "", "Successfully deleted 1");
    must(&["delete", "networkpolicy", "p", "-n", "default"], "", "Successfully deleted 1");
    must(&["ipam", "release", &format!("--ip={web}")], "", "");

    let account = lab.server.kubectl(
        &["auth", "can-i", "delete", "pods", "--as=system:serviceaccount:kube-system:calicoctl"],
        "",
    );
    assert!(account.is_err(), "calicoctl deletes no pods");
    // A role without a right is told of by its name.
    let role = lab.kubectl(&["get", "clusterrole", "calicoctl", "-o", "json"], "");
    lab.kubectl(&["replace", "-f", "-"], &role.replace("\"ippools\"", "\"others\""));
    let (done, said) = run(&["get", "ippools"], "");
    assert!(!done && said.contains("ippools") && said.contains("RBAC"), "{said}");
}
