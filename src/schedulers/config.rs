//! A model's `scheduler_config.json`, read key by key by each scheduler.
//!
//! A configuration is not tied to one class: diffusers lets any compatible class be made from another's file
//! (`X.from_config(other.config)`, `configuration_utils.py`), where keys that the file lacks take the new class's own
//! defaults. So nothing is interpreted before the sampler is known.

use serde_json::Value;

use crate::config_json::ConfigJson;
use crate::sampling::SchedulerKind;
use crate::schedulers::{PredictionType, SchedulerError, TimestepSpacing};

/// Diffusers' other schedulers for the same kind of model (`schedulers/scheduling_utils.py`,
/// `KarrasDiffusionSchedulers`): they use the same noise levels and the same U-Net, so any supported scheduler may
/// stand in for them.
const REPLACEABLE: [&str; 10] = [
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
];

/// A model's `scheduler/scheduler_config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// Its keys and values, without those that are null.
    pub(super) json: ConfigJson,
}

/// The scheduler that a model's configuration names, or its replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSampler {
    /// The scheduler to use.
    pub kind: SchedulerKind,
    /// The configured class, if it is not supported and `kind` replaces it; callers warn of it.
    pub replaces: Option<String>,
}

impl SchedulerConfig {
    /// Parses the file's text, with Python's bare `-Infinity` in quotes; unknown keys are kept and ignored.
    ///
    /// # Errors
    /// [`SchedulerError::Config`] if it is no JSON object.
    pub fn from_json(text: &str) -> Result<Self, SchedulerError> {
        Ok(Self { json: ConfigJson::parse("scheduler_config.json", text)?.without_nulls() })
    }

    /// The sampler that the file names, or Euler ancestral in the place of one that is not built in.
    ///
    /// Published snapshots carry whatever solver their training script left (`PNDMScheduler` mostly), and
    /// `timbrooks/instruct-pix2pix`'s own model card swaps it for Euler ancestral.
    ///
    /// # Errors
    /// [`SchedulerError::UnsupportedClass`] for classes of models that are trained otherwise (flow matching,
    /// consistency, EDM); [`SchedulerError::Config`] if there is no class name.
    pub fn own_sampler(&self) -> Result<OwnSampler, SchedulerError> {
        let class = self.class()?;
        let kind = match class.as_str() {
            "EulerAncestralDiscreteScheduler" => SchedulerKind::EulerAncestral,
            "EulerDiscreteScheduler" => SchedulerKind::Euler,
            "DDIMScheduler" => SchedulerKind::Ddim,
            "DPMSolverMultistepScheduler" => SchedulerKind::DpmSolverPlusPlus2M,
            "LCMScheduler" => SchedulerKind::Lcm,
            name if REPLACEABLE.contains(&name) => {
                return Ok(OwnSampler {
                    kind: SchedulerKind::EulerAncestral,
                    replaces: Some(class),
                });
            }
            _ => {
                let expected = SchedulerKind::OF_NOISE.map(SchedulerKind::name).join(", ");
                return Err(SchedulerError::UnsupportedClass { class, expected });
            }
        };
        Ok(OwnSampler { kind, replaces: None })
    }

    /// The sampler that the file of a model of flow matching names.
    ///
    /// # Errors
    /// [`SchedulerError::UnsupportedClass`] for any but the one of such models; [`SchedulerError::Config`] if there is
    /// no class name.
    pub fn own_flow_sampler(&self) -> Result<OwnSampler, SchedulerError> {
        let (class, kind) = (self.class()?, SchedulerKind::FlowMatchEuler);
        if class == "FlowMatchEulerDiscreteScheduler" {
            return Ok(OwnSampler { kind, replaces: None });
        }
        Err(SchedulerError::UnsupportedClass { class, expected: kind.name().to_owned() })
    }

    fn class(&self) -> Result<String, SchedulerError> {
        let expected = "the name of a diffusers class";
        let class = self.json.read("_class_name", expected, |it| it.as_str().map(str::to_owned))?;
        Ok(class.ok_or_else(|| self.json.fault("_class_name", expected))?)
    }

    /// The same, where keys that the file lacks have the defaults of a class that are not those of the others.
    pub(super) fn with_defaults(
        &self,
        defaults: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        Self { json: self.json.clone().with_defaults(defaults) }
    }

    /// `prediction_type`; every class defaults to epsilon.
    pub(super) fn prediction_type(&self) -> Result<PredictionType, SchedulerError> {
        let all = [
            ("epsilon", PredictionType::Epsilon),
            ("v_prediction", PredictionType::VPrediction),
            ("sample", PredictionType::Sample),
        ];
        Ok(self.json.choice("prediction_type", PredictionType::Epsilon, &all)?)
    }

    /// `timestep_spacing`, whose default differs from class to class.
    pub(super) fn timestep_spacing(
        &self,
        default: TimestepSpacing,
    ) -> Result<TimestepSpacing, SchedulerError> {
        let all = [TimestepSpacing::Linspace, TimestepSpacing::Leading, TimestepSpacing::Trailing];
        Ok(self.json.choice("timestep_spacing", default, &all.map(|it| (it.name(), it)))?)
    }
}
