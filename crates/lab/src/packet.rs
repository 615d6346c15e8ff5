//! Whole IP packets as bytes: built with a cookie at their end, and recognised by it.
//!
//! Pure. The cookie (16 bytes: a magic word and a number) is the last thing in every packet, whatever the
//! protocol, so that a capture needs no parser to say which probe arrived. Next hop: [`crate::raw`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The first half of a cookie.
const MAGIC: [u8; 8] = *b"tt-probe";
/// Bytes of a cookie.
pub const COOKIE: usize = 16;
const TTL: u8 = 64;
/// IP protocol numbers.
pub mod protocol {
    /// Internet control messages.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// Internet control messages for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDPLITE: u8 = 136;
}

/// What is inside the IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A TCP SYN.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// A UDP-Lite datagram, checksum over all of it.
    UdpLite {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// An SCTP INIT (checksum CRC32c, RFC 9260).
    Sctp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// An ICMP message of the address's family. Connection tracking takes only requests (echo, timestamp,
    /// information, address mask; for IPv6 echo and node information) as new; others are invalid to it.
    Icmp {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// Echo identifier, so that each request is a flow of its own.
        identifier: u16,
    },
    /// Any other protocol, with no header.
    Other(u8),
}

/// One packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Source address; need not be the sender's own.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// What it holds.
    pub transport: Transport,
    /// Says which packet this is when it arrives.
    pub cookie: u64,
}

impl Packet {
    /// The IP protocol number.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        match (self.transport, self.destination) {
            (Transport::Tcp { .. }, _) => protocol::TCP,
            (Transport::Udp { .. }, _) => protocol::UDP,
            (Transport::UdpLite { .. }, _) => protocol::UDPLITE,
            (Transport::Sctp { .. }, _) => protocol::SCTP,
            (Transport::Icmp { .. }, IpAddr::V4(_)) => protocol::ICMP,
            (Transport::Icmp { .. }, IpAddr::V6(_)) => protocol::ICMPV6,
            (Transport::Other(number), _) => number,
        }
    }

    /// The packet from its IP header on; `None` when the addresses are of two families.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (mut header, pseudo) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4(source, destination, self.protocol()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6(source, destination, self.protocol()),
            _ => return None,
        };
        let body = self.body(&pseudo);
        let whole = u16::try_from(header.len() + body.len()).ok()?;
        if self.source.is_ipv4() {
            header[2..4].copy_from_slice(&whole.to_be_bytes());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            header[4..6].copy_from_slice(&u16::try_from(body.len()).ok()?.to_be_bytes());
        }
        header.extend_from_slice(&body);
        Some(header)
    }

    fn body(&self, pseudo: &[u8]) -> Vec<u8> {
        let cookie = cookie_bytes(self.cookie);
        match self.transport {
            Transport::Tcp { source, destination } => {
                let mut segment = ports(source, destination);
                segment.extend_from_slice(&(self.cookie as u32).to_be_bytes());
                // Acknowledgement 0, header of 5 words, SYN, window 64240, checksum and urgent pointer 0.
                segment.extend_from_slice(&[0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0]);
                segment.extend_from_slice(&cookie);
                with_checksum(segment, 16, pseudo)
            }
            Transport::Udp { source, destination } => {
                let mut datagram = ports(source, destination);
                datagram.extend_from_slice(&((8 + COOKIE) as u16).to_be_bytes());
                datagram.extend_from_slice(&[0, 0]);
                datagram.extend_from_slice(&cookie);
                with_checksum(datagram, 6, pseudo)
            }
            Transport::UdpLite { source, destination } => {
                let mut datagram = ports(source, destination);
                // Coverage 0: all of it.
                datagram.extend_from_slice(&[0, 0, 0, 0]);
                datagram.extend_from_slice(&cookie);
                // Linux's connection tracking verifies UDP-Lite with UDP's number in the pseudo header
                // (nf_conntrack_proto_udp.c, 6.18) and calls what RFC 3828 asks for invalid.
                let mut pseudo = pseudo.to_vec();
                if let Some(number) = pseudo.last_mut() {
                    *number = protocol::UDP;
                }
                with_checksum(datagram, 6, &pseudo)
            }
            Transport::Sctp { source, destination } => sctp_init(source, destination, self.cookie),
            Transport::Icmp { kind, code, identifier } => {
                let [high, low] = identifier.to_be_bytes();
                let mut message = vec![kind, code, 0, 0, high, low, 0, 1];
                message.extend_from_slice(&cookie);
                with_checksum(message, 2, if self.source.is_ipv6() { pseudo } else { &[] })
            }
            Transport::Other(_) => cookie.to_vec(),
        }
    }
}

