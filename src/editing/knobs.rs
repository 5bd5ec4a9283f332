//! Bounded numbers of a localization.

use crate::sampling::OutOfRange;

/// A number of clusters, 2 to 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterCount(u32);

/// A cluster score, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tau(f64);

/// How far a mask is grown, as a share of the picture's shorter side, 0 to 0.5.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Growth(f64);

impl ClusterCount {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for ClusterCount {
    type Error = OutOfRange;

    fn try_from(value: u32) -> Result<Self, OutOfRange> {
        if (2..=32).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { name: "k", value: value.to_string(), range: "2 to 32" })
    }
}

impl Tau {
    /// The score.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Tau {
    type Error = OutOfRange;

    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1.0).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { name: "tau", value: value.to_string(), range: "0 to 1" })
    }
}

impl Growth {
    /// The share.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Growth {
    type Error = OutOfRange;

    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        if (0.0..=0.5).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { name: "grow", value: value.to_string(), range: "0 to 0.5" })
    }
}
