//! The limits of a pod's traffic, by its annotations.
//!
//! A limit that can't be read is as if it weren't there, one that is out of its range is brought into it, and one that means
//! nothing without another falls away with it: the pod is an endpoint all the same.

use std::collections::BTreeMap;

use tortie_api::endpoint::QosControls;
use tortie_api::schema::Omit;

const PREFIX: &str = "qos.projectcalico.org/";

/// Lowest and highest values: bits a second.
const BANDWIDTH: (i64, i64) = (1_000, 1_000_000_000_000_000);
/// Bits.
const BURST: (i64, i64) = (1_000, 34_359_738_360);
/// Bits a second; always above the bandwidth.
const PEAKRATE: (i64, i64) = (1_010, 1_010_000_000_000_000);
/// Bytes.
const MINBURST: (i64, i64) = (1_000, 100_000_000);
/// Packets a second, and packets.
const PACKETS: (i64, i64) = (1, 10_000);
/// Connections.
const CONNECTIONS: (i64, i64) = (1, 4_294_967_295);

/// The burst, in bits, of a bandwidth without one.
const DEFAULT_BURST: i64 = 4_294_967_296;
/// The burst, in packets, of a packet rate without one.
const DEFAULT_PACKET_BURST: i64 = 5;

/// The limits that a pod's annotations ask for; `None` without.
pub fn controls(annotations: &BTreeMap<String, String>) -> Option<QosControls> {
    let limit = |name: &str, (lowest, highest)| {
        let text = annotations.get(&format!("{PREFIX}{name}"))?;
        Some(quantity(text).map_or(0, |value| value.clamp(lowest, highest)))
    };
    let kubernetes = |name: &str| {
        let text = annotations.get(&format!("kubernetes.io/{name}-bandwidth"))?;
        Some(quantity(text).map_or(0, |value| value.clamp(BANDWIDTH.0, BANDWIDTH.1)))
    };
    let ingress = Direction {
        bandwidth: limit("ingressBandwidth", BANDWIDTH).or_else(|| kubernetes("ingress")),
        burst: limit("ingressBurst", BURST),
        peakrate: limit("ingressPeakrate", PEAKRATE),
        minburst: limit("ingressMinburst", MINBURST),
        packet_rate: limit("ingressPacketRate", PACKETS),
        packet_burst: limit("ingressPacketBurst", PACKETS),
    };
    let egress = Direction {
        bandwidth: limit("egressBandwidth", BANDWIDTH).or_else(|| kubernetes("egress")),
        burst: limit("egressBurst", BURST),
        peakrate: limit("egressPeakrate", PEAKRATE),
        minburst: limit("egressMinburst", MINBURST),
        packet_rate: limit("egressPacketRate", PACKETS),
        packet_burst: limit("egressPacketBurst", PACKETS),
    };
    let (ingress, egress) = (ingress.settled(), egress.settled());
    let controls = QosControls {
        ingress_bandwidth: ingress[0],
        ingress_burst: ingress[1],
        ingress_peakrate: ingress[2],
        ingress_minburst: ingress[3],
        ingress_packet_rate: ingress[4],
        ingress_packet_burst: ingress[5],
        egress_bandwidth: egress[0],
        egress_burst: egress[1],
        egress_peakrate: egress[2],
        egress_minburst: egress[3],
        egress_packet_rate: egress[4],
        egress_packet_burst: egress[5],
        ingress_max_connections: limit("ingressMaxConnections", CONNECTIONS).unwrap_or_default(),
        egress_max_connections: limit("egressMaxConnections", CONNECTIONS).unwrap_or_default(),
        dscp: annotations.get(&format!("{PREFIX}dscp")).and_then(|text| text.parse().ok()),
    };
    (!controls.omit()).then_some(controls)
}

/// What was asked for of one direction; 0 for what can't be read.
struct Direction {
    bandwidth: Option<i64>,
    burst: Option<i64>,
    peakrate: Option<i64>,
    minburst: Option<i64>,
    packet_rate: Option<i64>,
    packet_burst: Option<i64>,
}

