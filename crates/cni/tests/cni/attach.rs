//! ADD, DEL, CHECK, STATUS and GC on a real kernel and a real store, in namespaces of the tests' own (needs root).

use crate::host::{Call, Host, OpenGate, interfaces, mk_namespace};
use serde_json::{Value, json};
use std::net::UdpSocket;
use tortie_cni::Plugin;
use tortie_netlink::rtnetlink::{RouteFilter, Scope};
use tortie_netlink::{OwnedNamespace, Rtnetlink, sysctl};

fn routes(namespace: &OwnedNamespace) -> Vec<String> {
    let routes = Rtnetlink::open_in(namespace)
        .unwrap()
        .routes(RouteFilter { protocol: Some(3), ..RouteFilter::default() })
        .unwrap();
    let gateway = |route: &tortie_netlink::rtnetlink::Route| {
        route.gateway.map_or(String::new(), |gateway| format!(" via {gateway}"))
    };
    let scope = |scope| if scope == Scope::Link { " link" } else { "" };
    let mut lines: Vec<_> = routes
        .iter()
        .map(|route| {
            format!("{}{}{} {}", route.destination, gateway(route), scope(route.scope), route.priority)
        })
        .collect();
    lines.sort();
    lines
}

fn read_inside(namespace: &OwnedNamespace, name: &str) -> String {
    namespace.run(|| sysctl::read(name).unwrap()).unwrap()
}

