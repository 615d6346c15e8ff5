//! The random clusters of `tortie_proof` on a real kernel: real packets through the tables that `calc` and
//! `classify` make and `nft` writes, held to `analysis` by what arrives and by what the kernel counted.
//!
//! ```text
//!  Plan::case --> Node --> Flat --> kernel <-- probes from `sample`, through the namespaces of `world`
//!        \------> analysis ----------------> what must arrive, what must be counted
//! ```
//! Needs root and the `nft` program; everything happens in namespaces `tt-...`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sample;
mod trial;
mod world;

use tortie_proof::Plan;
use tortie_proof::cover::Cover;

use trial::Totals;
use world::World;

/// Policy sets; one more for each commit of edits on them.
const CLUSTERS: u64 = 200;
/// What decides fewer than one side in a hundred must decide this many.
const SELDOM: u64 = 200;

#[test]
fn real_packets_pass_or_are_dropped_and_are_counted_as_analysis_says() {
    let plan = Plan { commits: 2, edits: 3, ..Plan::default() };
    let mut world = World::new();
    let (mut cover, mut totals) = (Cover::default(), Totals::default());
    for seed in (plan.seed..).take(usize::try_from(CLUSTERS).unwrap()) {
        let case = plan.case(seed);
        if let Err(difference) = trial::run(&mut world, &case, &mut cover, &mut totals) {
            panic!("seed {seed}: {difference}");
        }
    }
    println!("{totals:?}");
    for (name, share) in cover.shares() {
        println!("{share:6.2} %  {name}");
    }
    // Every way a packet can go was gone, in numbers that can't be luck.
    let Totals { rounds, probes, arrived, denied, invalid, spoofed, ways, classes, grown, .. } = totals;
    assert_eq!(rounds, 3 * CLUSTERS);
    assert!(arrived > 1_000 && denied > 1_000 && invalid > 100 && spoofed > 100, "{totals:?}");
    assert!(probes > 10_000 && ways > 1_000 && classes > 1_000 && grown > 10, "{totals:?}");
    let rare: Vec<_> = cover.lacking().into_iter().filter(|(_, count)| *count < SELDOM).collect();
    assert_eq!(rare, [], "of {} sides, these decided too few", cover.packets());
}
