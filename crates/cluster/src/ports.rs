//! Ports of a node (`hostPort`) as kubelet and containerd ask for them: led to their pod by each way and family, judged there, and free when it goes.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tortie_netlink::Namespace;

use crate::kube::{IMAGE, Kube, PATIENCE, Pod, until};
use crate::stage::NAMESPACE;

/// The pods' port, of TCP and UDP.
const PORT: u16 = 80;
/// The node's that leads there.
const LED: u16 = 2080;
/// One that a pod on the node's own network has, which Kubernetes lists as a port of the node too.
const OWN: u16 = 2090;
/// How long an answer may take.
const SOON: Duration = Duration::from_secs(1);

/// See the module.
pub fn lead(kube: &Kube) -> Result<()> {
    kube.namespace(NAMESPACE)?;
    let nodes: [String; 2] = kube.nodes()?.try_into().ok().context("the cluster should have two nodes")?;
    let [here, there] = &nodes;
    kube.apply(&[with_ports("web", here), on_host("host", here)].join("\n---\n"))?;
    let clients = kube.sleepers(NAMESPACE, &[("near", here), ("far", there)])?;
    let web = kube.pod(NAMESPACE, "web")?;
    let host = kube.pod(NAMESPACE, "host")?;
    let other = Namespace::open(format!("/run/netns/kl-{there}"))?;
    let server = Server::start(&web.namespace, PORT)?;

    for address in &host.addresses {
        let to = SocketAddr::new(*address, LED);
        let from_there = server.answers(&other, to)?;
        ensure!(!host.addresses.contains(&from_there), "to {to} the other node comes as {from_there}");
        let near = server.answers(&clients[0].namespace, to)?;
        ensure!(clients[0].addresses.contains(&near), "to {to} a pod of the node comes as {near}");
        server.answers(&clients[1].namespace, to)?;
        server.answers(&host.namespace, to)?;
        // Itself, by way of the node.
        server.answers(&web.namespace, to)?;
        println!("  {to}: from both nodes and their pods; the other node is seen as {from_there}");
    }
    server.answers(&host.namespace, SocketAddr::from((Ipv4Addr::LOCALHOST, LED)))?;
    println!("  127.0.0.1:{LED} from the node");

    judged(kube, &server, &host, &clients, &other)?;
    untouched(&host, &other)?;

    drop(server);
    kube.kubectl(&["-n", NAMESPACE, "delete", "pod", "web"])?;
    let at = SocketAddr::new(host.addresses[0], LED);
    until("the port leads nowhere", PATIENCE, || Ok(is_refused(&other, at)?.then_some(())))?;
    kube.apply(&with_ports("next", here))?;
    let next = kube.pod(NAMESPACE, "next")?;
    let server = Server::start(&next.namespace, PORT)?;
    for address in &host.addresses {
        server.answers(&other, SocketAddr::new(*address, LED))?;
    }
    println!("  free with its pod, and the next one's");
    drop(server);
    kube.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=120s"]).map(drop)
}

/// Policy names who asks, not the port of the node; the node itself isn't judged.
fn judged(kube: &Kube, server: &Server, host: &Pod, clients: &[Pod], other: &Namespace) -> Result<()> {
    kube.apply(&format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: near, namespace: {NAMESPACE}}}, spec: {{podSelector: \
         {{matchLabels: {{app: web}}}}, policyTypes: [Ingress], ingress: [{{from: [{{podSelector: {{matchLabels: {{app: near}}}}}}], ports: \
         [{{protocol: TCP, port: {PORT}}}, {{protocol: UDP, port: {PORT}}}]}}]}}}}"
    ))?;
    for address in &host.addresses {
        let to = SocketAddr::new(*address, LED);
        for from in [other, &clients[1].namespace] {
            until("policy holds at the node's port", PATIENCE, || {
                Ok((server.by_tcp(from, to)?.is_none() && server.by_udp(from, to)?.is_none()).then_some(()))
            })?;
        }
        server.answers(&clients[0].namespace, to)?;
        server.answers(&host.namespace, to)?;
    }
    kube.kubectl(&["-n", NAMESPACE, "delete", "networkpolicy", "near"])?;
    for address in &host.addresses {
        let to = SocketAddr::new(*address, LED);
        until("the policy is gone", PATIENCE, || server.by_tcp(other, to))?;
    }
    println!("  judged by who asks, by TCP and by UDP");
    Ok(())
}

