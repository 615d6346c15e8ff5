//! What of the stored objects isn't enforced, and what keeps a pod from its address: told to the operator.

use serde_json::Value;

use crate::machine::Machine;

#[test]
fn status_tells_what_the_command_that_stored_it_warned_of() {
    let machine = Machine::new("told");
    let yaml = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: ports, namespace: shop}\n\
        spec: {ingress: [{action: Allow, protocol: UDP, source: {ports: [53]}}]}\n---\n\
        apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: raw}\n\
        spec: {doNotTrack: true, applyOnForward: true, ingress: [{action: Deny}]}\n---\n\
        apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: eth0}\n\
        spec: {node: node1, interfaceName: eth0}\n";
    let warned = machine.apply(yaml);
    let told = |status: &Value| {
        let fault = |fault: &Value| {
            let text = |field: &str| fault[field].as_str().unwrap().to_owned();
            format!("Warning: {}({}) {}: {}\n", text("kind"), text("name"), text("effect"), text("error"))
        };
        let mut told: Vec<String> = status["faults"].as_array().into_iter().flatten().map(fault).collect();
        told.sort();
        told
    };
    let mut warnings: Vec<String> = warned.lines().map(|line| format!("{line}\n")).collect();
    warnings.sort();
    assert_eq!(warnings.len(), 3, "{warned}");
    machine.status_when(|status| told(status) == warnings);
    let fixed = yaml.replace("source: {ports", "destination: {ports");
    assert_eq!(machine.apply(&fixed).lines().count(), 2);
    machine.status_when(|status| told(status).len() == 2);
}

#[test]
fn an_ipam_configuration_by_apply_limits_what_the_plugin_gives() {
    let mut machine = Machine::new("ipam");
    let pool = |name: &str, cidr: &str, rest: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{cidr: {cidr}{rest}}}\n"
        )
    };
    assert!(machine.run(&["delete", "ippool", "pool"]).status.success());
    machine.apply(&pool("tiny", "10.66.0.0/24", ", blockSize: 32"));
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: IPAMConfiguration\nmetadata: {name: default}\n\
         spec: {strictAffinity: true, maxBlocksPerHost: 1}\n",
    );
    assert!(machine.add("web").starts_with("10.66.0."));
    let (added, said) = machine.try_add("db");
    assert!(!added && said.contains("per host block limit"), "{said}");
    machine.apply(
        "apiVersion: projectcalico.org/v3\nkind: IPAMConfiguration\nmetadata: {name: default}\n\
         spec: {strictAffinity: true, maxBlocksPerHost: 2}\n",
    );
    assert!(machine.add("api").starts_with("10.66.0."));
}
