//! How long reading, matching and naming a selector takes: `name=value`, medians, nanoseconds.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Instant;

use tortie_api::selector::Selector;

const TEXT: &str = r#"! (a == "b"&&! c != "d") || !(a == "b" && !c != "d")"#;
const ROUNDS: usize = 101;
const CALLS: u32 = 2_000;

fn main() {
    let selector = Selector::parse(TEXT).unwrap();
    let labels = [("app", "web"), ("a", "b"), ("c", "d")];
    report("selector_parse_ns", || {
        black_box(Selector::parse(black_box(TEXT)).unwrap());
    });
    report("selector_match_ns", || {
        black_box(selector.matches(black_box(&labels)));
    });
    report("selector_canonical_ns", || {
        black_box(selector.canonical());
    });
    report("selector_id_ns", || {
        black_box(selector.id());
    });
}

fn report(name: &str, work: impl Fn()) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                work();
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name}={:.0}", rounds[ROUNDS / 2]);
}
