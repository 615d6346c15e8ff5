//! Rounds in processes of their own, and what they come to.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, bail};

use crate::figures;

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
    for (name, values) in all.into_iter().flatten() {
        figures::median(&name, &values);
    }
    Ok(())
}