fn interface(result: &Value) -> String {
    result["interfaces"][0]["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_pod_gets_addresses_wires_and_an_endpoint_and_del_takes_all_of_it_back() {
    let (host, pod) = (Host::new(), mk_namespace());
    let gate = OpenGate::default();
    let add = Call::add(&pod);
    let (reply, result) = host.call_with(&add, &gate);
    assert_eq!(reply.exit, 0, "{result}");
    let cali = interface(&result);
    // sha1("shop.web-1"), by sha1sum.
    assert_eq!(cali, "cali751425ce827");
    let ips: Vec<_> =
        result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect();
    assert_eq!((ips.len(), ips[0].ends_with("/32"), ips[1].ends_with("/128")), (2, true, true), "{result}");
    assert_eq!(result["routes"], json!([{ "dst": "10.20.0.0/26" }, { "dst": "fd20::/122" }]));

    // The endpoint, whole.
    let endpoint = &host.endpoints()[0];
    let link = Rtnetlink::open_in(&pod).unwrap().links().unwrap().remove(1);
    assert_eq!((link.name.as_str(), link.mtu, link.running), ("eth0", 1400, true));
    assert_eq!(endpoint["metadata"]["name"], "node--1-k8s-web--1-eth0");
    assert_eq!(
        endpoint["metadata"]["labels"],
        json!({ "app": "web", "projectcalico.org/namespace": "shop", "projectcalico.org/orchestrator": "k8s" })
    );
    assert_eq!(
        endpoint["spec"],
        json!({
            "orchestrator": "k8s", "node": "node-1", "containerID": "c1", "pod": "web-1", "endpoint": "eth0",
            "ipNetworks": ips, "profiles": ["kns.shop"], "interfaceName": cali, "mac": link.mac.unwrap().to_string(),
        })
    );
    assert_eq!(
        *gate.calls.lock().unwrap(),
        ["close".to_owned(), format!("judge shop/node--1-k8s-web--1-eth0 {cali}"), format!("judged {cali}"),]
    );

    // Wires.
    let mut wanted = vec![format!("{} link 0", ips[0]), format!("{} 1024", ips[1])];
    wanted.sort();
    assert_eq!(routes(&host.namespace), wanted);
    assert_eq!(
        routes(&pod),
        ["0.0.0.0/0 via 169.254.1.1 0", "169.254.1.1/32 link 0", "::/0 via fe80::ecee:eeff:feee:eeee 1024"]
    );
    let settings = [
        ("net/ipv4/conf/IF/proxy_arp", "1"),
        ("net/ipv4/neigh/IF/proxy_delay", "0"),
        ("net/ipv4/conf/IF/forwarding", "1"),
        ("net/ipv6/conf/IF/forwarding", "1"),
        ("net/ipv6/conf/IF/proxy_ndp", "1"),
    ];
    for (name, value) in settings {
        assert_eq!(read_inside(&host.namespace, &name.replace("IF", &cali)), value, "{name}");
    }
    assert_eq!(read_inside(&pod, "net/ipv4/ip_forward"), "0");
    assert_eq!(read_inside(&pod, "net/ipv6/conf/eth0/accept_dad"), "0");
    for namespace in [&host.namespace, &pod] {
        let neighbours = Rtnetlink::open_in(namespace).unwrap().neighbours().unwrap();
        assert_eq!(
            neighbours.iter().filter(|one| one.permanent && one.mac.is_some()).count(),
            2,
            "{neighbours:?}"
        );
    }
    let (reply, json) = host.call(&add.command("CHECK"));
    assert_eq!((reply.exit, reply.stdout.as_str()), (0, ""), "{json}");

    // And back, twice; the second time without the namespace.
    let (reply, json) = host.call_with(&add.command("DEL"), &gate);
    assert_eq!((reply.exit, reply.stdout.as_str()), (0, ""), "{json}");
    assert_eq!((host.interfaces().len(), interfaces(&pod).len(), host.endpoints().len()), (0, 0, 0));
    assert_eq!((host.handles().len(), host.used()), (0, 0));
    assert!(gate.calls.lock().unwrap().last().unwrap().starts_with("gone shop/"));
    let mut gone = add.command("DEL");
    gone.pod = None;
    assert_eq!(host.call(&gone).0.exit, 0);
}

#[test]
fn packets_pass_between_two_pods_in_both_families() {
    let (host, web, db) = (Host::new(), mk_namespace(), mk_namespace());
    host.namespace.run(|| sysctl::write("net/ipv6/conf/all/forwarding", "1").unwrap()).unwrap();
    let (_, first) = host.call(&Call::add(&web));
    let second =
        Call { container: "c2", args: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db".into(), ..Call::add(&db) };
    let (_, second) = host.call(&second);
    for family in [0, 1] {
        let address = |result: &Value| {
            let text = result["ips"][family]["address"].as_str().unwrap();
            text.split('/').next().unwrap().parse::<std::net::IpAddr>().unwrap()
        };
        let (from, to) = (address(&first), address(&second));
        let receiver = db.run(|| UdpSocket::bind((to, 9)).unwrap()).unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        web.run(|| UdpSocket::bind((from, 0)).unwrap().send_to(b"hello", (to, 9)).unwrap()).unwrap();
        let mut buffer = [0; 16];
        let received = receiver.recv_from(&mut buffer).map_err(|error| format!("{from} to {to}: {error}"));
        let (length, sender) = received.unwrap();
        assert_eq!((&buffer[..length], sender.ip()), (&b"hello"[..], from));
    }
}

#[test]
fn a_second_add_gives_the_same_without_routes_mends_wires_and_leaves_addresses_alone() {
    let (host, pod) = (Host::new(), mk_namespace());
    let add = Call::add(&pod);
    let (_, first) = host.call(&add);
    for broken in [false, true] {
        if broken {
            let cali = interface(&first);
            let mut links = Rtnetlink::open_in(&host.namespace).unwrap();
            links.delete_link(tortie_netlink::rtnetlink::LinkRef::Name(&cali)).unwrap();
            let check = host.call(&add.command("CHECK"));
            assert_eq!(check.0.exit, 1);
            assert!(check.1["msg"].as_str().unwrap().contains("is missing"), "{}", check.1);
        }
        let (reply, again) = host.call(&add);
        assert_eq!(reply.exit, 0, "{again}");
        assert_eq!((&again["ips"], &again["interfaces"]), (&first["ips"], &first["interfaces"]));
        assert_eq!(again.get("routes"), None);
        assert_eq!((host.used(), host.endpoints().len(), host.handles().len()), (2, 1, 1));
        assert_eq!(host.call(&add.command("CHECK")).0.exit, 0);
    }
    let link = Rtnetlink::open_in(&pod).unwrap().links().unwrap().remove(1);
    assert_eq!(
        host.endpoints()[0]["spec"]["mac"],
        link.mac.unwrap().to_string(),
        "the stored MAC follows the new wires"
    );
}

#[test]
fn a_new_container_takes_over_its_pods_endpoint_and_the_old_ones_del_does_not_hurt_it() {
    let (host, old, new) = (Host::new(), mk_namespace(), mk_namespace());
    host.call(&Call::add(&old));
    let second = Call { container: "c2", ..Call::add(&new) };
    let (reply, result) = host.call(&second);
    assert_eq!(reply.exit, 0, "{result}");
    assert_eq!((host.endpoints().len(), host.used()), (1, 4));
    assert_eq!(host.call(&Call::add(&old).command("DEL")).0.exit, 0);
    assert_eq!((host.endpoints()[0]["spec"]["containerID"].as_str(), host.used()), (Some("c2"), 2));
    assert_eq!(interfaces(&new), ["eth0"]);
    assert_eq!(host.call(&second.command("CHECK")).0.exit, 0);
}

#[test]
fn a_container_without_kubernetes_is_named_by_its_id_and_gets_its_networks_profile() {
    let (host, pod) = (Host::new(), mk_namespace());
    let mut add = Call { container: "0123456789abcdef", args: String::new(), ..Call::add(&pod) };
    add.config["cniVersion"] = json!("0.3.1");
    add.config["ipam"] = json!({ "type": "calico-ipam" });
    let (reply, result) = host.call(&add);
    assert_eq!(reply.exit, 0, "{result}");
    assert_eq!(interface(&result), "cali0123456789a");
    assert_eq!(result["ips"][0]["version"], "4");
    let endpoint = &host.endpoints()[0];
    assert_eq!(endpoint["metadata"]["namespace"], "default");
    assert_eq!(endpoint["metadata"]["name"], "node--1-cni-0123456789abcdef-eth0");
    assert_eq!(
        (endpoint["spec"]["orchestrator"].as_str(), &endpoint["spec"]["profiles"]),
        (Some("cni"), &json!(["net1"]))
    );
    let key = tortie_api::kind::ResourceKey::cluster(tortie_api::kind::Kind::Profile, "net1");
    let profile = host.client.get(&key).unwrap();
    assert_eq!(profile["spec"]["ingress"][0]["source"]["selector"], "has(net1)");
    assert_eq!(profile["spec"]["labelsToApply"], json!({ "net1": "" }));
    // In a second network the same container's endpoint gets that one's profile too.
    add.config["name"] = json!("net2");
    assert_eq!(host.call(&add).0.exit, 0);
    assert_eq!(host.endpoints()[0]["spec"]["profiles"], json!(["net1", "net2"]));
}

#[test]
fn an_add_that_fails_late_leaves_nothing() {
    let (host, pod) = (Host::new(), mk_namespace());
    let gate = OpenGate { refuses: true, ..OpenGate::default() };
    let (reply, error) = host.call_with(&Call::add(&pod), &gate);
    assert_eq!((reply.exit, error["code"].as_u64()), (1, Some(999)));
    assert!(error["msg"].as_str().unwrap().contains("refused on purpose"), "{error}");
    assert_eq!((host.interfaces().len(), interfaces(&pod).len(), host.endpoints().len()), (0, 0, 0));
    assert_eq!((host.handles().len(), host.used()), (0, 0));
}

#[test]
fn a_failed_takeover_leaves_no_endpoint_that_names_released_addresses() {
    let (host, old, new) = (Host::new(), mk_namespace(), mk_namespace());
    host.call(&Call::add(&old));
    let gate = OpenGate { refuses: true, ..OpenGate::default() };
    let second = Call { container: "c2", ..Call::add(&new) };
    assert_eq!(host.call_with(&second, &gate).0.exit, 1);
    assert_eq!((host.endpoints().len(), host.used(), host.handles().len()), (0, 2, 1));
    assert_eq!(host.call(&Call::add(&old).command("DEL")).0.exit, 0);
    assert_eq!((host.used(), host.handles().len()), (0, 0));
}

#[test]
fn what_a_crashed_add_left_is_taken_back_by_the_next_one_and_by_del() {
    let (host, pod) = (Host::new(), mk_namespace());
    let add = Call::add(&pod);
    let addresses_only = Call { plugin: Plugin::Ipam, ..add.clone() };
    // Crashed after the addresses; and after the wires, which are a remainder with the interface's name.
    assert_eq!(host.call(&addresses_only).0.exit, 0);
    assert_eq!(host.call(&add).0.exit, 0);
    assert_eq!((host.used(), host.handles().len()), (2, 1));
    let endpoint = host.endpoints().remove(0);
    let key = tortie_store::resources::Client::key_of(&endpoint).unwrap();
    host.client.delete(&key, None).unwrap();
    assert_eq!(host.call(&add).0.exit, 0);
    assert_eq!((host.used(), host.handles().len(), host.interfaces().len()), (2, 1, 1));
    // Crashed before the endpoint, and never tried again.
    host.client.delete(&key, None).unwrap();
    assert_eq!(host.call(&add.command("DEL")).0.exit, 0);
    assert_eq!((host.used(), host.handles().len(), host.interfaces().len()), (0, 0, 0));
}

#[test]
fn eight_pods_at_a_time_get_eight_different_addresses() {
    let host = Host::new();
    let pods: Vec<_> = (0..8).map(|_| mk_namespace()).collect();
    let names: Vec<_> = (0..8).map(|number| format!("c{number}")).collect();
    std::thread::scope(|scope| {
        for (pod, name) in pods.iter().zip(&names) {
            let host = &host;
            scope.spawn(move || {
                let args = format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}");
                let (reply, result) = host.call(&Call { container: name, args, ..Call::add(pod) });
                assert_eq!(reply.exit, 0, "{result}");
            });
        }
    });
    let mut addresses: Vec<_> =
        host.endpoints().iter().map(|one| one["spec"]["ipNetworks"].to_string()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!((addresses.len(), host.used(), host.interfaces().len()), (8, 16, 8));
}

#[test]
fn an_add_whose_interface_exists_inside_leaves_nothing_of_its_own() {
    let (host, pod) = (Host::new(), mk_namespace());
    Rtnetlink::open_in(&pod).unwrap().create_bridge("eth0").unwrap();
    let (reply, error) = host.call(&Call::add(&pod));
    assert_eq!(reply.exit, 1, "{error}");
    assert_eq!((host.interfaces().len(), interfaces(&pod).len()), (0, 1));
    assert_eq!((host.handles().len(), host.used(), host.endpoints().len()), (0, 0, 0));
}

#[test]
fn addresses_that_cannot_be_had_are_calicos_errors_and_assign_nothing() {
    let (host, pod) = (Host::new(), mk_namespace());
    let with = |ipam: Value| {
        let mut call = Call::add(&pod);
        call.config["ipam"] = ipam;
        let (reply, error) = host.call(&call);
        assert_eq!((reply.exit, error["code"].as_u64()), (1, Some(999)), "{error}");
        assert_eq!((host.used(), host.handles().len(), host.interfaces().len()), (0, 0, 0));
        error["msg"].as_str().unwrap().to_owned()
    };
    let message = with(json!({ "type": "calico-ipam", "ipv4_pools": ["192.169.1.0/24"] }));
    assert!(message.contains("192.169.1.0/24) does not exist"), "{message}");
    let message = with(json!({ "type": "calico-ipam", "ipv4_pools": ["nosuch"] }));
    assert!(message.contains("nosuch"), "{message}");
    // One family short: the other's address isn't kept.
    let message = with(json!({ "type": "calico-ipam", "assign_ipv6": "true", "ipv6_pools": ["fd99::/64"] }));
    assert!(message.contains("fd99::/64"), "{message}");
}

#[test]
fn pools_are_chosen_by_annotation_then_namespace_then_configuration_and_by_name() {
    let (host, pod) = (Host::new(), mk_namespace());
    for (name, cidr) in [("p1", "10.21.0.0/26"), ("p2", "10.22.0.0/26"), ("p3", "10.23.0.0/26")] {
        host.create("IPPool", name, json!({ "cidr": cidr }));
    }
    let mut add = Call::add(&pod);
    add.config["ipam"] = json!({ "type": "calico-ipam", "ipv4_pools": ["p1"] });
    let first = |add: &Call<'_>| {
        let (reply, result) = host.call(add);
        assert_eq!(reply.exit, 0, "{result}");
        assert_eq!(host.call(&add.command("DEL")).0.exit, 0);
        result["ips"][0]["address"].as_str().unwrap().to_owned()
    };
    assert!(first(&add).starts_with("10.21.0."));
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": "shop", "annotations": { "cni.projectcalico.org/ipv4pools": "[\"p2\"]" } },
    });
    host.client.create(namespace).unwrap();
    assert!(first(&add).starts_with("10.22.0."));
    add.config["args"]["cni"]["annotations"] =
        json!({ "cni.projectcalico.org/ipv4pools": "[\"10.23.0.0/26\"]" });
    assert!(first(&add).starts_with("10.23.0."));
}

