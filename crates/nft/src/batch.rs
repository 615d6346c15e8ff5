//! A transaction: messages that the kernel applies together or not at all.
//!
//! It is one buffer, so its size is known while it grows ([`Batch::len`]); callers cut before it gets too long for
//! everyone else who waits for the commit lock. Next hop: [`crate::Client::commit`].

use crate::Error;
use crate::kernel::*;
use crate::object::{Chain, Counter, Element, Rule, Set, Table, TableId};
use tortie_netlink::message::{HEADER, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use tortie_netlink::{Attributes, Encoder, Messages};

/// Bytes after which an element list is cut: a nest holds 65,535.
const LIST_BYTES: usize = 60_000;
/// Bytes of `struct nfgenmsg`.
const GENERIC: usize = 4;

/// A growing transaction on one table.
#[derive(Debug)]
pub struct Batch {
    table: TableId,
    encoder: Encoder,
    generation: Option<u32>,
    sequence: u32,
    sets: u32,
    destroy: bool,
}

/// Where a changed rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// After all other rules of its chain.
    End,
    /// Instead of the rule with this handle.
    Replace(u64),
}

impl Batch {
    /// An empty transaction on `table`.
    #[must_use]
    pub fn new(table: &TableId) -> Self {
        Self::start(table, None)
    }

    /// An empty transaction that the kernel refuses unless its tables are still at `generation`.
    #[must_use]
    pub fn at_generation(table: &TableId, generation: u32) -> Self {
        Self::start(table, Some(generation))
    }

    fn start(table: &TableId, generation: Option<u32>) -> Self {
        let mut encoder = Encoder::default();
        encoder.message(NFNL_MSG_BATCH_BEGIN, 0, 0, |encoder| {
            encoder.fixed(&[NFPROTO_UNSPEC, 0, 0, NFNL_SUBSYS_NFTABLES as u8]);
            if let Some(generation) = generation {
                encoder.put_be32(NFNL_BATCH_GENID, generation);
            }
        });
        Batch { table: table.clone(), encoder, generation, sequence: 0, sets: 0, destroy: false }
    }

    /// Lets [`Batch::destroy_elements`] use the kernel's own message (6.3 and later; [`crate::Features`]).
    #[must_use]
    pub fn with_destroy(mut self, available: bool) -> Self {
        self.destroy = available;
        self
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.encoder.len()
    }

