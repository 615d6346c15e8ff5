//! Long random histories against a model: a map from addresses to who has them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;
use tortie_ipam::backend::{Together, run_cached, transact, transact_all};
use tortie_ipam::cache::Cache;
use tortie_ipam::record::Config;
use tortie_ipam::transaction::{Job, Task};
use tortie_ipam::{
    AssignAddress, AutoAssign, AutoAssigned, Error, Finding, HandleId, Machine, Now, Release, Repair, View,
    addresses_of_handle, assign_address, auto_assign, check, release, release_by_handle, utilization,
    write_settings,
};

use crate::support::{Memory, START, done, mk_handle, mk_pool, mk_reservations, mk_view};

const HOSTS: [&str; 3] = ["node-a", "node-b", "node-c"];
const RESERVED: [&str; 2] = ["10.0.0.3", "10.0.0.8/30"];

/// A pool of eight blocks of four addresses; 5 of 32 addresses are reserved.
struct World {
    random: fastrand::Rng,
    view: Arc<View>,
    memory: Memory,
    caches: [Cache; 3],
    strict: bool,
    seconds: u64,
    held: BTreeMap<IpAddr, Option<HandleId>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let pools = vec![mk_pool("p", "10.0.0.0/27", 30, json!({}))];
        World {
            random: fastrand::Rng::with_seed(seed),
            view: mk_view(pools, mk_reservations(&RESERVED)),
            memory: Memory::default(),
            caches: Default::default(),
            strict: false,
            seconds: 0,
            held: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now(START.0 + self.seconds * 1_000_000_000)
    }

    fn address(&mut self) -> IpAddr {
        IpAddr::from([10, 0, 0, self.random.u8(0..32)])
    }

    fn handle(&mut self) -> HandleId {
        mk_handle(&format!("net.{}", self.random.u8(0..8)))
    }

    /// With the host's memory or without, in one write or in many.
    fn run<T>(&mut self, host: usize, machine: Machine<T>) -> T {
        match self.random.u8(0..4) {
            0 => run_cached(machine, &self.memory, &mut self.caches[host]).unwrap(),
            1 => transact(machine, &self.memory, &mut self.caches[host]).unwrap(),
            2 => transact(machine, &self.memory, &mut Cache::new()).unwrap(),
            _ => done(machine, &self.memory),
        }
    }

    fn free(&self) -> BTreeSet<IpAddr> {
        let reserved = |last: u8| last == 3 || (8..12).contains(&last);
        let all = (0..32).filter(|last| !reserved(*last)).map(|last| IpAddr::from([10, 0, 0, last]));
        all.filter(|address| !self.held.contains_key(address)).collect()
    }

    fn step(&mut self) {
        self.seconds += self.random.u64(0..20);
        match self.random.u8(0..100) {
            0..35 => self.assign(),
            35..45 => self.assign_together(),
            45..55 => self.assign_one(),
            55..70 => self.release(),
            70..92 => self.release_by_handle(),
            92..95 => {
                self.strict = !self.strict;
                let settings = Config { strict_affinity: self.strict, ..Config::default() };
                done(write_settings(settings), &self.memory).unwrap();
                // As an agent does that watches the settings.
                self.caches.iter_mut().for_each(|cache| cache.forget(&tortie_ipam::key::Key::Config));
            }
            _ => self.check(),
        }
    }

    fn assign(&mut self) {
        let (host, count) = (self.random.usize(0..3), self.random.u32(1..4));
        let handle = self.random.bool().then(|| self.handle());
        let request = AutoAssign { v4: count, handle: handle.clone(), ..AutoAssign::workload(HOSTS[host]) };
        let machine = auto_assign(self.view.clone(), self.now(), request);
        let got = self.run(host, machine);
        assert_eq!(got.error, None);
        let got = got.v4.unwrap();
        let free = self.free();
        if !self.strict {
            assert_eq!(got.addresses.len(), free.len().min(count as usize), "{:?}", got.messages);
        }
        assert_eq!(got.shortage().is_none(), got.addresses.len() == count as usize);
        for address in got.addresses {
            assert!(free.contains(&address.addr()), "{address} was free");
            assert_eq!(self.held.insert(address.addr(), handle.clone()), None, "{address} was free");
        }
    }

