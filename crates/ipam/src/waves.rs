//! Several operations together on a store without transactions: fewer writes, in the order that makes them safe.
//!
//! ```text
//! new handles, side by side --all there--> the block, once for all of them
//!          '--one refused--.                  '--refused--.
//!                          '--> the new handles taken back <'
//! ```
//! Each address is in its handle before it is in its block, as when operations run one after the other; see DESIGN.md,
//! "Waves". Anything else than new addresses in one known block is left to single operations.

use crate::backend::{self, Backend};
use crate::key::Key;
use crate::machine::Revision;
use crate::stage::Write;

/// What came of it.
pub(crate) enum Came {
    /// Each write's revision, in their order.
    Written(Vec<Revision>),
    /// Somebody else was there; nothing of it stands.
    Refused,
    /// This can't be done so, and nothing is written.
    Apart,
}

/// Writes all of it.
///
/// # Errors
/// The store's; handles may be left that say more than there is, as after a crash.
pub(crate) fn write<B: Backend>(backend: &B, mut writes: Vec<Write>) -> Result<Came, B::Error> {
    let is_new_handle = |write: &Write| {
        matches!(write.key, Key::Handle(_)) && write.record.is_some() && write.expected.is_none()
    };
    let is_known_block = |write: &Write| {
        matches!(write.key, Key::Block(_)) && write.record.is_some() && write.expected.is_some()
    };
    let Some(place) = writes.iter().position(|write| !is_new_handle(write)) else { return Ok(Came::Apart) };
    let block = writes.remove(place);
    if !is_known_block(&block) || !writes.iter().all(is_new_handle) {
        return Ok(Came::Apart);
    }
    let names: Vec<String> = writes.iter().map(|write| write.key.to_string()).collect();
    let made = backend.write_each(writes.into_iter().map(Into::into).collect())?;
    let written = match made.contains(&None) {
        true => None,
        false => backend.write_each(vec![block.into()])?.pop().flatten(),
    };
    let Some(written) = written else {
        // Who has changed one since needs it.
        let taken_back = names
            .into_iter()
            .zip(made)
            .filter_map(|(key, made)| Some(backend::Write { key, value: None, expected: Some(made?) }));
        backend.write_each(taken_back.collect())?;
        return Ok(Came::Refused);
    };
    let mut revisions: Vec<Revision> = made.into_iter().flatten().collect();
    revisions.insert(place, written);
    Ok(Came::Written(revisions))
}
