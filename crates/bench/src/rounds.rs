//! Rounds in processes of their own, and what they come to.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, bail};

/// Figures of one round, by name.
pub type Figures = Vec<(String, f64)>;

/// Prints figures so that [`run`] reads them back.
pub fn report(figures: &Figures) {
    for (name, value) in figures {
        println!("{name}={value}");
    }
}

/// Runs this program once with the arguments, and reads its figures.
///
/// # Errors
/// If it can't be started, fails, or prints something else than figures.
fn run(arguments: &[&str]) -> anyhow::Result<Figures> {
    let program = std::env::current_exe().context("finding this program")?;
    let output = Command::new(program).args(arguments).output().context("starting a round")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("round {arguments:?}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once('=').with_context(|| format!("not a figure: {line:?}"))?;
            Ok((name.to_owned(), value.parse().with_context(|| format!("not a number: {line:?}"))?))
        })
        .collect()
}

/// Runs each case so many times, in turns, and prints the median of each figure and its interval.
///
/// # Errors
/// If a round fails.
pub fn interleave(cases: &[Vec<&str>], rounds: usize) -> anyhow::Result<()> {
    let mut all: Vec<BTreeMap<String, Vec<f64>>> = vec![BTreeMap::new(); cases.len()];
    for _ in 0..rounds {
        for (arguments, figures) in cases.iter().zip(&mut all) {
            for (name, value) in run(arguments)? {
                figures.entry(name).or_default().push(value);
            }
        }
    }
    for (name, mut values) in all.into_iter().flatten() {
        values.sort_by(f64::total_cmp);
        let (low, high) = interval(values.len());
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(at(middle - 1), at(middle))
        } else {
            at(middle)
        };
        println!("{name}={}", show(median));
        println!("{name}_low={}", show(at(low)));
        println!("{name}_high={}", show(at(high)));
    }
    Ok(())
}

fn show(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// Which of so many sorted values bound the median with 95 % confidence: by the binomial
/// distribution; the first and the last where there are fewer than six.
fn interval(count: usize) -> (usize, usize) {
    let half = 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut below, mut term, mut low) = (half, half, 0);
    while below + term * (count as f64 - low as f64) / (low as f64 + 1.0) <= 0.025 {
        term *= (count as f64 - low as f64) / (low as f64 + 1.0);
        below += term;
        low += 1;
    }
    let low = low.min(count.saturating_sub(1) / 2);
    (low, count.saturating_sub(1) - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_the_median_is_that_of_the_tables() {
        // Ranks from 0; tables of the sign test give ranks from 1: 9: (2, 8), 20: (6, 15).
        assert_eq!((interval(5), interval(6), interval(9), interval(20)), ((0, 4), (0, 5), (1, 7), (5, 14)));
    }
}