#[test]
fn a_requested_address_is_given_and_a_taken_one_refused() {
    let (host, pod, other) = (Host::new(), mk_namespace(), mk_namespace());
    let mut add = Call::add(&pod);
    add.args.push_str(";IP=10.20.0.33");
    let (reply, result) = host.call(&add);
    assert_eq!(reply.exit, 0, "{result}");
    assert_eq!(result["ips"], json!([{ "address": "10.20.0.33/32" }]));
    let mut second =
        Call { container: "c2", args: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=b".into(), ..Call::add(&other) };
    second.config["args"]["cni"]["annotations"] =
        json!({ "cni.projectcalico.org/ipAddrs": "[\"10.20.0.33\"]" });
    let (reply, error) = host.call(&second);
    assert_eq!(reply.exit, 1);
    assert!(error["msg"].as_str().unwrap().contains("already assigned"), "{error}");
    second.config["args"]["cni"]["annotations"] = json!({ "cni.projectcalico.org/ipAddrs": "[\"10.20.0.34\", \"fd20::9\"]", "cni.projectcalico.org/hwAddr": "02:00:00:00:00:07" });
    let (reply, result) = host.call(&second);
    assert_eq!(reply.exit, 0, "{result}");
    assert_eq!(result["ips"], json!([{ "address": "10.20.0.34/32" }, { "address": "fd20::9/128" }]));
    let stored = host.endpoints();
    assert!(stored.iter().any(|endpoint| endpoint["spec"]["mac"] == "02:00:00:00:00:07"), "{stored:?}");
}

#[test]
fn annotations_give_floating_addresses_and_source_prefixes_if_they_can_be_read() {
    let (host, pod) = (Host::new(), mk_namespace());
    let mut add = Call::add(&pod);
    add.config["args"]["cni"]["annotations"] = json!({
        "cni.projectcalico.org/floatingIPs": "[\"203.0.113.4\"]",
        "cni.projectcalico.org/allowedSourcePrefixes": "[\"10.9.0.0/24\"]",
    });
    add.config["args"]["cni"]["ports"] = json!([{ "name": "http", "port": 80 }]);
    add.config["args"]["cni"]["serviceAccountName"] = json!("front");
    let (reply, error) = host.call(&add);
    assert_eq!(
        (reply.exit, error["msg"].as_str()),
        (1, Some("requested feature is not enabled: floating_ips"))
    );
    assert_eq!((host.used(), host.interfaces().len()), (0, 0));
    add.config["feature_control"] = json!({ "floating_ips": true });
    assert_eq!(host.call(&add).0.exit, 0);
    let endpoint = host.endpoints().remove(0);
    let own = endpoint["spec"]["ipNetworks"][0].as_str().unwrap().split('/').next().unwrap();
    assert_eq!(endpoint["spec"]["ipNATs"], json!([{ "internalIP": own, "externalIP": "203.0.113.4" }]));
    assert_eq!(endpoint["spec"]["allowSpoofedSourcePrefixes"], json!(["10.9.0.0/24"]));
    assert_eq!(endpoint["spec"]["profiles"], json!(["kns.shop", "ksa.shop.front"]));
    assert_eq!(endpoint["metadata"]["labels"]["projectcalico.org/serviceaccount"], "front");
    let port = json!([{ "name": "http", "protocol": "TCP", "port": 80, "hostPort": 0, "hostIP": "" }]);
    assert_eq!(endpoint["spec"]["ports"], port);
}

#[test]
fn nothing_is_done_while_the_datastore_is_not_ready() {
    let (host, pod) = (Host::new(), mk_namespace());
    host.set_ready(false);
    for command in ["ADD", "DEL", "CHECK"] {
        let (reply, error) = host.call(&Call::add(&pod).command(command));
        assert_eq!((reply.exit, error["code"].as_u64()), (1, Some(999)), "{command}");
    }
    let mut status = Call::add(&pod).command("STATUS");
    status.config["cniVersion"] = json!("1.1.0");
    let (reply, error) = host.call(&status);
    assert_eq!((reply.exit, error["code"].as_u64()), (1, Some(50)), "{error}");
    host.set_ready(true);
    assert_eq!(host.call(&status).0.exit, 0);
    assert_eq!(host.interfaces().len(), 0);
}

#[test]
fn calico_ipam_alone_prints_the_blocks_mask_and_releases() {
    let (host, pod) = (Host::new(), mk_namespace());
    let add = Call { plugin: Plugin::Ipam, ..Call::add(&pod) };
    let (reply, result) = host.call(&add);
    assert_eq!(reply.exit, 0, "{result}");
    assert!(result["ips"][0]["address"].as_str().unwrap().ends_with("/26"), "{result}");
    assert_eq!(result["routes"][0], json!({ "dst": "10.20.0.0/26" }));
    assert_eq!(host.interfaces().len(), 0);
    assert_eq!(host.call(&add.command("DEL")).0.exit, 0);
    assert_eq!(host.used(), 0);
}

#[test]
fn the_real_host_local_plugin_gives_addresses_and_routes() {
    let (host, pod) = (Host::new(), mk_namespace());
    let mut add = Call::add(&pod);
    let data = host.directory.path().join("host-local");
    add.config["ipam"] = json!({
        "type": "host-local", "dataDir": data, "subnet": "10.99.0.0/24", "routes": [{ "dst": "10.0.0.0/8" }],
    });
    let (reply, result) = host.call(&add);
    assert_eq!(reply.exit, 0, "{result}");
    assert_eq!(result["ips"], json!([{ "address": "10.99.0.2/32" }]));
    assert_eq!(routes(&pod), ["10.0.0.0/8 via 169.254.1.1 0", "169.254.1.1/32 link 0"]);
    assert!(data.join("net1/10.99.0.2").exists());
    // CHECK and a second ADD know these routes, with the interface there or lost.
    assert_eq!(host.call(&add.command("CHECK")).1, Value::Null);
    let mut links = Rtnetlink::open_in(&host.namespace).unwrap();
    links.delete_link(tortie_netlink::rtnetlink::LinkRef::Name(&interface(&result))).unwrap();
    assert_eq!(host.call(&add).0.exit, 0);
    assert_eq!(routes(&pod), ["10.0.0.0/8 via 169.254.1.1 0", "169.254.1.1/32 link 0"]);
    assert_eq!(host.call(&add.command("DEL")).0.exit, 0);
    assert!(!data.join("net1/10.99.0.2").exists());
    add.config["include_default_routes"] = json!(true);
    assert_eq!(host.call(&add).0.exit, 0);
    assert_eq!(
        routes(&pod),
        ["0.0.0.0/0 via 169.254.1.1 0", "10.0.0.0/8 via 169.254.1.1 0", "169.254.1.1/32 link 0"]
    );
    add.config["ipam"]["type"] = json!("no-such-ipam");
    let (_, error) = host.call(&add.command("DEL"));
    assert_eq!(error["code"], 7, "{error}");
}

#[test]
fn gc_collects_what_the_runtime_does_not_know_of_this_node_and_network_only() {
    let (host, kept, lost, other) = (Host::new(), mk_namespace(), mk_namespace(), mk_namespace());
    let add = |pod, container: &'static str, name: &str| Call {
        container,
        args: format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}"),
        ..Call::add(pod)
    };
    host.call(&add(&kept, "kept", "a"));
    host.call(&add(&lost, "lost", "b"));
    let mut elsewhere = add(&other, "other", "c");
    elsewhere.config["name"] = json!("net2");
    host.call(&elsewhere);
    // A crash between addresses and endpoint.
    let stray = Call { plugin: Plugin::Ipam, ..add(&lost, "stray", "d") };
    host.call(&stray);
    assert_eq!(host.used(), 8);
    let mut gc = Call::add(&kept).command("GC");
    gc.config["cniVersion"] = json!("1.1.0");
    assert_eq!(host.call(&gc).1["code"], 7);
    gc.config["cni.dev/valid-attachments"] = json!([{ "containerID": "kept", "ifname": "eth0" }]);
    let (reply, error) = host.call(&gc);
    assert_eq!(reply.exit, 0, "{error}");
    let mut left: Vec<_> =
        host.endpoints().iter().map(|one| one["spec"]["containerID"].as_str().unwrap().to_owned()).collect();
    left.sort();
    assert_eq!(left, ["kept", "other"]);
    assert_eq!((host.used(), host.interfaces().len(), interfaces(&lost).len()), (4, 2, 0));
    assert_eq!(host.handles(), ["net1.kept", "net2.other"]);
}