/// The cookie at the end of a received packet, if it is one of ours.
#[must_use]
pub fn cookie_of(packet: &[u8]) -> Option<u64> {
    let tail = packet.last_chunk::<COOKIE>()?;
    let (magic, number) = tail.split_first_chunk::<8>()?;
    (*magic == MAGIC).then(|| number.try_into().map(u64::from_be_bytes).ok())?
}

fn cookie_bytes(cookie: u64) -> [u8; COOKIE] {
    let mut bytes = [0; COOKIE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(&cookie.to_be_bytes());
    bytes
}

/// IPv4 header without length and checksum, and the pseudo header without the length.
fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> (Vec<u8>, Vec<u8>) {
    let mut header = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, TTL, protocol, 0, 0];
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    let mut pseudo = header[12..20].to_vec();
    pseudo.extend_from_slice(&[0, protocol]);
    (header, pseudo)
}

/// IPv6 header without length, and the pseudo header without the length.
fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8) -> (Vec<u8>, Vec<u8>) {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, TTL];
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    let mut pseudo = header[8..40].to_vec();
    pseudo.extend_from_slice(&[0, protocol]);
    (header, pseudo)
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// Fills the 16-bit checksum at `at`, over the pseudo header (with the length added) and the body.
fn with_checksum(mut body: Vec<u8>, at: usize, pseudo: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let sum = if pseudo.is_empty() { checksum(&[&body]) } else { checksum(&[pseudo, &length, &body]) };
    // UDP's "no checksum" is 0; the other form of zero is sent instead.
    let sum = if sum == 0 { 0xffff } else { sum };
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    body
}

/// The Internet checksum (RFC 1071); all parts but the last have an even length.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Common header with tag 0, and an INIT chunk with one parameter that receivers skip: the cookie.
fn sctp_init(source: u16, destination: u16, cookie: u64) -> Vec<u8> {
    let mut packet = ports(source, destination);
    packet.extend_from_slice(&[0; 8]);
    // INIT, flags 0, length 20 + 20; initiate tag, window, 1 stream out and in, initial TSN.
    packet.extend_from_slice(&[1, 0, 0, 40]);
    packet.extend_from_slice(&((cookie as u32) | 1).to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    // Parameter 0x8fff: the two highest bits 10 say "skip and go on".
    packet.extend_from_slice(&[0x8f, 0xff, 0, 20]);
    packet.extend_from_slice(&cookie_bytes(cookie));
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// CRC32c (Castagnoli), bit by bit: a probe is 52 bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn crc32c_of_the_standard_check_string() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_internet_checksum_of_rfc_1071s_example() {
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn every_packet_ends_with_its_cookie_and_says_its_own_length() {
        let transports = [
            Transport::Tcp { source: 1, destination: 2 },
            Transport::Udp { source: 1, destination: 2 },
            Transport::UdpLite { source: 1, destination: 2 },
            Transport::Sctp { source: 1, destination: 2 },
            Transport::Icmp { kind: 8, code: 0, identifier: 3 },
            Transport::Other(99),
        ];
        for (source, destination) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let (source, destination): (IpAddr, IpAddr) =
                (source.parse().unwrap(), destination.parse().unwrap());
            for (number, transport) in transports.into_iter().enumerate() {
                let packet = Packet { source, destination, transport, cookie: number as u64 };
                let bytes = packet.encode().unwrap();
                assert_eq!(cookie_of(&bytes), Some(number as u64));
                assert_eq!(cookie_of(&bytes[..bytes.len() - 1]), None);
                let (length, rest) = if source.is_ipv4() { (2, 0) } else { (4, 40) };
                let said = u16::from_be_bytes([bytes[length], bytes[length + 1]]);
                assert_eq!(usize::from(said) + rest, bytes.len());
            }
        }
        let mixed = Packet {
            source: "10.0.0.1".parse().unwrap(),
            destination: "fd00::2".parse().unwrap(),
            transport: Transport::Other(99),
            cookie: 0,
        };
        assert_eq!(mixed.encode(), None);
    }
}
