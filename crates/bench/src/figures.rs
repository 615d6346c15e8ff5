//! Figures: what samples come to, printed as `name=value` with its 95 % interval.
//!
//! The interval is that of order statistics (binomial), so nothing is assumed of how samples are spread.

/// Prints the median of the samples and its interval; returns the median.
pub fn median(name: &str, samples: &[f64]) -> f64 {
    quantile(name, samples, 0.5)
}

/// Prints a quantile of the samples (0.5: the median) and its interval; returns the quantile.
pub fn quantile(name: &str, samples: &[f64], share: f64) -> f64 {
    let (value, low, high) = estimate(samples, share);
    println!("{name}={}", show(value));
    println!("{name}_low={}", show(low));
    println!("{name}_high={}", show(high));
    value
}

/// The median of the samples.
pub fn middle(samples: &[f64]) -> f64 {
    estimate(samples, 0.5).0
}

/// Prints what has no spread: a size, a count.
pub fn exact(name: &str, value: f64) {
    println!("{name}={}", show(value));
}

/// The quantile and the bounds of its interval; not a number without samples.
fn estimate(samples: &[f64], share: f64) -> (f64, f64, f64) {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let (low, high) = bounds(sorted.len(), share);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (at(place.floor() as usize), at(place.ceil() as usize));
    (below + (above - below) * place.fract(), at(low), at(high))
}

/// Which of so many sorted samples bound the quantile with 95 % confidence; the first and the last where there are
/// too few.
fn bounds(count: usize, share: f64) -> (usize, usize) {
    let last = count.saturating_sub(1);
    // The logarithm of the chance that exactly `below` samples are below the quantile.
    let mut chance = count as f64 * (1.0 - share).ln();
    let (mut sum, mut low, mut high) = (0.0, 0, last);
    for below in 0..=count {
        sum += chance.exp();
        if sum <= 0.025 {
            low = below;
        }
        // The chance of `below + 1` or more.
        if 1.0 - sum <= 0.025 {
            high = below;
            break;
        }
        chance += ((count - below) as f64 / (below + 1) as f64 * share / (1.0 - share)).ln();
    }
    (low.min(last), high.min(last))
}

fn show(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_the_median_is_that_of_the_tables() {
        // Ranks from 0; tables of the sign test give ranks from 1: 9: (2, 8), 20: (6, 15).
        let of = |count| bounds(count, 0.5);
        assert_eq!((of(5), of(6), of(9), of(20)), ((0, 4), (0, 5), (1, 7), (5, 14)));
    }

    #[test]
    fn quantiles_lie_between_samples_and_few_samples_bound_them_by_the_largest() {
        let samples: Vec<f64> = (0..101).map(f64::from).collect();
        assert_eq!(estimate(&samples, 0.5).0, 50.0);
        let (value, low, high) = estimate(&samples, 0.99);
        assert_eq!((value, high), (99.0, 100.0));
        assert!((90.0..99.0).contains(&low), "{low}");
        assert_eq!(estimate(&[1.0, 2.0], 0.5), (1.5, 1.0, 2.0));
    }
}
