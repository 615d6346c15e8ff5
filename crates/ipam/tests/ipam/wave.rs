//! Waves for the search: the driver of stores without transactions, taken to its next request again and again.

use std::cell::RefCell;

use tortie_ipam::backend::{Backend, RunError, Together, Versioned, Write, transact_all};
use tortie_ipam::cache::Cache;
use tortie_ipam::key::{Key, Owner, Prefix};
use tortie_ipam::machine::{Machine, Outcome, Request, Revision};
use tortie_ipam::net::Family;
use tortie_ipam::record::Record;
use tortie_ipam::transaction::{Ask, Job, Task, Told};

use crate::explore::Status;

/// In which order writes that go side by side come to the store: two orders of two are all there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Forwards,
    Backwards,
}

/// A store that has been told so much, and then wants something.
struct Script<'a> {
    told: RefCell<std::slice::Iter<'a, Told>>,
    wants: RefCell<Option<Ask>>,
    order: Order,
}

/// It has been told no more.
#[derive(Debug)]
struct Unknown;

impl Script<'_> {
    fn ask(&self, ask: Ask) -> Result<Told, Unknown> {
        if let Some(told) = self.told.borrow_mut().next() {
            return Ok(told.clone());
        }
        *self.wants.borrow_mut() = Some(ask);
        Err(Unknown)
    }

    fn one(&self, request: Request) -> Result<Outcome, Unknown> {
        match self.ask(Ask::One(request))? {
            Told::One(outcome) => Ok(outcome),
            other => panic!("{other:?} of a single request"),
        }
    }

    fn write(&self, request: Request) -> Result<Option<Revision>, Unknown> {
        match self.one(request)? {
            Outcome::Written(revision) => Ok(Some(revision)),
            Outcome::Deleted => Ok(Some(Revision(0))),
            Outcome::Refused => Ok(None),
            other => panic!("{other:?} of a write"),
        }
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn record(name: &str, value: &[u8]) -> Record {
    Record::decode(&key(name), value).unwrap()
}

fn prefix(text: &str) -> Prefix {
    let claims = ["node-a", "node-b", "node-c"].map(|host| Prefix::Claims(Owner::host(host), Family::V4));
    let all = [Prefix::Blocks(Family::V4), Prefix::HostClaims, Prefix::VirtualClaims, Prefix::Handles];
    all.into_iter().chain(claims).find(|one| one.to_string() == text).unwrap()
}

impl Backend for Script<'_> {
    type Error = Unknown;

    fn get(&self, name: &str) -> Result<Option<Versioned>, Unknown> {
        Ok(match self.one(Request::Get { key: key(name), fresh: true })? {
            Outcome::Found { record, revision, .. } => Some((record.encode(), revision)),
            _ => None,
        })
    }

    fn list(&self, text: &str) -> Result<Vec<(String, Versioned)>, Unknown> {
        let Outcome::Listed { items, .. } = self.one(Request::List { prefix: prefix(text), fresh: true })?
        else {
            panic!("a list of {text}")
        };
        let item =
            |(key, record, revision): (Key, Record, Revision)| (key.to_string(), (record.encode(), revision));
        Ok(items.into_iter().map(item).collect())
    }

    fn get_all(&self, names: &[String]) -> Result<Vec<Option<Versioned>>, Unknown> {
        let Told::Read(found) = self.ask(Ask::ReadAll(names.iter().map(|name| key(name)).collect()))? else {
            panic!("{names:?} are read")
        };
        Ok(found
            .into_iter()
            .map(|found| found.map(|(record, revision)| (record.encode(), revision)))
            .collect())
    }

    fn has_transactions(&self) -> bool {
        false
    }

    fn write_all(&self, _: Vec<Write>) -> Result<Option<Vec<Revision>>, Unknown> {
        panic!("it said that it can't")
    }

    fn write_each(&self, writes: Vec<Write>) -> Result<Vec<Option<Revision>>, Unknown> {
        let write = |Write { key: name, value, expected }: Write| match (value, expected) {
            (Some(value), None) => self.create(&name, &value),
            (Some(value), Some(expected)) => self.update(&name, &value, expected),
            (None, Some(revision)) => self.write(Request::Delete { key: key(&name), revision }),
            (None, None) => panic!("{name} isn't there and is to go"),
        };
        if self.order == Order::Forwards {
            return writes.into_iter().map(write).collect();
        }
        let mut written: Vec<Option<Revision>> =
            writes.into_iter().rev().map(write).collect::<Result<_, _>>()?;
        written.reverse();
        Ok(written)
    }

    fn create(&self, name: &str, value: &[u8]) -> Result<Option<Revision>, Unknown> {
        self.write(Request::Create { key: key(name), record: record(name, value) })
    }

    fn update(&self, name: &str, value: &[u8], revision: Revision) -> Result<Option<Revision>, Unknown> {
        self.write(Request::Update { key: key(name), record: record(name, value), revision })
    }

    fn delete(&self, name: &str, revision: Revision) -> Result<bool, Unknown> {
        Ok(self.write(Request::Delete { key: key(name), revision })?.is_some())
    }
}

/// Where operations that share a wave stand when their store has told so much.
pub fn after<T, R>(
    machines: Vec<Machine<T>>,
    mut cache: Cache,
    order: Order,
    told: &[Told],
    result: impl Fn(Vec<T>) -> R,
) -> Status<R> {
    let script = Script { told: RefCell::new(told.iter()), wants: RefCell::default(), order };
    let mut tasks: Vec<Task<T>> = machines.into_iter().map(Task::new).collect();
    let mut carry_out = || {
        let mut jobs: Vec<&mut dyn Job> = tasks.iter_mut().map(|task| task as &mut dyn Job).collect();
        if transact_all(&mut jobs, &script, &mut cache)? == Together::Apart {
            jobs.iter_mut().for_each(|job| job.restart());
            for job in jobs {
                transact_all(&mut [job], &script, &mut cache)?;
            }
        }
        Ok(())
    };
    match carry_out() {
        Ok(()) => {
            let results = tasks.into_iter().map(|task| task.into_result().unwrap());
            Status::Finished(result(results.collect()))
        }
        Err(RunError::Store(Unknown)) => Status::Asks(script.wants.into_inner().unwrap()),
        Err(other) => panic!("{other:?}"),
    }
}
