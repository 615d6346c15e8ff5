//! The loop of all commands on objects: some at a time, so that a thousand cost few requests.
//!
//! ```text
//! Items -> hundred -> Batch (one read) -> action on each -> commit (one write) -> Outcome
//!                                                  `- refused: each by itself
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tortie_store::resources::Client;
use tortie_store::{Batch, Error};

use super::reading::{Coming, TOGETHER};
use super::{Common, Done, Item, Items, Outcome, Refusal, namespace};
use crate::output::progress::Progress;

/// An item, and why it has no namespace, if so.
type Placed = (Item, Result<(), String>);

/// What came of some items.
enum Attempt {
    /// This, item by item.
    Done(Vec<Result<Done, Refusal>>),
    /// The datastore was lost when these were to be written, or nothing yet.
    Lost(Error, Vec<String>),
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
        let some: Vec<Placed> = placed(common, &part, all_namespaces).collect();
        drop(part);
        progress.of(handled + some.len() + coming.here());
        progress.done(handled);
        handled += some.len();
        let lost = match together(client, &some, &mut action) {
            Attempt::Done(results) => {
                some.iter().zip(results).for_each(|((_, placed), result)| note(&mut outcome, placed, result));
                None
            }
            Attempt::Lost(error, unknown) => {
                outcome.failed(error.into());
                let untried = some.len() - unknown.len();
                Some((unknown, untried))
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
    let some: Vec<Placed> = placed(common, items, all_namespaces).take(TOGETHER).collect();
    keys(&some)
}

fn placed(common: &Common, items: &Items, all_namespaces: bool) -> impl ExactSizeIterator<Item = Placed> {
    items.iter().map(move |mut item| {
        let placed = namespace::resolve(&mut item, common.namespace.as_deref(), all_namespaces);
        (item, placed)
    })
}

fn keys(some: &[Placed]) -> Vec<String> {
    let named = some.iter().filter(|(item, placed)| placed.is_ok() && !item.id().name.is_empty());
    let keys: BTreeSet<String> =
        named.flat_map(|(item, _)| Client::keys_of(&item.id(), &item.json)).collect();
    keys.into_iter().collect()
}

fn together(
    client: &Client,
    some: &[Placed],
    action: &mut impl FnMut(&Client, &Item) -> Result<Value, Refusal>,
) -> Attempt {
    if client.store().most_writes() == 1 {
        return Attempt::Apart;
    }
    let batch = match Batch::read(Arc::clone(client.store()), keys(some)) {
        Ok(batch) => Arc::new(batch),
        Err(error) if is_lost(&error) => return Attempt::Lost(error, Vec::new()),
        Err(_) => return Attempt::Apart,
    };
    let on_batch = Client::new(batch.clone());
    let mut results = Vec::with_capacity(some.len());
    let mut waiting = Vec::new();
    for (item, placed) in some {
        let before = batch.len();
        results.push(act(&on_batch, item, placed, action));
        if matches!(results.last(), Some(Err(refusal)) if refusal.is_lost) {
            return Attempt::Apart;
        }
        if batch.len() > before {
            waiting.push(item.id().to_string());
        }
    }
    match batch.commit() {
        Ok(()) => Attempt::Done(results),
        Err(error) if is_lost(&error) => Attempt::Lost(error, waiting),
        Err(_) => Attempt::Apart,
    }
}

/// Each by itself; where the datastore was lost, what isn't known to be written, and how many weren't tried.
fn one_by_one(
    client: &Client,
    some: &[Placed],
    outcome: &mut Outcome,
    action: &mut impl FnMut(&Client, &Item) -> Result<Value, Refusal>,
) -> Option<(Vec<String>, usize)> {
    for (at, (item, placed)) in some.iter().enumerate() {
        let result = act(client, item, placed, action);
        let is_lost = matches!(&result, Err(refusal) if refusal.is_lost);
        note(outcome, placed, result);
        if is_lost {
            return Some((vec![item.id().to_string()], some.len() - at - 1));
        }
    }
    None
}

fn act(
    client: &Client,
    item: &Item,
    placed: &Result<(), String>,
    action: &mut impl FnMut(&Client, &Item) -> Result<Value, Refusal>,
) -> Result<Done, Refusal> {
    placed.clone()?;
    action(client, item).map(|object| Done::with(&object))
}

fn note(outcome: &mut Outcome, placed: &Result<(), String>, result: Result<Done, Refusal>) {
    match placed {
        Ok(()) => outcome.ended(result),
        Err(message) => outcome.misplaced(message.clone()),
    }
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Unknown { .. } | Error::Replaced { .. })
}
