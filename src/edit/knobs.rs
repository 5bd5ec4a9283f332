//! Validated parameters of a localization: cluster count, thresholds, mask growth, step ranges.

use std::ops::Range;

use crate::sampling::{OutOfRange, bounded};

bounded! {
    /// A number of clusters.
    #[derive(Eq)]
    pub struct ClusterCount(u32), "k", 2 to 32
}

bounded! {
    /// A cluster score.
    pub struct Tau(f64), "tau", 0 to 1
}

bounded! {
    /// A confidence, or a minimum confidence.
    pub struct Confidence(f64), "min confidence", 0 to 1
}

bounded! {
    /// Mask growth as a fraction of the picture's shorter side.
    #[derive(Default)]
    pub struct Growth(f64), "grow", 0 to 0.5
}

/// A range of a run's steps, from one fraction to another, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepShare {
    from: f64,
    until: f64,
}

impl StepShare {
    /// Every step.
    pub const ALL: Self = Self { from: 0.0, until: 1.0 };

    /// Accepted values, for messages.
    pub const RANGE: &'static str = "a rising pair within 0 to 1";

    /// The range from two fractions; `name` is the setting's name in errors.
    ///
    /// # Errors
    /// [`OutOfRange`] if the fractions do not increase or are outside 0 to 1.
    pub fn new(name: &'static str, [from, until]: [f64; 2]) -> Result<Self, OutOfRange> {
        if 0.0 <= from && from < until && until <= 1.0 {
            return Ok(Self { from, until });
        }
        let value = format!("{from} to {until}");
        Err(OutOfRange { name, value, range: Self::RANGE })
    }

    /// The two fractions.
    pub fn shares(self) -> [f64; 2] {
        [self.from, self.until]
    }

    /// Step indices for a run of `steps` steps, at least one.
    pub fn of(self, steps: usize) -> Range<usize> {
        let at = |share: f64| (share * steps as f64).round() as usize;
        let from = at(self.from).min(steps - 1);
        from..at(self.until).max(from + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_steps_is_one_of_any_run_and_at_least_one() {
        let third = StepShare::new("guided", [1.0 / 3.0, 2.0 / 3.0]).unwrap();
        let of = |steps| third.of(steps);
        assert_eq!([of(1), of(2), of(12), of(100)], [0..1, 1..2, 4..8, 33..67]);
        assert_eq!(StepShare::ALL.of(7), 0..7);
    }

    #[test]
    fn a_falling_or_empty_pair_is_refused() {
        for pair in [[0.5, 0.5], [0.6, 0.2], [-0.1, 1.0], [0.0, 1.1], [f64::NAN, 1.0]] {
            assert!(StepShare::new("guided", pair).is_err(), "{pair:?}");
        }
    }
}
