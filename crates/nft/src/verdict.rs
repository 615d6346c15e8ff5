//! What becomes of a packet, to the wire and back.
//!
//! An [`crate::expression::Expression`] of a rule, and the data of verdict maps.

use crate::kernel::*;
use tortie_netlink::{Attributes, Encoder};

/// What a chain does with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Ends this base chain; chains of other tables still see the packet.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the chain that jumped here, or the base chain's policy.
    Return,
    /// To a chain that returns here.
    Jump(String),
    /// To a chain that returns to who called this one.
    Goto(String),
    /// Goes on with the next expression.
    Continue,
}

impl Verdict {
    /// Writes the verdict as a nested attribute `kind`.
    pub fn write(&self, encoder: &mut Encoder, kind: u16) {
        let (code, chain) = match self {
            Verdict::Accept => (NF_ACCEPT, None),
            Verdict::Drop => (NF_DROP, None),
            Verdict::Return => (NFT_RETURN, None),
            Verdict::Continue => (NFT_CONTINUE, None),
            Verdict::Jump(chain) => (NFT_JUMP, Some(chain)),
            Verdict::Goto(chain) => (NFT_GOTO, Some(chain)),
        };
        encoder.nested(kind, |encoder| {
            encoder.nested(NFTA_DATA_VERDICT, |encoder| {
                encoder.put(NFTA_VERDICT_CODE, &code.to_be_bytes());
                if let Some(chain) = chain {
                    encoder.put_text(NFTA_VERDICT_CHAIN, chain);
                }
            });
        });
    }

    /// Reads `NFTA_DATA_VERDICT`; `None` for a code that we do not know (a queue, for instance).
    #[must_use]
    pub fn read(verdict: Attributes<'_>) -> Option<Verdict> {
        let (mut code, mut chain) = (None, None);
        for attribute in verdict {
            match attribute.kind {
                NFTA_VERDICT_CODE => code = Some(attribute.be32().ok()? as i32),
                NFTA_VERDICT_CHAIN => chain = Some(attribute.text().ok()?.to_owned()),
                _ => {}
            }
        }
        match (code?, chain) {
            (NF_ACCEPT, None) => Some(Verdict::Accept),
            (NF_DROP, None) => Some(Verdict::Drop),
            (NFT_RETURN, None) => Some(Verdict::Return),
            (NFT_CONTINUE, None) => Some(Verdict::Continue),
            (NFT_JUMP, Some(chain)) => Some(Verdict::Jump(chain)),
            (NFT_GOTO, Some(chain)) => Some(Verdict::Goto(chain)),
            _ => None,
        }
    }
}