impl Direction {
    /// Without what means nothing alone, and with what comes by itself; in the order of the fields.
    fn settled(self) -> [i64; 6] {
        let set = |value: Option<i64>, condition: bool| value.filter(|_| condition).unwrap_or_default();
        let (bandwidth, packet_rate) = (set(self.bandwidth, true), set(self.packet_rate, true));
        let mut burst = set(self.burst, bandwidth != 0);
        let peakrate = set(self.peakrate.filter(|peakrate| *peakrate > bandwidth), bandwidth != 0);
        let minburst = set(self.minburst, peakrate != 0);
        let mut packet_burst = set(self.packet_burst, packet_rate != 0);
        if bandwidth != 0 && burst == 0 {
            burst = DEFAULT_BURST;
        }
        if packet_rate != 0 && packet_burst == 0 {
            packet_burst = DEFAULT_PACKET_BURST;
        }
        [bandwidth, burst, peakrate, minburst, packet_rate, packet_burst]
    }
}

/// A quantity as Kubernetes writes it (`10M`, `1.5Gi`, `2e6`), rounded up to a whole number; `None` if it is none.
fn quantity(text: &str) -> Option<i64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    let end = unsigned.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let binary = |power: u32| Some((1_i128 << (10 * power), 0_i32));
    let (times, tens) = match suffix {
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        "n" => Some((1, -9)),
        "u" => Some((1, -6)),
        "m" => Some((1, -3)),
        "" => Some((1, 0)),
        "k" => Some((1, 3)),
        "M" => Some((1, 6)),
        "G" => Some((1, 9)),
        "T" => Some((1, 12)),
        "P" => Some((1, 15)),
        "E" => Some((1, 18)),
        exponent => exponent.strip_prefix(['e', 'E'])?.parse().ok().map(|tens: i32| (1, tens)),
    }?;
    let tens = tens.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let power = 10_i128.checked_pow(tens.unsigned_abs())?;
    let scaled = digits.checked_mul(times)?;
    // Rounded away from zero, as Kubernetes does.
    let size = if tens < 0 { (scaled + power - 1) / power } else { scaled.checked_mul(power)? };
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_kubernetes() {
        for (text, value) in [
            ("0", Some(0)),
            ("10M", Some(10_000_000)),
            ("1.5Gi", Some(1_610_612_736)),
            ("1.01k", Some(1_010)),
            ("2e6", Some(2_000_000)),
            ("2E6", Some(2_000_000)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("100E", Some(i64::MAX)),
            ("1500m", Some(2)),
            (".5", Some(1)),
            ("5.", Some(5)),
            ("-3", Some(-3)),
            ("+3k", Some(3_000)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("1 M", None),
            ("--1", None),
            ("1KiB", None),
            ("1K", None),
            ("ten", None),
            ("1e", None),
        ] {
            assert_eq!(quantity(text), value, "{text:?}");
        }
    }

    #[test]
    fn limits_are_brought_into_their_ranges_and_fall_with_what_they_need() {
        for (annotations, want) in [
            (vec![], None),
            (vec![("qos.projectcalico.org/ingressBandwidth", "garbage")], None),
            (vec![("qos.projectcalico.org/ingressBurst", "1M")], None),
            (
                vec![
                    ("qos.projectcalico.org/egressPeakrate", "2M"),
                    ("qos.projectcalico.org/egressMinburst", "2k"),
                ],
                None,
            ),
            (
                vec![("kubernetes.io/ingress-bandwidth", "10M")],
                Some(r#"{"ingressBandwidth":10000000,"ingressBurst":4294967296}"#),
            ),
            (
                vec![
                    ("kubernetes.io/egress-bandwidth", "10M"),
                    ("qos.projectcalico.org/egressBandwidth", "1"),
                    ("qos.projectcalico.org/egressBurst", "2k"),
                    ("qos.projectcalico.org/egressPeakrate", "5k"),
                    ("qos.projectcalico.org/egressMinburst", "1500"),
                ],
                Some(
                    r#"{"egressBandwidth":1000,"egressBurst":2000,"egressPeakrate":5000,"egressMinburst":1500}"#,
                ),
            ),
            (
                vec![("qos.projectcalico.org/ingressPacketRate", "1M")],
                Some(r#"{"ingressPacketRate":10000,"ingressPacketBurst":5}"#),
            ),
            (
                vec![
                    ("qos.projectcalico.org/egressMaxConnections", "7"),
                    ("qos.projectcalico.org/dscp", "EF"),
                ],
                Some(r#"{"egressMaxConnections":7,"dscp":"EF"}"#),
            ),
        ] {
            let annotations =
                annotations.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let found = controls(&annotations);
            let found = found.map(|found| serde_json::to_string(&found).expect("JSON"));
            assert_eq!(found.as_deref(), want, "{annotations:?}");
        }
    }
}
