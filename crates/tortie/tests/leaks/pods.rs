//! Pods that come, wait for the agent, and take over an address.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::json;
use tortie_lab::flows::LIMIT;
use tortie_lab::packet::{Packet, Transport};
use tortie_lab::raw::{Capture, Sender};
use tortie_netlink::sysctl;

use crate::stage::Stage;
use crate::streams::ALLOWED;

#[test]
fn a_pod_that_starts_is_never_open_and_not_closed_once_add_has_returned() {
    let mut stage = Stage::new();
    let before = stage.wire("before", "10.20.0.200");
    stage.assert_leaks_without_table(before, "10.20.0.200");
    stage.agent();
    let pod = stage.lab.add_pod("web").unwrap();
    let streams = stage.streams(pod, "10.20.0.7");
    streams.go_on(50);
    let (done, said) = stage.cni("ADD", pod, "web", "10.20.0.7");
    assert!(done, "{said}");
    let added = Instant::now();
    streams.go_on(300);
    let seen = streams.stop();
    seen.assert_many();
    let lost = seen.drops(added);
    assert_eq!((seen.leaks(), lost), (0, 0), "leaks, and wrong drops after ADD");
    assert!(seen.allowed.iter().any(|(at, _)| *at < added), "no flow was sent before");
}

#[test]
fn at_boot_nothing_passes_to_a_pod_before_its_policy_is_in_force() {
    let mut stage = Stage::new();
    let pod = stage.wire("web", "10.20.0.7");
    stage.assert_leaks_without_table(pod, "10.20.0.7");
    // A machine that has booted forwards nothing until somebody tells it to.
    stage.node().run(|| sysctl::write("net/ipv4/ip_forward", "0").unwrap()).unwrap();
    let streams = stage.streams(pod, "10.20.0.7");
    streams.go_on(50);
    stage.agent();
    let ready = Instant::now();
    streams.go_on(300);
    let seen = streams.stop();
    seen.assert_many();
    assert_eq!((seen.leaks(), seen.drops(ready)), (0, 0), "leaks, and wrong drops once in force");
}

#[test]
fn a_pods_connections_do_not_reach_the_next_pod_with_its_address() {
    let mut stage = Stage::new();
    let closed = json!({ "selector": "app == 'closed'", "order": 1, "ingress": [{ "action": "Deny" }] });
    stage.apply("GlobalNetworkPolicy", "", "closed", closed);
    let before = stage.wire("before", "10.20.0.200");
    stage.assert_leaks_without_table(before, "10.20.0.200");
    stage.agent();
    let address = "10.20.0.7";
    let (first, second) = (stage.lab.add_pod("first").unwrap(), stage.lab.add_pod("second").unwrap());
    let (done, said) = stage.cni("ADD", first, "open", address);
    assert!(done, "{said}");

    // A connection with an answer: established.
    let outside = stage.lab.hosts()[1].namespace();
    let client = outside.run(|| UdpSocket::bind("0.0.0.0:5999").unwrap()).unwrap();
    let server =
        stage.lab.pods()[first].namespace().run(|| UdpSocket::bind((address, ALLOWED)).unwrap()).unwrap();
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let mut buffer = [0; 64];
    client.send_to(b"hello", (address, ALLOWED)).unwrap();
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    server.send_to(b"hello", from).unwrap();
    client.recv_from(&mut buffer).unwrap();

    // And goes on, every millisecond, while the address changes hands.
    let mut captures =
        [first, second].map(|pod| Capture::at_interfaces(stage.lab.pods()[pod].namespace()).unwrap());
    let sender = Sender::open(outside).unwrap();
    let source: IpAddr = stage.lab.hosts()[1].ipv4().into();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let sent = std::sync::atomic::AtomicU64::new(0);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for cookie in 0..u64::from(LIMIT) {
                if stop.load(relaxed) {
                    return;
                }
                let transport = Transport::Udp { source: 5999, destination: ALLOWED };
                let destination = address.parse().unwrap();
                sender.send_one(&Packet { source, destination, transport, cookie }).unwrap();
                sent.store(cookie + 1, relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let go_on = |packets| {
            let goal = sent.load(relaxed) + packets;
            while sent.load(relaxed) < goal {
                std::thread::yield_now();
            }
        };
        go_on(50);
        let (deleted, said) = stage.cni("DEL", first, "open", address);
        assert!(deleted, "{said}");
        go_on(20);
        let (added, said) = stage.cni("ADD", second, "closed", address);
        assert!(added, "{said}");
        go_on(200);
        stop.store(true, relaxed);
    });
    assert!(captures[0].drain().unwrap().len() > 20, "the connection did not stand before");
    assert_eq!(
        captures[1].drain().unwrap(),
        [],
        "the next pod got the packets of its predecessor's connection"
    );
}