/// What a pod on the node's network listens to is reached as if there were no host ports.
fn untouched(host: &Pod, other: &Namespace) -> Result<()> {
    let server = Server::start(&host.namespace, OWN)?;
    for address in &host.addresses {
        server.answers(other, SocketAddr::new(*address, OWN))?;
        server.answers(&host.namespace, SocketAddr::new(*address, OWN))?;
    }
    server.answers(&host.namespace, SocketAddr::from((Ipv4Addr::LOCALHOST, OWN)))?;
    println!("  untouched: a pod on the node's own network");
    Ok(())
}

/// What listens at a port, of TCP and UDP, by both families.
struct Server {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Server {
    fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let at = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let open = || -> std::io::Result<Server> {
            let server = Server { tcp: TcpListener::bind(at)?, udp: UdpSocket::bind(at)? };
            server.tcp.set_nonblocking(true)?;
            server.udp.set_nonblocking(true)?;
            Ok(server)
        };
        namespace.run(open)?.with_context(|| format!("listen at port {port}"))
    }

    /// Who asks, as it is seen here; the same by both protocols, or it is an error, as is silence.
    fn answers(&self, from: &Namespace, to: SocketAddr) -> Result<IpAddr> {
        let whose = || format!("from {} to {to}", from.label());
        let by_tcp = self.by_tcp(from, to)?.with_context(|| format!("no TCP {}", whose()))?;
        let by_udp = self.by_udp(from, to)?.with_context(|| format!("no UDP {}", whose()))?;
        ensure!(by_tcp == by_udp, "{}: {by_tcp} by TCP, {by_udp} by UDP", whose());
        Ok(by_tcp)
    }

    /// Who has connected, if it could.
    fn by_tcp(&self, from: &Namespace, to: SocketAddr) -> Result<Option<IpAddr>> {
        // Those who only tried are in the queue.
        while self.tcp.accept().is_ok() {}
        let Some(client) = from.run(|| TcpStream::connect_timeout(&to, SOON))?.ok() else {
            return Ok(None);
        };
        let port = client.local_addr()?.port();
        let found = soon(|| self.tcp.accept())?;
        let (_, seen) = found.with_context(|| format!("somebody else answers at {to}, from port {port}"))?;
        Ok(Some(seen.ip().to_canonical()))
    }

    /// Whose datagram came; its answer must come from where it was sent to.
    fn by_udp(&self, from: &Namespace, to: SocketAddr) -> Result<Option<IpAddr>> {
        let any: IpAddr =
            if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let client = from.run(|| UdpSocket::bind((any, 0)))??;
        let word = client.local_addr()?.port().to_be_bytes();
        let mut heard = [0; 2];
        // What somebody sent before is no longer awaited.
        while self.udp.recv_from(&mut heard).is_ok() {}
        client.send_to(&word, to)?;
        let Some((_, seen)) = soon(|| self.udp.recv_from(&mut heard))? else {
            return Ok(None);
        };
        ensure!(heard == word, "another datagram came to {to}");
        self.udp.send_to(&word, seen)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let (_, answered) = client.recv_from(&mut heard)?;
        ensure!(answered == to, "{answered} answers for {to}");
        Ok(Some(seen.ip().to_canonical()))
    }
}

/// What comes within [`SOON`].
fn soon<T>(mut take: impl FnMut() -> std::io::Result<T>) -> Result<Option<T>> {
    let end = Instant::now() + SOON;
    loop {
        match take() {
            Ok(taken) => return Ok(Some(taken)),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if Instant::now() > end => return Ok(None),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Whether the node itself answers, that nobody listens.
fn is_refused(from: &Namespace, to: SocketAddr) -> Result<bool> {
    let tried = from.run(|| TcpStream::connect_timeout(&to, SOON))?;
    Ok(tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
}

fn with_ports(name: &str, node: &str) -> String {
    let led = ["TCP", "UDP"].map(|of| format!("{{protocol: {of}, containerPort: {PORT}, hostPort: {LED}}}"));
    pod(name, node, &format!("containers: [{{name: c, image: '{IMAGE}', ports: [{}]}}]", led.join(", ")))
}

fn on_host(name: &str, node: &str) -> String {
    let own = ["TCP", "UDP"].map(|of| format!("{{protocol: {of}, containerPort: {OWN}}}"));
    let containers = format!("containers: [{{name: c, image: '{IMAGE}', ports: [{}]}}]", own.join(", "));
    pod(name, node, &format!("hostNetwork: true, {containers}"))
}

fn pod(name: &str, node: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {NAMESPACE}, labels: {{app: {name}}}}}, spec: {{nodeName: {node}, \
         automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, {more}}}}}"
    )
}
