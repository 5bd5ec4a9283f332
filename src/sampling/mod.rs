//! Validated parameters of a denoising run: steps, guidance scales, scheduler. No tensors.

pub mod geometry;
pub mod lora;

use std::fmt;

use crate::choice::choices;

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

/// Defines a number that is validated against its range, as in `Steps(u32), "steps", 1 to 1000`.
macro_rules! bounded {
    ($(#[$outer:meta])* pub struct $bounded:ident($number:ty), $name:literal, $from:literal to $until:literal) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $bounded($number);

        impl $bounded {
            /// Accepted values, for messages.
            pub const RANGE: &'static str = concat!($from, " to ", $until);

            /// The number.
            pub fn get(self) -> $number {
                self.0
            }
        }

        impl TryFrom<$number> for $bounded {
            type Error = $crate::sampling::OutOfRange;

            fn try_from(value: $number) -> Result<Self, Self::Error> {
                // A NaN is in no range.
                if ($from as $number..=$until as $number).contains(&value) {
                    return Ok(Self(value));
                }
                Err($crate::sampling::OutOfRange { name: $name, value: value.to_string(), range: Self::RANGE })
            }
        }

        impl<'de> serde::Deserialize<'de> for $bounded {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = <$number>::deserialize(deserializer)?;
                number.try_into().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use bounded;

bounded! {
    /// Number of denoising steps (diffusers: `num_inference_steps`).
    #[derive(Eq, PartialOrd, Ord)]
    pub struct Steps(u32), "steps", 1 to 1000
}

bounded! {
    /// Text guidance scale (diffusers: `guidance_scale`).
    pub struct TextGuidance(f64), "text guidance", 1 to 30
}

bounded! {
    /// Image guidance scale (diffusers: `image_guidance_scale`).
    pub struct ImageGuidance(f64), "image guidance", 0 to 30
}

/// The two scales of InstructPix2Pix's classifier-free guidance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuidanceScales {
    /// Weight of the instruction.
    pub text: TextGuidance,
    /// Weight of the input image.
    pub image: ImageGuidance,
}

choices! {
    /// Available schedulers (samplers), by diffusers' class.
    pub enum SchedulerKind {
        /// Euler ancestral.
        ///
        /// `EulerAncestralDiscreteScheduler`.
        EulerAncestral = "euler-ancestral",
        /// Euler.
        ///
        /// `EulerDiscreteScheduler`.
        Euler = "euler",
        /// DDIM.
        ///
        /// `DDIMScheduler`, eta 0.
        Ddim = "ddim",
        /// DPM-Solver++ of order 2.
        ///
        /// `DPMSolverMultistepScheduler`, `dpmsolver++`.
        DpmSolverPlusPlus2M = "dpm-solver++-2m",
        /// LCM, for models or LoRAs that are distilled for it, in 2 to 8 steps with guidance near 1.
        ///
        /// `LCMScheduler`. Untried with InstructPix2Pix and a LoRA of its kind.
        Lcm = "lcm",
        /// Euler for models of flow matching.
        ///
        /// `FlowMatchEulerDiscreteScheduler`; such models have no other, and other models not this one.
        FlowMatchEuler = "flow-match-euler",
    }
}

impl SchedulerKind {
    /// Those of models that were trained to predict noise.
    pub const OF_NOISE: [Self; 5] =
        [Self::EulerAncestral, Self::Euler, Self::Ddim, Self::DpmSolverPlusPlus2M, Self::Lcm];
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