    /// No message yet: nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sequence == 0
    }

    /// The generation that the transaction insists on.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        self.generation
    }

    fn message(&mut self, kind: u16, flags: u16, table_attribute: u16, fill: impl FnOnce(&mut Encoder)) {
        self.sequence += 1;
        let table = &self.table;
        self.encoder.message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, self.sequence, |encoder| {
            encoder.fixed(&[table.family as u8, 0, 0, 0]);
            encoder.put_text(table_attribute, &table.name);
            fill(encoder);
        });
    }

    /// Creates the table if it is missing, else changes its flags.
    pub fn add_table(&mut self, flags: u32, comment: &str) {
        self.sequence += 1;
        let table = &self.table;
        self.encoder.message(
            NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE,
            NLM_F_CREATE,
            self.sequence,
            |encoder| {
                encoder.fixed(&[table.family as u8, 0, 0, 0]);
                Table::write(encoder, &table.name, flags, comment);
            },
        );
    }

    /// Deletes the table with everything in it; it must be there.
    pub fn delete_table(&mut self) {
        self.message(NFT_MSG_DELTABLE, 0, NFTA_TABLE_NAME, |_| {});
    }

    /// Deletes the table if it is there: by DESTROY, or by creating and deleting it where the kernel has no DESTROY.
    pub fn destroy_table(&mut self) {
        if self.destroy {
            self.message(NFT_MSG_DESTROYTABLE, 0, NFTA_TABLE_NAME, |_| {});
        } else {
            self.message(NFT_MSG_NEWTABLE, NLM_F_CREATE, NFTA_TABLE_NAME, |_| {});
            self.delete_table();
        }
    }

    /// Creates a chain; it is no error if it is there already with the same hook.
    pub fn add_chain(&mut self, chain: &Chain) {
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFTA_CHAIN_TABLE, |encoder| chain.write(encoder));
    }

    /// Deletes an empty chain that nothing leads to.
    pub fn delete_chain(&mut self, name: &str) {
        self.message(NFT_MSG_DELCHAIN, 0, NFTA_CHAIN_TABLE, |encoder| {
            encoder.put_text(NFTA_CHAIN_NAME, name)
        });
    }

    /// Deletes all rules of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        self.message(NFT_MSG_DELRULE, 0, NFTA_RULE_TABLE, |encoder| encoder.put_text(NFTA_RULE_CHAIN, name));
    }

    /// Adds or replaces a rule.
    pub fn add_rule(&mut self, chain: &str, rule: &Rule, place: Place) {
        let flags = match place {
            Place::End => NLM_F_CREATE | NLM_F_APPEND,
            Place::Replace(_) => NLM_F_REPLACE,
        };
        self.message(NFT_MSG_NEWRULE, flags, NFTA_RULE_TABLE, |encoder| {
            encoder.put_text(NFTA_RULE_CHAIN, chain);
            if let Place::Replace(handle) = place {
                encoder.put_be64(NFTA_RULE_HANDLE, handle);
            }
            rule.write(encoder);
        });
    }

    /// Deletes one rule.
    pub fn delete_rule(&mut self, chain: &str, handle: u64) {
        self.message(NFT_MSG_DELRULE, 0, NFTA_RULE_TABLE, |encoder| {
            encoder.put_text(NFTA_RULE_CHAIN, chain);
            encoder.put_be64(NFTA_RULE_HANDLE, handle);
        });
    }

    /// Creates a set or map; no error if it is there already with the same definition.
    pub fn add_set(&mut self, set: &Set) {
        self.sets += 1;
        let id = self.sets;
        self.message(NFT_MSG_NEWSET, NLM_F_CREATE, NFTA_SET_TABLE, |encoder| set.write(encoder, id));
    }

    /// Deletes a set or map that no rule uses, with its elements.
    pub fn delete_set(&mut self, name: &str) {
        self.message(NFT_MSG_DELSET, 0, NFTA_SET_TABLE, |encoder| encoder.put_text(NFTA_SET_NAME, name));
    }

    /// Deletes all elements of a set or map.
    pub fn flush_set(&mut self, name: &str) {
        self.message(NFT_MSG_DELSETELEM, 0, NFTA_SET_ELEM_LIST_TABLE, |encoder| {
            encoder.put_text(NFTA_SET_ELEM_LIST_SET, name);
        });
    }

    /// Adds elements; equal ones may be there, others under the same key may not.
    pub fn add_elements<'e>(&mut self, set: &str, elements: impl IntoIterator<Item = &'e Element>) {
        self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, true, elements);
    }

    /// Adds elements whose keys must not be there yet.
    pub fn create_elements<'e>(&mut self, set: &str, elements: impl IntoIterator<Item = &'e Element>) {
        self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, set, true, elements);
    }

    /// Deletes elements by key; all must be there.
    pub fn delete_elements<'e>(&mut self, set: &str, elements: impl IntoIterator<Item = &'e Element>) {
        self.elements(NFT_MSG_DELSETELEM, 0, set, false, elements);
    }

    /// Deletes elements by key; with DESTROY none need be there. Without it the transaction fails with ENOENT if one
    /// is missing, which is drift: read, plan and try again.
    pub fn destroy_elements<'e>(&mut self, set: &str, elements: impl IntoIterator<Item = &'e Element>) {
        let kind = if self.destroy { NFT_MSG_DESTROYSETELEM } else { NFT_MSG_DELSETELEM };
        self.elements(kind, 0, set, false, elements);
    }

    fn elements<'e>(
        &mut self,
        kind: u16,
        flags: u16,
        set: &str,
        with_value: bool,
        elements: impl IntoIterator<Item = &'e Element>,
    ) {
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            self.message(kind, flags, NFTA_SET_ELEM_LIST_TABLE, |encoder| {
                encoder.put_text(NFTA_SET_ELEM_LIST_SET, set);
                encoder.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |encoder| {
                    let start = encoder.len();
                    while let Some(element) = elements
                        .next_if(|element| encoder.len() - start + element.encoded_bound() < LIST_BYTES)
                    {
                        element.write(encoder, with_value);
                    }
                });
            });
        }
    }

    /// Creates a named counter that starts with what `counter` says.
    pub fn add_counter(&mut self, counter: &Counter) {
        self.message(NFT_MSG_NEWOBJ, NLM_F_CREATE, NFTA_OBJ_TABLE, |encoder| counter.write(encoder));
    }

    /// Deletes a named counter that nothing refers to.
    pub fn delete_counter(&mut self, name: &str) {
        self.message(NFT_MSG_DELOBJ, 0, NFTA_OBJ_TABLE, |encoder| {
            encoder.put_text(NFTA_OBJ_NAME, name);
            encoder.put_be32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
        });
    }

    /// The bytes to send.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Error> {
        let sequence = self.sequence + 1;
        self.encoder.message(NFNL_MSG_BATCH_END, 0, sequence, |encoder| {
            encoder.fixed(&[NFPROTO_UNSPEC, 0, 0, NFNL_SUBSYS_NFTABLES as u8]);
        });
        Ok(self.encoder.finish()?)
    }
}

