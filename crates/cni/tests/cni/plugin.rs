//! The plugin process's way: over the agent's socket with the namespace passed along, and alone when there is no agent.

use crate::host::{Call, Host, OpenGate, interfaces, mk_namespace};
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;
use tortie_cni::plugin::{Process, run};
use tortie_cni::{Context, Plugin, Request, execute, transport};
use tortie_netlink::{Namespace, namespace};
use tortie_nft::flat::{DROPPED_CLOSED, Flat, Ownership, Settings};

pub fn process(host: &Host, call: &Call<'_>) -> Process {
    let mut environment = call.environment();
    let path = |name: &str| host.directory.path().join(name).display().to_string();
    environment.insert("TORTIE_SOCKET".into(), path("agent.sock"));
    environment.insert("TORTIE_DATABASE".into(), path("tortie.db"));
    environment.insert("PATH".into(), "/nowhere".into());
    Process { plugin: call.plugin, environment, stdin: call.config.to_string() }
}

/// Serves `calls` calls as an agent would, in the host's namespace. The pod's path is of no use to it: it has only
/// what came with the call.
fn serve(host: &Host, listener: &UnixListener, calls: usize) {
    let client = host.client.clone();
    host.namespace
        .run(move || {
            for _ in 0..calls {
                let (mut stream, _) = listener.accept().unwrap();
                let (call, fd) = transport::read_call(&mut stream).unwrap();
                assert!(call.environment.keys().all(|name| name.starts_with("CNI_")));
                let request =
                    Request::parse(call.plugin(), &call.environment, call.stdin.as_bytes()).unwrap();
                let pod = fd.map(|fd| Namespace::from_fd(fd, "passed"));
                let gate = OpenGate::default();
                let context = Context {
                    client: &client,
                    cluster: None,
                    gate: &gate,
                    node: "node-1",
                    view: None,
                    allocator: None,
                    mtu: &|| None,
                };
                let reply = execute(&context, &request, pod.as_ref());
                transport::write_reply(&mut stream, &reply).unwrap();
            }
        })
        .unwrap();
}

#[test]
fn a_call_goes_over_the_agents_socket_with_its_namespace() {
    let (host, pod) = (Host::new(), mk_namespace());
    let listener = UnixListener::bind(host.directory.path().join("agent.sock")).unwrap();
    let mut add = Call::add(&pod);
    // Larger than one receive.
    add.config["args"]["cni"]["annotations"] = json!({ "note": "x".repeat(200_000) });
    let (add, del) = (process(&host, &add), process(&host, &add.command("DEL")));
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&host, &listener, 2));
        let reply = run(&add);
        assert_eq!(reply.exit, 0, "{}", reply.stdout);
        assert_eq!((host.interfaces().len(), interfaces(&pod)), (1, vec!["eth0".to_owned()]));
        let reply = run(&del);
        assert_eq!((reply.exit, reply.stdout.as_str()), (0, ""));
    });
    assert_eq!((host.interfaces().len(), host.used()), (0, 0));
}

#[test]
fn an_agent_that_dies_in_the_middle_means_try_again_and_nothing_is_done_twice() {
    let (host, pod) = (Host::new(), mk_namespace());
    let listener = UnixListener::bind(host.directory.path().join("agent.sock")).unwrap();
    let add = process(&host, &Call::add(&pod));
    let reply = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            drop(transport::read_call(&mut stream).unwrap());
        });
        run(&add)
    });
    let error: Value = serde_json::from_str(&reply.stdout).unwrap();
    assert_eq!((reply.exit, error["code"].as_u64()), (1, Some(11)), "{error}");
    assert_eq!((host.interfaces().len(), host.used()), (0, 0));
}

