//! An agent that starts while the Kubernetes API is away: it closes, or leaves what judges, answers, and goes on when the API is back.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::cut::Pods;
use crate::kube::{in_force, letting_in};
use crate::machine::Machine;

impl Machine {
    fn kill_server(&mut self) {
        self.kube.as_mut().unwrap().server.kill();
    }

    fn restart_server(&mut self) {
        let server = &mut self.kube.as_mut().unwrap().server;
        self.host.run(|| server.restart()).unwrap().unwrap();
    }

    /// What the agent's web server answers; nothing if there is none at this port.
    fn probe(&self, port: u16, path: &'static str) -> String {
        let ask = move || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.lines().next().unwrap_or_default().to_owned())
        };
        self.host.run(ask).unwrap().unwrap_or_default()
    }

    fn said(&self, words: &str) -> usize {
        std::fs::read_to_string(self.log()).unwrap().matches(words).count()
    }

    /// An agent that waits for the API has been started, and answers.
    fn spawn_and_wait(&mut self) {
        self.spawn();
        self.status_when(|status| status["inSync"] == false);
        assert_eq!(self.probe(9099, "/liveness"), "HTTP/1.0 200 OK");
        assert_eq!(self.probe(9099, "/readiness"), "HTTP/1.0 503 Service Unavailable");
        assert!(self.agent.as_mut().unwrap().try_wait().unwrap().is_none(), "it is still there");
    }

    fn stored(&self, kind: &str) -> Value {
        let kind = format!("{kind}.crd.projectcalico.org");
        serde_json::from_str(&self.kubectl(&["get", &kind, "-o", "json"], "")).unwrap()
    }
}

#[test]
fn a_new_node_that_starts_without_an_api_server_is_closed_and_made_ready_when_it_comes() {
    let mut machine = Machine::on_empty_kubernetes("dawn");
    machine.create_pod("web");
    machine.create_pod("db");
    machine.variables = vec![("CALICO_IPV4POOL_CIDR", "10.65.0.0/16"), ("CLUSTER_TYPE", "k8s,bgp")];
    machine.kill_server();
    machine.spawn_and_wait();
    let tables = machine.host.run(|| Command::new("nft").args(["list", "tables"]).output()).unwrap().unwrap();
    assert!(String::from_utf8(tables.stdout).unwrap().contains("table inet tortie"), "it is closed");
    let (added, said) = machine.try_add("web");
    assert!(!added && said.contains("\"code\":11"), "the runtime is to try again: {said}");
    machine.restart_server();
    machine.status_when(|status| status["ready"] == true);
    assert_eq!(machine.probe(9099, "/readiness"), "HTTP/1.0 200 OK");
    assert_eq!(machine.said("the datastore does not answer;"), 0, "what was said once isn't said again");
    assert_eq!(machine.said("the store does not answer: closing"), 1);
    let (added, said) = machine.call("ADD", "web");
    assert!(added && said.contains("10.65."), "{said}");

    // What Calico's users find in every cluster.
    let pools = machine.stored("ippools");
    assert_eq!(pools["items"][0]["metadata"]["name"], "default-ipv4-ippool");
    let information = machine.stored("clusterinformations");
    assert_eq!(information["items"][0]["spec"]["clusterType"], "k8s,bgp,kdd");
    let patch = r#"{"spec":{"logSeverityScreen":"Warning"}}"#;
    machine.kubectl(
        &["patch", "felixconfigurations.crd.projectcalico.org", "default", "--type=merge", "-p", patch],
        "",
    );
    let named = |status: &Value| {
        let settings = status["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
        settings.iter().any(|of| of["name"] == "logSeverityScreen" && of["value"] == "Warning")
    };
    machine.status_when(named);
}

#[test]
fn an_agent_that_is_killed_and_started_without_an_api_server_leaves_what_judges_and_catches_up() {
    let mut machine = Machine::on_kubernetes("dusk");
    machine.create_pod("web");
    machine.create_pod("db");
    machine.create_pod("late");
    let pods = Pods::wired(&mut machine);
    machine.kubectl(&["apply", "-f", "-"], &letting_in("80"));
    in_force(&pods, 80);
    machine.kill_server();
    for _ in 0..2 {
        // SIGKILL.
        machine.stop();
        machine.spawn_and_wait();
        pods.judged_by(80, "with an agent that knows nothing");
    }
    let (added, said) = machine.try_add("late");
    assert!(!added && said.contains("\"code\":11"), "the runtime is to try again: {said}");
    machine.restart_server();
    machine.kubectl(&["apply", "-f", "-"], &letting_in("81"));
    let since = Instant::now();
    in_force(&pods, 81);
    println!("the change holds {:?} after it was applied", since.elapsed());
    pods.judged_by(81, "caught up");
    let (added, said) = machine.call("ADD", "late");
    assert!(added, "{said}");

    // Settings that only a start takes up are taken up too, by the same process.
    let patch = r#"{"spec":{"healthPort":9199}}"#;
    machine.kubectl(
        &["patch", "felixconfigurations.crd.projectcalico.org", "default", "--type=merge", "-p", patch],
        "",
    );
    machine.kill_server();
    machine.stop();
    machine.spawn_and_wait();
    machine.restart_server();
    let status = machine.status_when(|status| status["ready"] == true);
    assert_eq!(machine.probe(9199, "/readiness"), "HTTP/1.0 200 OK", "{status:#}");
    assert_eq!(machine.said("beginning anew"), 1);
    pods.judged_by(81, "with what the store says");

    // One that is told to stop while it waits does so.
    machine.kill_server();
    machine.stop();
    machine.variables = vec![("FELIX_HEALTHPORT", "9099")];
    machine.spawn_and_wait();
    let mut agent = machine.agent.take().unwrap();
    assert!(Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap().success());
    let ended = agent.wait().unwrap();
    assert!(ended.success() && ended.signal().is_none(), "{ended}");
    pods.judged_by(81, "without an agent");
}

#[test]
fn what_the_api_refuses_ends_an_agent_as_before() {
    let mut machine = Machine::on_kubernetes_without_agent("refused");
    let config = std::fs::read_to_string(machine.kube.as_ref().unwrap().server.kubeconfig()).unwrap();
    let path = machine.files.path().join("nobody");
    std::fs::write(&path, config.replace("the-administrators", "nobodys")).unwrap();
    machine.variables = vec![("KUBECONFIG", path.display().to_string().leak())];
    machine.spawn();
    let ended = machine.agent.take().unwrap().wait().unwrap();
    assert!(!ended.success() && machine.said("Unauthorized") > 0, "{ended}");
}