    fn assign_together(&mut self) {
        let host = self.random.usize(0..3);
        let handles: Vec<HandleId> = (0..self.random.u8(2..6)).map(|_| self.handle()).collect();
        let mut tasks: Vec<Task<AutoAssigned>> = handles
            .iter()
            .map(|handle| AutoAssign { handle: Some(handle.clone()), ..AutoAssign::workload(HOSTS[host]) })
            .map(|request| Task::new(auto_assign(self.view.clone(), self.now(), request)))
            .collect();
        let mut jobs: Vec<&mut dyn Job> = tasks.iter_mut().map(|task| task as &mut dyn Job).collect();
        self.memory.is_plain.set(self.random.bool());
        match transact_all(&mut jobs, &self.memory, &mut self.caches[host]).unwrap() {
            Together::Done => {}
            Together::Apart => {
                assert!(self.memory.is_plain.get(), "a few addresses fit");
                for job in jobs {
                    job.restart();
                    transact_all(&mut [job], &self.memory, &mut self.caches[host]).unwrap();
                }
            }
        }
        self.memory.is_plain.set(false);
        for (handle, task) in handles.into_iter().zip(tasks) {
            let got = task.into_result().unwrap();
            assert_eq!(got.error, None);
            let free = self.free();
            let got = got.v4.unwrap().addresses;
            assert!(self.strict || got.len() == free.len().min(1));
            for address in got {
                assert!(free.contains(&address.addr()), "{address} was free");
                self.held.insert(address.addr(), Some(handle.clone()));
            }
        }
    }

    fn assign_one(&mut self) {
        let (host, address, handle) = (self.random.usize(0..3), self.address(), self.handle());
        let wanted = AssignAddress {
            address,
            host: HOSTS[host].to_owned(),
            handle: Some(handle.clone()),
            attributes: BTreeMap::new(),
            intended_use: None,
            ends: None,
        };
        let machine = assign_address(self.view.clone(), self.now(), wanted);
        match self.run(host, machine) {
            Ok(()) => assert_eq!(self.held.insert(address, Some(handle)), None),
            Err(Error::Exists { .. }) => assert!(self.held.contains_key(&address)),
            Err(Error::OtherHostsBlock | Error::BlockWithoutAffinity(_)) => assert!(self.strict),
            Err(other) => panic!("{other}"),
        }
    }

    fn release(&mut self) {
        let releases: Vec<Release> =
            (0..self.random.u8(1..4)).map(|_| Release::address(self.address())).collect();
        let asked: BTreeSet<IpAddr> = releases.iter().map(|release| release.address).collect();
        let machine = release(self.view.clone(), self.now(), releases);
        let got = self.run(0, machine);
        assert_eq!(got.error, None);
        let (had, not): (BTreeSet<_>, BTreeSet<_>) =
            asked.into_iter().partition(|one| self.held.contains_key(one));
        assert_eq!(got.unallocated.into_iter().collect::<BTreeSet<_>>(), not);
        had.iter().for_each(|address| drop(self.held.remove(address)));
    }

    fn release_by_handle(&mut self) {
        let handle = self.handle();
        let has = |holder: &Option<HandleId>| holder.as_ref() == Some(&handle);
        let had: BTreeSet<IpAddr> =
            self.held.iter().filter(|(_, holder)| has(holder)).map(|(address, _)| *address).collect();
        let listed = done(addresses_of_handle(handle.clone()), &self.memory).unwrap_or_default();
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), had, "addresses of {handle}");
        let machine = release_by_handle(self.view.clone(), self.now(), handle.clone());
        let result = self.run(1, machine);
        // A handle may be there without addresses: assignments that got less than they asked for count too many.
        assert!(result.is_ok() || had.is_empty(), "{handle}: {result:?}");
        had.iter().for_each(|address| drop(self.held.remove(address)));
    }

    fn check(&mut self) {
        let findings =
            done(check(self.view.clone(), self.now(), None, Repair::Settle), &self.memory).unwrap();
        for finding in findings {
            assert!(
                matches!(&finding, Finding::Counts { counted, held, .. } if *counted > i64::from(*held)),
                "{finding:?}"
            );
        }
        let again = done(check(self.view.clone(), self.now(), None, Repair::Report), &self.memory).unwrap();
        assert_eq!(again, []);
        let blocks = done(utilization(self.view.clone()), &self.memory).remove(0).blocks;
        let taken: u32 = blocks.iter().map(|block| block.capacity - block.free - block.reserved).sum();
        assert_eq!(taken as usize, self.held.len());
    }
}

#[test]
fn random_histories_agree_with_a_map_from_addresses_to_handles() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
    }
}
