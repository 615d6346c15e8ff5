//! The loop of all commands on objects: some at a time, so that a thousand cost few requests.
//!
//! ```text
//! Items -> hundred -> Batch (one read) -> action on each -> commit (one write) -> Outcome
//!                                                  `- refused: each by itself
//! ```
//! Where there are no transactions the writes of a hundred objects of one kind go out side by side, and whoever is
//! refused is done again by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tortie_store::resources::Client;
use tortie_store::{Batch, Error, Revision};

use super::outcome::Unknown;
use super::reading::{Coming, TOGETHER};
use super::{Common, Done, Item, Items, Outcome, Refusal, namespace};
use crate::output::progress::Progress;

/// What came of an item: why it has no place in the datastore, or whether it was done.
type Ended = Result<Result<Done, Refusal>, String>;

/// What came of some items.
enum Attempt {
    /// This, item by item.
    Done(Vec<Ended>),
    /// The datastore was lost when these were to be written, all or none, or nothing yet.
    Lost(Error, Vec<String>),
    /// These came to an end; the datastore was lost when those were to be written, each by itself.
    Partly(Vec<Ended>, Error, Vec<String>),
    /// They can't be written together; nothing is.
    Apart,
}

/// Does `action` with each item, in order; one that fails does not stop the rest, unless the datastore is lost. Some
/// are written together, all or none; if that is refused `action` is done with each of them again, by itself. The disk is
/// waited for at the end, for all.
pub fn for_each(
    common: &Common,
    client: &Client,
    items: impl Into<Coming>,
    all_namespaces: bool,
    mut action: impl FnMut(&Client, &Item) -> Result<Value, Refusal>,
) -> Outcome {
    let deferred = client.store().deferred().map(Client::new);
    let client = deferred.as_ref().unwrap_or(client);
    let mut coming: Coming = items.into();
    let mut outcome = Outcome::default();
    let mut progress = Progress::new("objects", 0);
    let mut handled = 0;
    while let Some(part) = coming.next() {
        outcome.expects(&part);
        progress.of(handled + part.len() + coming.here());
        progress.done(handled);
        handled += part.len();
        let some = Part { items: &part, namespace: common.namespace.as_deref(), all_namespaces };
        let lost = match together(client, &some, &mut action) {
            Attempt::Done(results) => {
                results.into_iter().for_each(|ended| note(&mut outcome, ended));
                None
            }
            Attempt::Lost(error, unknown) => {
                outcome.failed(error.into());
                let untried = part.len() - unknown.len();
                Some((Unknown::Together(unknown), untried))
            }
            Attempt::Partly(results, error, unknown) => {
                results.into_iter().for_each(|ended| note(&mut outcome, ended));
                outcome.failed(error.into());
                Some((Unknown::Each(unknown), 0))
            }
            Attempt::Apart => one_by_one(client, &some, &mut outcome, &mut action),
        };
        if let Some((unknown, untried)) = lost {
            let mut rest = untried;
            for part in coming.by_ref() {
                outcome.expects(&part);
                rest += part.len();
            }
            outcome.broken_off(&unknown, rest);
        }
    }
    drop(progress);
    if let Err(error) = client.store().persist() {
        outcome.failed(error.into());
    }
    outcome
}

/// The keys that [`for_each`] reads first.
pub fn keys_ahead(common: &Common, items: &Items, all_namespaces: bool) -> Vec<String> {
    Part { items, namespace: common.namespace.as_deref(), all_namespaces }.keys()
}

/// Items that are handled together, and what the command line says of their namespaces. One at a time is a tree of JSON.
struct Part<'command> {
    items: &'command Items,
    namespace: Option<&'command str>,
    all_namespaces: bool,
}

impl Part<'_> {
    /// Each with its namespace settled, or why that can't be.
    fn placed(&self, items: impl Iterator<Item = Item>) -> impl Iterator<Item = (Item, Result<(), String>)> {
        items.map(|mut item| {
            let placed = namespace::resolve(&mut item, self.namespace, self.all_namespaces);
            (item, placed)
        })
    }

    /// The keys that are read for the first hundred.
    fn keys(&self) -> Vec<String> {
        let heads = self.placed(self.items.heads().take(TOGETHER));
        let named = heads.filter(|(item, placed)| placed.is_ok() && !item.id().name.is_empty());
        let keys: BTreeSet<String> =
            named.flat_map(|(item, _)| Client::keys_of(&item.id(), &item.json)).collect();
        keys.into_iter().collect()
    }
}

