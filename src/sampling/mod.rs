//! Validated parameters of a denoising run: steps, guidance scales, scheduler. No tensors.

pub mod geometry;

use std::fmt;

/// The caller asked to stop the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A parameter outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {value}, expected {range}")]
pub struct OutOfRange {
    /// The parameter's name, such as `steps`.
    pub name: &'static str,
    /// The value as given.
    pub value: String,
    /// The accepted range, as text.
    pub range: &'static str,
}

/// Number of denoising steps, 1..=1000 (diffusers: `num_inference_steps`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steps(u32);

/// Text guidance scale, finite, 1..=30 (diffusers: `guidance_scale`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextGuidance(f64);

/// Image guidance scale, finite, 0..=30 (diffusers: `image_guidance_scale`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageGuidance(f64);

/// The two scales of InstructPix2Pix's classifier-free guidance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuidanceScales {
    /// Weight of the instruction.
    pub text: TextGuidance,
    /// Weight of the input image.
    pub image: ImageGuidance,
}

/// Available schedulers (samplers), by diffusers' class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchedulerKind {
    /// `EulerAncestralDiscreteScheduler`.
    EulerAncestral,
    /// `EulerDiscreteScheduler`.
    Euler,
    /// `DDIMScheduler`, eta 0.
    Ddim,
    /// `DPMSolverMultistepScheduler`, `dpmsolver++` of order 2.
    DpmSolverPlusPlus2M,
}

// === impl Steps ===

impl Steps {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Steps {
    type Error = OutOfRange;

    fn try_from(value: u32) -> Result<Self, OutOfRange> {
        if (1..=1000).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { name: "steps", value: value.to_string(), range: "1 to 1000" })
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl TextGuidance and ImageGuidance ===

impl TextGuidance {
    /// The scale.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for TextGuidance {
    type Error = OutOfRange;

    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        // A NaN is in no range.
        if (1.0..=30.0).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { name: "text guidance", value: value.to_string(), range: "1 to 30" })
    }
}

impl ImageGuidance {
    /// The scale.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for ImageGuidance {
    type Error = OutOfRange;

    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        if (0.0..=30.0).contains(&value) {
            return Ok(Self(value));
        }
        Err(OutOfRange { name: "image guidance", value: value.to_string(), range: "0 to 30" })
    }
}

// === impl SchedulerKind ===

impl SchedulerKind {
    /// Every scheduler.
    pub const ALL: [Self; 4] =
        [Self::EulerAncestral, Self::Euler, Self::Ddim, Self::DpmSolverPlusPlus2M];

    /// Name on the command line and in configuration files, such as `euler-ancestral`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EulerAncestral => "euler-ancestral",
            Self::Euler => "euler",
            Self::Ddim => "ddim",
            Self::DpmSolverPlusPlus2M => "dpm-solver++-2m",
        }
    }
}
