//! What a rule is made of: nf_tables' expressions as values, to the wire and back.
//!
//! Only the expressions that the flat table needs. What the kernel lists and we do not know becomes
//! [`Expression::Unknown`], which equals nothing we would write, so a comparison sees that the rule is not ours.
//! Writers: [`crate::flat`]. Next hop: [`crate::object::Rule`].

use crate::kernel::*;
pub use crate::verdict::Verdict;
use tortie_netlink::{Attribute, Attributes, Encoder};

/// One of nf_tables' sixteen 32-bit registers (`NFT_REG32_00` + n), or the verdict register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u32);

impl Register {
    /// The register that holds the verdict; a verdict map's result goes here.
    pub const VERDICT: Register = Register(0);

    /// The `index`-th 32-bit register, 0 to 15.
    #[must_use]
    pub const fn word(index: u32) -> Self {
        Register(8 + index)
    }

    /// The kernel lists every fourth 32-bit register under its old 128-bit number.
    fn from_kernel(number: u32) -> Self {
        Register(if (1..=4).contains(&number) { 8 + (number - 1) * 4 } else { number })
    }
}

/// `NFT_META_*`: packet data outside its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Meta {
    Priority = 2,
    Mark = 3,
    InputInterface = 4,
    OutputInterface = 5,
    InputInterfaceName = 6,
    OutputInterfaceName = 7,
    Family = 15,
    Protocol = 16,
}

/// `NFT_CT_*`: connection tracking data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Ct {
    State = 0,
    Mark = 3,
}

/// Where a payload offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Base {
    Network = 1,
    Transport = 2,
}

/// `NFT_CMP_EQ` or `NFT_CMP_NEQ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Comparison {
    Equal = 0,
    NotEqual = 1,
}

/// `NFT_NAT_SNAT` or `NFT_NAT_DNAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Nat {
    Source = 0,
    Destination = 1,
}

/// The registers that hold the first and the last port of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "it says all")]
pub struct Ports {
    pub first: Register,
    pub last: Register,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are registers, offsets in bytes and names; the variant says which")]
pub enum Expression {
    /// Loads packet metadata.
    Meta { key: Meta, to: Register },
    /// Writes packet metadata.
    SetMeta { key: Meta, from: Register },
    /// Loads connection tracking data.
    Ct { key: Ct, to: Register },
    /// Writes connection tracking data.
    SetCt { key: Ct, from: Register },
    /// Loads `length` bytes of a header at `offset`.
    Payload { base: Base, offset: u32, length: u32, to: Register },
    /// Ends the rule unless the register compares so with `data`.
    Compare { comparison: Comparison, from: Register, data: Vec<u8> },
    /// `to = (from & mask) ^ xor`.
    Bitwise { from: Register, to: Register, mask: Vec<u8>, xor: Vec<u8> },
    /// Turns a word from the processor's byte order into the network's.
    ToNetworkOrder { from: Register, to: Register },
    /// Looks `key` up; a miss ends the rule. With `to`, loads the map's data.
    Lookup { set: String, key: Register, to: Option<Register> },
    /// Loads a constant.
    Immediate { to: Register, data: Vec<u8> },
    /// Loads a verdict.
    Verdict(Verdict),
    /// Counts at the counter that the map has for `key`; a miss ends the rule.
    CounterByMap { map: String, key: Register },
    /// Counts at a named counter.
    CounterByName(String),
    /// Sends the packet's first `snap_length` bytes to an nflog group.
    Log { group: u16, prefix: String, snap_length: u32 },
    /// Logs to the kernel's log at level info.
    KernelLog { prefix: String },
    /// Gives the connection this host's address, and a source port that is drawn, of these if any are named.
    Masquerade { ports: Option<Ports> },
    /// Gives the connection the address in the register, which is of this family (`NFPROTO_*`), and one of the ports; a
    /// random one of them if so said.
    Nat { which: Nat, family: u8, address: Register, ports: Option<Ports>, random: bool },
    /// Loads what the destination is to this host's routes, an `RTN_*`.
    DestinationType { to: Register },
    /// An expression that this driver never writes.
    Unknown(String),
}

impl Expression {
    /// Appends this expression as one `NFTA_LIST_ELEM`.
    pub fn write(&self, encoder: &mut Encoder) {
        encoder.nested(NFTA_LIST_ELEM, |encoder| {
            encoder.put_text(NFTA_EXPR_NAME, self.kernel_name());
            encoder.nested(NFTA_EXPR_DATA, |encoder| self.write_data(encoder));
        });
    }

