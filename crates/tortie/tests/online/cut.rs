//! An agent whose etcd is cut off, compacted, full, or another one: what the kernel holds goes on judging, and it recovers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use tortie_netlink::Namespace;
use tortie_store::Datastore;

use crate::cluster::Cluster;
use crate::machine::{Machine, connects, connects_within};

/// Two pods, of which `db` is listened to at ports 80 and 81, and a connection between them.
pub struct Pods {
    web: Namespace,
    first: SocketAddr,
    second: SocketAddr,
    _listeners: [TcpListener; 2],
    ends: (TcpStream, TcpStream),
}

/// Lets `db` be reached at one port.
pub fn letting_in(port: u16) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: db-in, namespace: shop}}\n\
         spec: {{ingress: [{{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}]}}\n"
    )
}

impl Pods {
    /// With a policy that lets port 80 in.
    pub fn add(machine: &mut Machine) -> Self {
        let pods = Self::wired(machine);
        machine.apply(&letting_in(80));
        machine.status_when(|status| status["policies"].to_string().contains("shop/db-in"));
        pods.judged_by(80, "at first");
        pods
    }

    /// Without a policy.
    pub fn wired(machine: &mut Machine) -> Self {
        machine.add("web");
        let db = machine.add("db");
        let at = |port: u16| -> SocketAddr { format!("{db}:{port}").parse().unwrap() };
        let (first, second) = (at(80), at(81));
        let listen = move || [first, second].map(|at| TcpListener::bind(at).unwrap());
        let listeners = machine.inside("db").run(listen).unwrap();
        let web = machine.inside("web");
        let near = web.run(|| TcpStream::connect(first).unwrap()).unwrap();
        let far = listeners[0].accept().unwrap().0;
        Self { web, first, second, _listeners: listeners, ends: (near, far) }
    }

    /// Whether one of the two ports, 80 or 81, can be reached.
    pub fn is_open(&self, port: u16) -> bool {
        connects(&self.web, if port == 80 { self.first } else { self.second })
    }

    /// Whether this port is the only one that is open.
    pub fn is_judged_by(&self, open: u16) -> bool {
        self.is_open(open) && !self.is_open(161 - open)
    }

    /// Which of the two ports is open, and that the connection goes on.
    pub fn judged_by(&self, open: u16, when: &str) {
        assert_eq!(connects(&self.web, self.first), open == 80, "{when}");
        assert_eq!(connects(&self.web, self.second), open == 81, "{when}");
        self.goes_on(when);
    }

    fn goes_on(&self, when: &str) {
        let (mut near, mut far) = (&self.ends.0, &self.ends.1);
        near.write_all(b"x").unwrap();
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let passed = far.read_exact(&mut [0]);
        assert!(passed.is_ok(), "{when}: the connection is interrupted: {passed:?}");
    }

    /// Returns when the port is open.
    pub fn until_open(&self, port: u16) {
        let to = if port == 80 { self.first } else { self.second };
        let patience = Instant::now() + Duration::from_secs(60);
        while !connects_within(Duration::from_millis(20), &self.web, to) {
            assert!(Instant::now() < patience, "port {port} stays closed");
        }
    }
}

/// Does it inside the machine.
fn inside<T: Send>(machine: &Machine, work: impl FnOnce(&Cluster) -> T + Send) -> T {
    machine.host.run(|| work(machine.cluster.as_ref().unwrap())).unwrap()
}

fn try_again(machine: &mut Machine, pod: &str) -> String {
    let (added, said) = machine.try_add(pod);
    let error: Value = serde_json::from_str(&said).unwrap();
    assert!(!added && error["code"] == 11, "{said}");
    error["msg"].as_str().unwrap().to_owned()
}

#[test]
fn an_agent_that_is_cut_off_while_others_write_and_compact_goes_on_judging_and_catches_up() {
    let mut machine = Machine::on_etcd("cut", &[]);
    let pods = Pods::add(&mut machine);
    machine.cluster.as_ref().unwrap().way.cut();
    // Another client's, by a way that isn't cut; and the agent won't find the history of it.
    machine.apply(&letting_in(81));
    inside(&machine, |cluster| {
        let store = cluster.store();
        store.put("/calico/felix/v2/after", b"{}").unwrap();
        store.compact(store.revision().unwrap()).unwrap();
    });
    pods.judged_by(80, "cut off");
    let said = try_again(&mut machine, "late");
    assert!(said.contains("etcd") || said.contains("read"), "{said}");
    pods.judged_by(80, "cut off, after all that the agent has tried");
    let log = std::fs::read_to_string(machine.log()).unwrap();
    assert!(log.contains("what is enforced stays enforced"), "{log}");
    let since = Instant::now();
    machine.cluster.as_ref().unwrap().way.heal();
    pods.until_open(81);
    println!("the change holds {:?} after the reconnection", since.elapsed());
    pods.judged_by(81, "reconnected");
    let (added, said) = machine.call("ADD", "late");
    assert!(added, "{said}");
}

