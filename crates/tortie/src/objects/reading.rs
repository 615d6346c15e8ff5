//! Commands on objects whose files are still being read: a thread reads them, and what has come is prepared meanwhile.
//!
//! ```text
//! files -> reader -> hundreds -> for_each -> Gate -> datastore
//!             `---- all is read, or a fault ---^ writes wait for this
//! ```
//! Nothing is written before all is read, and nothing at all if a file has a fault, which is then all that is told.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};

use tortie_store::resources::Client;
use tortie_store::{Datastore, Error, Layer, Result};

use super::{Common, Failure, Item, Items, files};

/// How many objects are handled together; below [`tortie_store::MOST_WRITES`], as one may be written in two places.
pub const TOGETHER: usize = 100;

/// Objects in hundreds, of which some may still have to be read.
pub struct Coming {
    here: VecDeque<Items>,
    rest: Option<Receiver<Items>>,
}

impl Coming {
    /// How many have been read and not been taken.
    pub fn here(&mut self) -> usize {
        if let Some(rest) = &self.rest {
            self.here.extend(rest.try_iter());
        }
        self.here.iter().map(Items::len).sum()
    }
}

impl Iterator for Coming {
    type Item = Items;

    fn next(&mut self) -> Option<Items> {
        self.here.pop_front().or_else(|| self.rest.as_ref()?.recv().ok())
    }
}

impl From<Items> for Coming {
    fn from(items: Items) -> Coming {
        Coming { here: items.in_parts(TOGETHER).collect(), rest: None }
    }
}

/// Whether all is read: unknown, then whether without a fault.
#[derive(Clone, Default)]
pub struct Gate(Arc<OnceLock<bool>>);

impl Gate {
    /// The same datastore, whose writes wait until all is read.
    pub fn before(&self, client: &Client) -> Client {
        Client::new(Arc::new(Gated { store: Arc::clone(client.store()), gate: self.clone() }))
    }

    fn open(&self) -> Result<()> {
        match *self.0.wait() {
            true => Ok(()),
            false => Err(Error::Unavailable {
                attempt: "write".to_owned(),
                cause: "not all files could be read".to_owned(),
            }),
        }
    }
}

/// Opens its gate when the reader ends, however it does.
struct Reader(Gate);

impl Drop for Reader {
    fn drop(&mut self) {
        // It was opened before if all went well.
        let _is_first = self.0.0.set(false);
    }
}

/// Does `work` with the objects of the files while they are read.
///
/// # Errors
/// [`Failure`], of the files before that of `work`.
pub fn while_reading<Done>(
    common: &Common,
    work: impl FnOnce(Coming, &Gate) -> std::result::Result<Done, Failure>,
) -> std::result::Result<Done, Failure> {
    let Some(path) = &common.filename else { return Err(Failure::nothing()) };
    let (send, rest) = mpsc::channel();
    let gate = Gate::default();
    let read = move |gate: Gate| -> std::result::Result<(), Failure> {
        let reader = Reader(gate);
        let mut some = Items::default();
        let each = |item: Item| {
            some.extend([item]);
            if some.len() == TOGETHER {
                // Who doesn't want more doesn't need it.
                drop(send.send(std::mem::take(&mut some)));
            }
        };
        files::each(path, common.recursive, common.skip_empty, each)?;
        drop(send.send(some));
        let _is_first = reader.0.0.set(true);
        Ok(())
    };
    std::thread::scope(|scope| {
        let of_reader = gate.clone();
        let reader = std::thread::Builder::new().name("reader".to_owned());
        let reader = reader.spawn_scoped(scope, move || read(of_reader));
        let reader = reader.map_err(|error| Failure::Command(format!("can't start a thread: {error}")))?;
        let done = work(Coming { here: VecDeque::new(), rest: Some(rest) }, &gate);
        match reader.join() {
            Ok(read) => read.and(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A datastore whose writes wait for a gate.
struct Gated {
    store: Arc<dyn Datastore>,
    gate: Gate,
}

impl Layer for Gated {
    fn below(&self) -> &dyn Datastore {
        &*self.store
    }

    fn may_write(&self, _attempt: &str, _key: &str) -> Result<()> {
        self.gate.open()
    }

    fn over(&self, deferred: Arc<dyn Datastore>) -> Option<Arc<dyn Datastore>> {
        Some(Arc::new(Gated { store: deferred, gate: self.gate.clone() }))
    }
}