fn together(
    client: &Client,
    some: &Part<'_>,
    action: &mut impl FnMut(&Client, &Item) -> Result<Value, Refusal>,
) -> Attempt {
    let is_side_by_side = client.store().most_writes() == 1;
    // What is of several kinds may depend on each other's order.
    if is_side_by_side && (some.items.len() == 1 || some.items.single_kind().is_none()) {
        return Attempt::Apart;
    }
    let batch = match Batch::read(Arc::clone(client.store()), some.keys()) {
        Ok(batch) => Arc::new(batch),
        Err(error) if is_lost(&error) => return Attempt::Lost(error, Vec::new()),
        Err(_) => return Attempt::Apart,
    };
    let on_batch = Client::new(batch.clone());
    let mut results = Vec::with_capacity(some.items.len());
    let mut waiting = Vec::new();
    for (item, placed) in some.placed(some.items.iter()) {
        let before = batch.len();
        let ended = act(&on_batch, &item, placed, action);
        if is_broken_off(&ended) {
            return Attempt::Apart;
        }
        results.push(ended);
        match batch.len() - before {
            0 => {}
            // In an order that counts.
            2.. if is_side_by_side => return Attempt::Apart,
            _ => waiting.push((results.len() - 1, item.id().to_string())),
        }
    }
    if is_side_by_side {
        let Ok(written) = batch.commit_each() else { return Attempt::Apart };
        return side_by_side(client, some, results, waiting, &written, action);
    }
    match batch.commit() {
        Ok(()) => Attempt::Done(results),
        Err(error) if is_lost(&error) => {
            Attempt::Lost(error, waiting.into_iter().map(|(_, id)| id).collect())
        }
        Err(_) => Attempt::Apart,
    }
}

/// What came of `some`, of which those that are `waiting` were `written` each by itself: who was refused is done again, alone.
fn side_by_side(
    client: &Client,
    some: &Part<'_>,
    results: Vec<Ended>,
    waiting: Vec<(usize, String)>,
    written: &[Result<Revision, Error>],
    action: &mut impl FnMut(&Client, &Item) -> Result<Value, Refusal>,
) -> Attempt {
    let mut failed: BTreeMap<usize, (String, &Error)> = BTreeMap::new();
    for ((at, id), written) in waiting.into_iter().zip(written) {
        if let Err(error) = written {
            failed.insert(at, (id, error));
        }
    }
    if failed.is_empty() {
        return Attempt::Done(results);
    }
    let (mut ended, mut unknown, mut lost) = (Vec::with_capacity(results.len()), Vec::new(), None);
    for ((at, result), (item, placed)) in results.into_iter().enumerate().zip(some.placed(some.items.iter()))
    {
        match failed.remove(&at) {
            None => ended.push(result),
            Some((_, error)) if lost.is_none() && !is_lost(error) => {
                ended.push(act(client, &item, placed, action));
            }
            Some((id, error)) => {
                unknown.push(id);
                lost.get_or_insert_with(|| error.clone());
            }
        }
    }
    match lost {
        None => Attempt::Done(ended),
        Some(error) => Attempt::Partly(ended, error, unknown),
    }
}

/// Each by itself; where the datastore was lost, what isn't known to be written, and how many weren't tried.
fn one_by_one(
    client: &Client,
    some: &Part<'_>,
    outcome: &mut Outcome,
    action: &mut impl FnMut(&Client, &Item) -> Result<Value, Refusal>,
) -> Option<(Unknown, usize)> {
    for (at, (item, placed)) in some.placed(some.items.iter()).enumerate() {
        let ended = act(client, &item, placed, action);
        let is_lost = is_broken_off(&ended);
        note(outcome, ended);
        if is_lost {
            let unknown = Unknown::Each(vec![item.id().to_string()]);
            return Some((unknown, some.items.len() - at - 1));
        }
    }
    None
}

fn act(
    client: &Client,
    item: &Item,
    placed: Result<(), String>,
    action: &mut impl FnMut(&Client, &Item) -> Result<Value, Refusal>,
) -> Ended {
    placed?;
    Ok(action(client, item).map(|object| Done::with(&object)))
}

fn note(outcome: &mut Outcome, ended: Ended) {
    match ended {
        Ok(result) => outcome.ended(result),
        Err(message) => outcome.misplaced(message),
    }
}

/// Whether the datastore was lost on the way.
fn is_broken_off(ended: &Ended) -> bool {
    matches!(ended, Ok(Err(refusal)) if refusal.is_lost)
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Unknown { .. } | Error::Replaced { .. })
}