#[test]
fn an_agent_on_a_full_etcd_goes_on_judging_and_gives_addresses_again_when_there_is_room() {
    let mut machine = Machine::on_etcd("full", &["--quota-backend-bytes=6000000"]);
    let pods = Pods::add(&mut machine);
    inside(&machine, |cluster| {
        let (store, big) = (cluster.store(), vec![b'x'; 200_000]);
        (0..100).find_map(|_| store.put("/other/big", &big).err()).expect("it is never full");
    });
    let said = try_again(&mut machine, "late");
    for word in ["NOSPACE", "etcdctl compact", "etcdctl defrag", "etcdctl alarm disarm"] {
        assert!(said.contains(word), "{said}");
    }
    pods.judged_by(80, "full");
    inside(&machine, |cluster| {
        let current = cluster.store().revision().unwrap();
        cluster.gateway("/v3/kv/compaction", &format!(r#"{{"revision":{current},"physical":true}}"#));
        cluster.gateway("/v3/maintenance/defragment", "{}");
        let alarms = cluster.gateway("/v3/maintenance/alarm", r#"{"action":"GET"}"#);
        let member = alarms.split(r#""memberID":""#).nth(1).unwrap().split('"').next().unwrap();
        let disarm = format!(r#"{{"action":"DEACTIVATE","alarm":"NOSPACE","memberID":"{member}"}}"#);
        cluster.gateway("/v3/maintenance/alarm", &disarm);
    });
    let (added, said) = machine.call("ADD", "late");
    assert!(added, "{said}");
    machine.apply(&letting_in(81));
    pods.until_open(81);
    pods.judged_by(81, "with room");
}

#[test]
fn an_agent_whose_etcd_is_a_new_cluster_ends_and_with_the_restored_data_the_next_one_goes_on() {
    let mut machine = Machine::on_etcd("new", &["--initial-cluster-token=one"]);
    let pods = Pods::add(&mut machine);
    let file = machine.files.path().join("all.jsonl").display().to_string();
    let exported = machine.run(&["datastore", "export", "-f", &file]);
    assert!(exported.status.success(), "{exported:?}");
    let before = machine.run(&["get", "workloadendpoints", "-A", "-o", "json"]).stdout;
    let mut cluster = machine.cluster.take().unwrap();
    cluster.server.kill();
    std::fs::remove_dir_all(machine.files.path().join("etcd/data")).unwrap();
    let cluster = machine.host.run(move || {
        cluster.server.restart_with(&["--initial-cluster-token=two"]).unwrap();
        cluster
    });
    machine.cluster = Some(cluster.unwrap());
    let ended = machine.agent.take().unwrap().wait().unwrap();
    let log = std::fs::read_to_string(machine.log()).unwrap();
    assert!(ended.signal().is_none() && !ended.success(), "{ended}: {log}");
    assert!(log.contains("what is enforced stays enforced") && log.contains("cluster"), "{log}");
    pods.judged_by(80, "without an agent");
    let imported = machine.run(&["datastore", "import", "-f", &file]);
    assert!(imported.status.success(), "{imported:?}");
    machine.start();
    pods.judged_by(80, "with the next agent");
    let addresses = |json: &[u8]| -> Vec<Value> {
        let list: Value = serde_json::from_slice(json).unwrap();
        list["items"].as_array().unwrap().iter().map(|item| item["spec"]["ipNetworks"].clone()).collect()
    };
    let after = machine.run(&["get", "workloadendpoints", "-A", "-o", "json"]).stdout;
    assert_eq!(addresses(&after), addresses(&before));
    let late = machine.add("late");
    assert!(!addresses(&before).iter().any(|taken| taken.to_string().contains(&format!("{late}/"))));
    machine.apply(&letting_in(81));
    pods.until_open(81);
    pods.judged_by(81, "and follows what is written");
}
