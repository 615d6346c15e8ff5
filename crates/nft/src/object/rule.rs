//! Rules: a list of expressions in a chain.

use crate::expression::Expression;
use crate::kernel::*;
use crate::userdata;
use tortie_netlink::{Attributes, Encoder};

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// What it does, in order.
    pub expressions: Vec<Expression>,
    /// For who reads the listing; at most 127 bytes are kept.
    pub comment: Option<String>,
}

/// A rule as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRule {
    /// Name of its chain.
    pub chain: String,
    /// By which it is deleted or replaced.
    pub handle: u64,
    /// Its contents.
    pub rule: Rule,
}

impl Rule {
    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.nested(NFTA_RULE_EXPRESSIONS, |encoder| {
            for expression in &self.expressions {
                expression.write(encoder);
            }
        });
        if let Some(comment) = &self.comment {
            encoder.put(NFTA_RULE_USERDATA, &userdata::comment(comment));
        }
    }
}

impl ListedRule {
    /// Reads a listed rule: its table and itself.
    pub(crate) fn read(attributes: Attributes<'_>) -> Option<(String, ListedRule)> {
        let (mut table, mut chain, mut handle) = (None, None, None);
        let mut rule = Rule::default();
        for attribute in attributes {
            match attribute.kind {
                NFTA_RULE_TABLE => table = Some(attribute.text().ok()?.to_owned()),
                NFTA_RULE_CHAIN => chain = Some(attribute.text().ok()?.to_owned()),
                NFTA_RULE_HANDLE => handle = Some(attribute.be64().ok()?),
                NFTA_RULE_EXPRESSIONS => rule.expressions = Expression::read_list(attribute.nested()),
                NFTA_RULE_USERDATA => rule.comment = userdata::read_comment(attribute.payload),
                _ => {}
            }
        }
        Some((table?, ListedRule { chain: chain?, handle: handle?, rule }))
    }
}