/// Words for the message with number `sequence` in a finished transaction, for an error's text.
pub(crate) fn describe(bytes: &[u8], sequence: u32) -> String {
    let Some((header, body)) = Messages::new(bytes).find(|(header, _)| header.sequence == sequence) else {
        return format!("message {sequence} of {HEADER}-byte headers");
    };
    let attributes = Attributes::after(body, GENERIC);
    let text = |kind| {
        attributes.find_kind(kind).and_then(|found| found.text().ok().map(str::to_owned)).unwrap_or_default()
    };
    let table = text(NFTA_TABLE_NAME);
    let (verb, name) = match header.kind & 0xff {
        NFT_MSG_NEWTABLE => ("create table", String::new()),
        NFT_MSG_DELTABLE | NFT_MSG_DESTROYTABLE => ("delete table", String::new()),
        NFT_MSG_NEWCHAIN => ("create chain", text(NFTA_CHAIN_NAME)),
        NFT_MSG_DELCHAIN => ("delete chain", text(NFTA_CHAIN_NAME)),
        NFT_MSG_NEWRULE => ("add a rule to chain", text(NFTA_RULE_CHAIN)),
        NFT_MSG_DELRULE => ("delete rules of chain", text(NFTA_RULE_CHAIN)),
        NFT_MSG_NEWSET => ("create set", text(NFTA_SET_NAME)),
        NFT_MSG_DELSET => ("delete set", text(NFTA_SET_NAME)),
        NFT_MSG_NEWSETELEM => ("add elements to set", text(NFTA_SET_ELEM_LIST_SET)),
        NFT_MSG_DELSETELEM | NFT_MSG_DESTROYSETELEM => {
            ("delete elements of set", text(NFTA_SET_ELEM_LIST_SET))
        }
        NFT_MSG_NEWOBJ => ("create counter", text(NFTA_OBJ_NAME)),
        NFT_MSG_DELOBJ => ("delete counter", text(NFTA_OBJ_NAME)),
        _ => ("transaction", String::new()),
    };
    if name.is_empty() { format!("{verb} {table}") } else { format!("{verb} {name} (table {table})") }
}