    fn kernel_name(&self) -> &str {
        match self {
            Expression::Meta { .. } | Expression::SetMeta { .. } => "meta",
            Expression::Ct { .. } | Expression::SetCt { .. } => "ct",
            Expression::Payload { .. } => "payload",
            Expression::Compare { .. } => "cmp",
            Expression::Bitwise { .. } => "bitwise",
            Expression::ToNetworkOrder { .. } => "byteorder",
            Expression::Lookup { .. } => "lookup",
            Expression::Immediate { .. } | Expression::Verdict(_) => "immediate",
            Expression::CounterByMap { .. } | Expression::CounterByName(_) => "objref",
            Expression::Log { .. } | Expression::KernelLog { .. } => "log",
            Expression::Masquerade { .. } => "masq",
            Expression::Nat { .. } => "nat",
            Expression::DestinationType { .. } => "fib",
            Expression::Unknown(name) => name,
        }
    }

    fn write_data(&self, encoder: &mut Encoder) {
        match self {
            Expression::Meta { key, to } => {
                encoder.put_be32(NFTA_META_DREG, to.0);
                encoder.put_be32(NFTA_META_KEY, *key as u32);
            }
            Expression::SetMeta { key, from } => {
                encoder.put_be32(NFTA_META_KEY, *key as u32);
                encoder.put_be32(NFTA_META_SREG, from.0);
            }
            Expression::Ct { key, to } => {
                encoder.put_be32(NFTA_CT_DREG, to.0);
                encoder.put_be32(NFTA_CT_KEY, *key as u32);
            }
            Expression::SetCt { key, from } => {
                encoder.put_be32(NFTA_CT_KEY, *key as u32);
                encoder.put_be32(NFTA_CT_SREG, from.0);
            }
            Expression::Payload { base, offset, length, to } => {
                encoder.put_be32(NFTA_PAYLOAD_DREG, to.0);
                encoder.put_be32(NFTA_PAYLOAD_BASE, *base as u32);
                encoder.put_be32(NFTA_PAYLOAD_OFFSET, *offset);
                encoder.put_be32(NFTA_PAYLOAD_LEN, *length);
            }
            Expression::Compare { comparison, from, data } => {
                encoder.put_be32(NFTA_CMP_SREG, from.0);
                encoder.put_be32(NFTA_CMP_OP, *comparison as u32);
                write_value(encoder, NFTA_CMP_DATA, data);
            }
            Expression::Bitwise { from, to, mask, xor } => {
                encoder.put_be32(NFTA_BITWISE_SREG, from.0);
                encoder.put_be32(NFTA_BITWISE_DREG, to.0);
                encoder
                    .put_be32(NFTA_BITWISE_LEN, u32::try_from(mask.len()).expect("a register is 16 bytes"));
                write_value(encoder, NFTA_BITWISE_MASK, mask);
                write_value(encoder, NFTA_BITWISE_XOR, xor);
            }
            Expression::ToNetworkOrder { from, to } => {
                encoder.put_be32(NFTA_BYTEORDER_SREG, from.0);
                encoder.put_be32(NFTA_BYTEORDER_DREG, to.0);
                encoder.put_be32(NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
                encoder.put_be32(NFTA_BYTEORDER_LEN, 4);
                encoder.put_be32(NFTA_BYTEORDER_SIZE, 4);
            }
            Expression::Lookup { set, key, to } => {
                encoder.put_text(NFTA_LOOKUP_SET, set);
                encoder.put_be32(NFTA_LOOKUP_SREG, key.0);
                if let Some(to) = to {
                    encoder.put_be32(NFTA_LOOKUP_DREG, to.0);
                }
            }
            Expression::Immediate { to, data } => {
                encoder.put_be32(NFTA_IMMEDIATE_DREG, to.0);
                write_value(encoder, NFTA_IMMEDIATE_DATA, data);
            }
            Expression::Verdict(verdict) => {
                encoder.put_be32(NFTA_IMMEDIATE_DREG, Register::VERDICT.0);
                verdict.write(encoder, NFTA_IMMEDIATE_DATA);
            }
            Expression::CounterByMap { map, key } => {
                encoder.put_be32(NFTA_OBJREF_SET_SREG, key.0);
                encoder.put_text(NFTA_OBJREF_SET_NAME, map);
            }
            Expression::CounterByName(name) => {
                encoder.put_be32(NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
                encoder.put_text(NFTA_OBJREF_IMM_NAME, name);
            }
            Expression::Log { group, prefix, snap_length } => {
                encoder.put_be16(NFTA_LOG_GROUP, *group);
                encoder.put_text(NFTA_LOG_PREFIX, prefix);
                encoder.put_be32(NFTA_LOG_SNAPLEN, *snap_length);
            }
            Expression::KernelLog { prefix } => {
                encoder.put_text(NFTA_LOG_PREFIX, prefix);
                encoder.put_be32(NFTA_LOG_LEVEL, LOG_LEVEL_INFO);
            }
            Expression::Masquerade { ports } => {
                // The kernel heeds ports here only if a flag says that they are there; elsewhere it sets it itself.
                let ranged = if ports.is_some() { NF_NAT_RANGE_PROTO_SPECIFIED } else { 0 };
                encoder.put_be32(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY | ranged);
                if let Some(Ports { first, last }) = ports {
                    encoder.put_be32(NFTA_MASQ_REG_PROTO_MIN, first.0);
                    encoder.put_be32(NFTA_MASQ_REG_PROTO_MAX, last.0);
                }
            }
            Expression::Nat { which, family, address, ports, random } => {
                encoder.put_be32(NFTA_NAT_TYPE, *which as u32);
                encoder.put_be32(NFTA_NAT_FAMILY, u32::from(*family));
                encoder.put_be32(NFTA_NAT_REG_ADDR_MIN, address.0);
                if let Some(Ports { first, last }) = ports {
                    encoder.put_be32(NFTA_NAT_REG_PROTO_MIN, first.0);
                    encoder.put_be32(NFTA_NAT_REG_PROTO_MAX, last.0);
                }
                if *random {
                    encoder.put_be32(NFTA_NAT_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
                }
            }
            Expression::DestinationType { to } => {
                encoder.put_be32(NFTA_FIB_DREG, to.0);
                encoder.put_be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
                encoder.put_be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
            }
            Expression::Unknown(_) => {}
        }
    }

    /// Reads the list of a rule's expressions (`NFTA_RULE_EXPRESSIONS`).
    #[must_use]
    pub fn read_list(list: Attributes<'_>) -> Vec<Expression> {
        list.map(|element| {
            let (mut name, mut data) = (String::new(), Attributes::new(&[]));
            for attribute in element.nested() {
                match attribute.kind {
                    NFTA_EXPR_NAME => name = attribute.text().unwrap_or_default().to_owned(),
                    NFTA_EXPR_DATA => data = attribute.nested(),
                    _ => {}
                }
            }
            Fields(data).read(&name).unwrap_or(Expression::Unknown(name))
        })
        .collect()
    }
}

/// Kernel log level "info".
const LOG_LEVEL_INFO: u32 = 6;

pub(crate) fn write_value(encoder: &mut Encoder, kind: u16, data: &[u8]) {
    encoder.nested(kind, |encoder| encoder.put(NFTA_DATA_VALUE, data));
}

/// Attributes of one expression, looked up by type; expressions have fewer than ten.
#[derive(Clone)]
struct Fields<'a>(Attributes<'a>);

impl<'a> Fields<'a> {
    fn find(&self, kind: u16) -> Option<Attribute<'a>> {
        self.0.find_kind(kind)
    }

    fn number(&self, kind: u16) -> Option<u32> {
        self.find(kind)?.be32().ok()
    }

    fn string(&self, kind: u16) -> Option<String> {
        Some(self.find(kind)?.text().ok()?.to_owned())
    }

    fn register(&self, kind: u16) -> Option<Register> {
        self.number(kind).map(Register::from_kernel)
    }

    fn value(&self, kind: u16) -> Option<Vec<u8>> {
        let data = self.find(kind)?.nested().find_kind(NFTA_DATA_VALUE)?;
        Some(data.payload.to_vec())
    }

    fn read(&self, name: &str) -> Option<Expression> {
        match name {
            "meta" => self.meta(),
            "ct" => self.ct(),
            "payload" => self.payload(),
            "cmp" => self.compare(),
            "bitwise" if self.number(NFTA_BITWISE_OP).unwrap_or(0) == 0 => Some(Expression::Bitwise {
                from: self.register(NFTA_BITWISE_SREG)?,
                to: self.register(NFTA_BITWISE_DREG)?,
                mask: self.value(NFTA_BITWISE_MASK)?,
                xor: self.value(NFTA_BITWISE_XOR)?,
            }),
            "byteorder"
                if self.number(NFTA_BYTEORDER_OP)? == NFT_BYTEORDER_HTON
                    && self.number(NFTA_BYTEORDER_SIZE)? == 4
                    && self.number(NFTA_BYTEORDER_LEN)? == 4 =>
            {
                Some(Expression::ToNetworkOrder {
                    from: self.register(NFTA_BYTEORDER_SREG)?,
                    to: self.register(NFTA_BYTEORDER_DREG)?,
                })
            }
            "lookup" if self.number(NFTA_LOOKUP_FLAGS).unwrap_or(0) & NFT_LOOKUP_F_INV == 0 => {
                Some(Expression::Lookup {
                    set: self.string(NFTA_LOOKUP_SET)?,
                    key: self.register(NFTA_LOOKUP_SREG)?,
                    to: self.register(NFTA_LOOKUP_DREG),
                })
            }
            "immediate" => self.immediate(),
            "objref" => match self.string(NFTA_OBJREF_SET_NAME) {
                Some(map) => {
                    Some(Expression::CounterByMap { map, key: self.register(NFTA_OBJREF_SET_SREG)? })
                }
                None if self.number(NFTA_OBJREF_IMM_TYPE)? == NFT_OBJECT_COUNTER => {
                    Some(Expression::CounterByName(self.string(NFTA_OBJREF_IMM_NAME)?))
                }
                None => None,
            },
            "log" => self.log(),
            "masq" => (self.number(NFTA_MASQ_FLAGS)? & NF_NAT_RANGE_PROTO_RANDOM_FULLY != 0).then_some(
                Expression::Masquerade {
                    ports: self.ports(NFTA_MASQ_REG_PROTO_MIN, NFTA_MASQ_REG_PROTO_MAX),
                },
            ),
            "nat" => self.nat(),
            "fib"
                if self.number(NFTA_FIB_RESULT)? == NFT_FIB_RESULT_ADDRTYPE
                    && self.number(NFTA_FIB_FLAGS)? == NFTA_FIB_F_DADDR =>
            {
                Some(Expression::DestinationType { to: self.register(NFTA_FIB_DREG)? })
            }
            _ => None,
        }
    }

    fn nat(&self) -> Option<Expression> {
        let number = self.number(NFTA_NAT_TYPE)?;
        let flags = self.number(NFTA_NAT_FLAGS).unwrap_or(0);
        Some(Expression::Nat {
            which: [Nat::Source, Nat::Destination].into_iter().find(|which| *which as u32 == number)?,
            family: self.number(NFTA_NAT_FAMILY)?.try_into().ok()?,
            address: self.register(NFTA_NAT_REG_ADDR_MIN)?,
            ports: self.ports(NFTA_NAT_REG_PROTO_MIN, NFTA_NAT_REG_PROTO_MAX),
            random: flags & NF_NAT_RANGE_PROTO_RANDOM_FULLY != 0,
        })
    }

    fn ports(&self, first: u16, last: u16) -> Option<Ports> {
        let first = self.register(first)?;
        Some(Ports { first, last: self.register(last).unwrap_or(first) })
    }

    fn meta(&self) -> Option<Expression> {
        use Meta::*;
        let number = self.number(NFTA_META_KEY)?;
        let known = [
            Priority,
            Mark,
            InputInterface,
            OutputInterface,
            InputInterfaceName,
            OutputInterfaceName,
            Family,
            Protocol,
        ];
        let key = known.into_iter().find(|key| *key as u32 == number)?;
        match self.register(NFTA_META_SREG) {
            Some(from) => Some(Expression::SetMeta { key, from }),
            None => Some(Expression::Meta { key, to: self.register(NFTA_META_DREG)? }),
        }
    }

    fn ct(&self) -> Option<Expression> {
        let number = self.number(NFTA_CT_KEY)?;
        let key = [Ct::State, Ct::Mark].into_iter().find(|key| *key as u32 == number)?;
        match self.register(NFTA_CT_SREG) {
            Some(from) => Some(Expression::SetCt { key, from }),
            None => Some(Expression::Ct { key, to: self.register(NFTA_CT_DREG)? }),
        }
    }

    fn payload(&self) -> Option<Expression> {
        let number = self.number(NFTA_PAYLOAD_BASE)?;
        Some(Expression::Payload {
            base: [Base::Network, Base::Transport].into_iter().find(|base| *base as u32 == number)?,
            offset: self.number(NFTA_PAYLOAD_OFFSET)?,
            length: self.number(NFTA_PAYLOAD_LEN)?,
            to: self.register(NFTA_PAYLOAD_DREG)?,
        })
    }

    fn compare(&self) -> Option<Expression> {
        let number = self.number(NFTA_CMP_OP)?;
        Some(Expression::Compare {
            comparison: [Comparison::Equal, Comparison::NotEqual]
                .into_iter()
                .find(|op| *op as u32 == number)?,
            from: self.register(NFTA_CMP_SREG)?,
            data: self.value(NFTA_CMP_DATA)?,
        })
    }

    fn immediate(&self) -> Option<Expression> {
        let data = self.find(NFTA_IMMEDIATE_DATA)?.nested().next()?;
        match data.kind {
            NFTA_DATA_VERDICT => Some(Expression::Verdict(Verdict::read(data.nested())?)),
            NFTA_DATA_VALUE => Some(Expression::Immediate {
                to: self.register(NFTA_IMMEDIATE_DREG)?,
                data: data.payload.to_vec(),
            }),
            _ => None,
        }
    }

    fn log(&self) -> Option<Expression> {
        let prefix = self.string(NFTA_LOG_PREFIX).unwrap_or_default();
        match self.find(NFTA_LOG_GROUP) {
            Some(group) => Some(Expression::Log {
                group: u16::from_be_bytes(*group.payload.first_chunk()?),
                prefix,
                snap_length: self.number(NFTA_LOG_SNAPLEN).unwrap_or(0),
            }),
            None => Some(Expression::KernelLog { prefix }),
        }
    }
}