#[test]
fn an_address_comes_back_without_its_predecessors_connections() {
    let (host, pod, peer) = (Host::new(), mk_namespace(), mk_namespace());
    let nft = "add table inet t; add chain inet t c { type filter hook forward priority 0; }; add rule inet t c ct state established accept";
    let run = || std::process::Command::new("nft").arg(nft).status().unwrap();
    assert!(host.namespace.run(run).unwrap().success());
    let mut add = Call::add(&pod);
    add.args.push_str(";IP=10.20.0.33");
    host.call(&add);
    let mut second = Call {
        container: "c2",
        args: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=b;IP=10.20.0.34".into(),
        ..Call::add(&peer)
    };
    second.config["ipam"] = json!({ "type": "calico-ipam" });
    host.call(&second);
    let receiver = peer.run(|| UdpSocket::bind("10.20.0.34:9").unwrap()).unwrap();
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    // The first packet arrives: an ADD that has returned has left nothing to wait for.
    pod.run(|| UdpSocket::bind("10.20.0.33:0").unwrap().send_to(b"x", "10.20.0.34:9").unwrap()).unwrap();
    receiver.recv(&mut [0; 1]).unwrap();
    let mut conntrack = tortie_netlink::Conntrack::open_in(&host.namespace).unwrap();
    assert_eq!(conntrack.of_address("10.20.0.33".parse().unwrap()).unwrap().len(), 1);
    assert_eq!(host.call(&add.command("DEL")).0.exit, 0);
    assert_eq!(conntrack.of_address("10.20.0.33".parse().unwrap()).unwrap(), []);
}