#[test]
fn without_an_agent_the_plugin_does_it_and_the_pod_is_closed() {
    let (host, pod) = (Host::new(), mk_namespace());
    // A socket file without anybody behind it is no agent either.
    drop(UnixListener::bind(host.directory.path().join("agent.sock")).unwrap());
    let mut call = Call::add(&pod);
    call.config["nodename"] = json!("node-1");
    let add = process(&host, &call);
    let reply = host.namespace.run(|| run(&add)).unwrap();
    assert_eq!(reply.exit, 0, "{}", reply.stdout);
    let result: Value = serde_json::from_str(&reply.stdout).unwrap();
    let address = result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();

    // The pod sends; the host must not get it: the table that stands drops what nobody has judged.
    let listing = || {
        let output = host
            .namespace
            .run(|| std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap());
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert!(listing().contains("table inet tortie"), "{}", listing());
    let mut links = tortie_netlink::Rtnetlink::open_in(&host.namespace).unwrap();
    links.set_up(tortie_netlink::rtnetlink::LinkRef::Name("lo")).unwrap();
    links.add_address(1, "192.0.2.1/32".parse().unwrap()).unwrap();
    let receiver = host.namespace.run(|| std::net::UdpSocket::bind("192.0.2.1:9").unwrap()).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let dropped = || {
        let read = || {
            let settings = Settings { owned: Ownership::Never, ..Settings::default() };
            Flat::open(settings).and_then(|mut flat| flat.drops()).unwrap()[DROPPED_CLOSED].bytes
        };
        host.namespace.run(read).unwrap()
    };
    let before = dropped();
    pod.run(|| {
        let socket = std::net::UdpSocket::bind((address.as_str(), 0)).unwrap();
        for _ in 0..50 {
            socket.send_to(&[0; 1000], "192.0.2.1:9").unwrap();
        }
    })
    .unwrap();
    let start = std::time::Instant::now();
    while dropped() - before < 50 * 1028 && start.elapsed().as_secs() < 10 {
        std::thread::yield_now();
    }
    // Bytes, as neighbour discovery's small packets are dropped and counted too.
    assert_eq!((dropped() - before) / 1028, 50, "{}", listing());
    assert!(receiver.recv(&mut [0; 8]).is_err(), "the packet came through");

    let del = process(&host, &call.command("DEL"));
    let reply = host.namespace.run(|| run(&del)).unwrap();
    assert_eq!((reply.exit, reply.stdout.as_str(), host.used()), (0, "", 0));
}

#[test]
fn version_needs_neither_agent_nor_store_and_faults_are_json_in_the_callers_version() {
    let environment = [("CNI_COMMAND".to_owned(), "VERSION".to_owned())].into();
    let reply = run(&Process { plugin: Plugin::Network, environment, stdin: String::new() });
    let versions: Value = serde_json::from_str(&reply.stdout).unwrap();
    assert_eq!(versions["supportedVersions"].as_array().unwrap().len(), 7);
    let environment = [("CNI_COMMAND".to_owned(), "ADD".to_owned())].into();
    let reply =
        run(&Process { plugin: Plugin::Network, environment, stdin: r#"{"cniVersion":"0.3.1"}"#.into() });
    let error: Value = serde_json::from_str(&reply.stdout).unwrap();
    assert_eq!((reply.exit, &error["cniVersion"], &error["code"]), (1, &json!("0.3.1"), &json!(4)));
}

#[test]
fn a_namespace_that_is_gone_fails_an_add_and_not_a_del() {
    let (host, pod) = (Host::new(), mk_namespace());
    let mut call = Call::add(&pod);
    call.config["nodename"] = json!("node-1");
    let (add, del) = (process(&host, &call), process(&host, &call.command("DEL")));
    assert_eq!(host.namespace.run(|| run(&add)).unwrap().exit, 0);
    namespace::remove_named(pod.name()).unwrap();
    let failed = host.namespace.run(|| run(&add)).unwrap();
    assert_eq!(failed.exit, 1, "{}", failed.stdout);
    assert_eq!(host.namespace.run(|| run(&del)).unwrap().exit, 0);
    assert_eq!((host.used(), host.interfaces().len(), host.endpoints().len()), (0, 0, 0));
}

#[test]
fn loopback_is_set_up_and_tells_no_addresses() {
    let (host, pod) = (Host::new(), mk_namespace());
    let mut call = Call::add(&pod);
    call.config = json!({ "cniVersion": "1.0.0", "name": "cni-loopback", "type": "loopback" });
    let answer = |call: &Call<'_>| tortie_cni::loopback::run(&process(&host, call));
    let down = answer(&call.command("CHECK"));
    assert!(down.exit == 1 && down.stdout.contains("lo is down"), "{}", down.stdout);
    let added = answer(&call);
    let result: Value = serde_json::from_str(&added.stdout).unwrap();
    assert_eq!(
        (added.exit, &result["interfaces"], &result["ips"]),
        (0, &json!([{ "name": "lo" }]), &json!([]))
    );
    assert_eq!(answer(&call.command("CHECK")).exit, 0);
    assert_eq!(answer(&call.command("DEL")).exit, 0);
}
