//! Bootstrap confidence intervals over items.
//!
//! Items are resampled with replacement, so intervals reflect the choice of items, not the seeds of the edits.
//! Percentile intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13); with very few
//! items they are too narrow. Where all items have the same share, no resample differs from another: then the interval
//! is what so many equal items leave possible at 95 % (Clopper and Pearson, 1934), `n of n` at least 0.05^(1/n).

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Number of resamples; with it the ends of a 95 % interval vary by about 2 % of its width.
const RESAMPLES: usize = 2000;

/// Fraction of the resamples below, and above, an interval.
const TAIL: f64 = 0.025;

/// Probability that an interval of equal values leaves out the true mean.
const DOUBT: f64 = 0.05;

/// Seed of the random generator, so that equal scores give equal intervals.
const SEED: u64 = 0x5eed;

/// A statistic over several items with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The statistic over all items.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of items.
    pub count: usize,
}

impl Interval {
    /// The interval in brackets, its ends as `format` writes them: `[94.5, 99.0]`, or `[≥ 98.5]` where the value is its
    /// upper end.
    pub fn in_brackets(&self, format: impl Fn(f64) -> String) -> String {
        let Self { value, low, high, .. } = *self;
        if low < value && value >= high {
            format!("[≥ {}]", format(low))
        } else if value < high && value <= low {
            format!("[≤ {}]", format(high))
        } else {
            format!("[{}, {}]", format(low), format(high))
        }
    }
}

/// The mean; `None` without values.
pub fn mean(values: &[f64]) -> Option<Interval> {
    interval(values.len(), |pick| average(pick, |index| values[index]))
}

/// The mean of shares, 0 to 1; `None` without values.
pub fn mean_share(values: &[f64]) -> Option<Interval> {
    Some(unless_equal(mean(values)?, values, (0.0, 1.0)))
}

/// The mean difference of pairs (this, other) of shares; `None` without pairs.
pub fn mean_share_difference(pairs: &[(f64, f64)]) -> Option<Interval> {
    let differences: Vec<f64> = pairs.iter().map(|(this, other)| this - other).collect();
    Some(unless_equal(mean_difference(pairs)?, &differences, (-1.0, 1.0)))
}

/// The interval itself, or, if all values are equal, what other values between `least` and `most` could be as rare as
/// to be missed with a probability of [`DOUBT`].
fn unless_equal(it: Interval, values: &[f64], (least, most): (f64, f64)) -> Interval {
    let first = values[0];
    if values.iter().any(|value| (value - first).abs() > f64::EPSILON) {
        return it;
    }
    let equal = DOUBT.powf(1.0 / values.len() as f64);
    let with = |others: f64| equal * first + (1.0 - equal) * others;
    Interval { value: first, low: with(least), high: with(most), ..it }
}

/// The mean difference of pairs (this, other); `None` without pairs.
pub fn mean_difference(pairs: &[(f64, f64)]) -> Option<Interval> {
    interval(pairs.len(), |pick| average(pick, |index| pairs[index].0 - pairs[index].1))
}

/// The ratio of the means of pairs (this, other); `None` without pairs, or if the others' mean is 0, also in a
/// resample.
pub fn ratio_of_means(pairs: &[(f64, f64)]) -> Option<Interval> {
    let ratio = |pick: &[usize]| {
        average(pick, |index| pairs[index].0) / average(pick, |index| pairs[index].1)
    };
    let finite = |it: &Interval| [it.value, it.low, it.high].iter().all(|it| it.is_finite());
    interval(pairs.len(), ratio).filter(finite)
}

/// Interval of a statistic of `count` items, which is given the items' indices.
fn interval(count: usize, statistic: impl Fn(&[usize]) -> f64) -> Option<Interval> {
    if count == 0 {
        return None;
    }
    let mut pick: Vec<usize> = (0..count).collect();
    let value = statistic(&pick);
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut draw = || {
        for index in &mut pick {
            *index = rng.random_range(0..count);
        }
        statistic(&pick)
    };
    let mut drawn: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    drawn.sort_by(f64::total_cmp);
    let (low, high) = (percentile(&drawn, TAIL), percentile(&drawn, 1.0 - TAIL));
    Some(Interval { value, low, high, count })
}

fn average(pick: &[usize], value: impl Fn(usize) -> f64) -> f64 {
    pick.iter().map(|&index| value(index)).sum::<f64>() / pick.len() as f64
}

/// A percentile of sorted values with linear interpolation, as NumPy's `percentile`.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_values() {
        // numpy.percentile([1, 2, 4], 25) = 1.5
        assert!((percentile(&[1.0, 2.0, 4.0], 0.25) - 1.5).abs() < 1e-12);
    }

    #[test]
    fn no_values_have_no_mean() {
        assert_eq!(mean(&[]), None);
        assert_eq!(ratio_of_means(&[(1.0, 0.0)]), None);
    }

    #[test]
    fn where_all_edits_agree_the_interval_is_one_sided() {
        let in_percent = |share: f64| format!("{:.1}", 100.0 * share);
        // scipy.stats.binomtest(200, 200, alternative="greater").proportion_ci().low = 0.98513
        let all = mean_share(&[1.0; 200]).unwrap();
        assert!((all.low - 0.985_133_6).abs() < 1e-6, "{all:?}");
        assert_eq!(all.in_brackets(in_percent), "[≥ 98.5]");
        assert_eq!(mean_share(&[0.0; 20]).unwrap().in_brackets(in_percent), "[≤ 13.9]");
        // Equal shares of another kind, and equal differences, could differ either way.
        let half = mean_share(&[0.5; 200]).unwrap().in_brackets(in_percent);
        assert_eq!(half, "[49.3, 50.7]");
        let same = mean_share_difference(&[(1.0, 1.0); 200]).unwrap();
        assert_eq!(same.in_brackets(in_percent), "[-1.5, 1.5]");
        // Where they do not agree, it is the bootstrap's.
        let mixed: Vec<f64> = (0..50).map(|i| f64::from(i % 2)).collect();
        assert_eq!(mean_share(&mixed), mean(&mixed));
    }
}
