//! A model's `scheduler_config.json`, read key by key by each scheduler.
//!
//! A configuration is not tied to one class: diffusers lets any compatible class be made from another's file
//! (`X.from_config(other.config)`, `configuration_utils.py`), where keys that the file lacks take the new class's own
//! defaults. So nothing is interpreted before the sampler is known.

use serde_json::{Map, Value};

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
pub struct SchedulerConfig(Map<String, Value>);

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
    /// [`SchedulerError::Malformed`] if it is no JSON object.
    pub fn from_json(text: &str) -> Result<Self, SchedulerError> {
        serde_json::from_str(text).map(Self).map_err(SchedulerError::Malformed)
    }

    /// The sampler that the file names, or Euler ancestral in the place of one that is not built in.
    ///
    /// Published snapshots carry whatever solver their training script left (`PNDMScheduler` mostly), and
    /// `timbrooks/instruct-pix2pix`'s own model card swaps it for Euler ancestral.
    ///
    /// # Errors
    /// [`SchedulerError::UnsupportedClass`] for classes of models that are trained otherwise (flow matching,
    /// consistency, EDM); [`SchedulerError::Unsupported`] if there is no class name.
    pub fn own_sampler(&self) -> Result<OwnSampler, SchedulerError> {
        let class = self.own_class()?;
        let kind = match class {
            "EulerAncestralDiscreteScheduler" => SchedulerKind::EulerAncestral,
            "EulerDiscreteScheduler" => SchedulerKind::Euler,
            "DDIMScheduler" => SchedulerKind::Ddim,
            "DPMSolverMultistepScheduler" => SchedulerKind::DpmSolverPlusPlus2M,
            _ if REPLACEABLE.contains(&class) => {
                let replaces = Some(class.to_owned());
                return Ok(OwnSampler { kind: SchedulerKind::EulerAncestral, replaces });
            }
            _ => {
                let expected = SchedulerKind::ALL.map(SchedulerKind::name).join(", ");
                return Err(SchedulerError::UnsupportedClass { class: class.to_owned(), expected });
            }
        };
        Ok(OwnSampler { kind, replaces: None })
    }

    fn own_class(&self) -> Result<&str, SchedulerError> {
        match self.0.get("_class_name") {
            Some(Value::String(class)) => Ok(class),
            other => Err(unsupported("_class_name", other, "the name of a diffusers class")),
        }
    }

    /// `prediction_type`; every class defaults to epsilon.
    pub(super) fn prediction_type(&self) -> Result<PredictionType, SchedulerError> {
        self.choice(
            "prediction_type",
            PredictionType::Epsilon,
            &[
                ("epsilon", PredictionType::Epsilon),
                ("v_prediction", PredictionType::VPrediction),
                ("sample", PredictionType::Sample),
            ],
        )
    }

    /// `timestep_spacing`, whose default differs from class to class.
    pub(super) fn timestep_spacing(
        &self,
        default: TimestepSpacing,
    ) -> Result<TimestepSpacing, SchedulerError> {
        let all = [TimestepSpacing::Linspace, TimestepSpacing::Leading, TimestepSpacing::Trailing];
        self.choice("timestep_spacing", default, &all.map(|it| (it.name(), it)))
    }

    /// Reads a key that takes one of a few strings.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        default: T,
        choices: &[(&'static str, T)],
    ) -> Result<T, SchedulerError> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let found = choices.iter().find(|(name, _)| value.as_str() == Some(name));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            unsupported(key, Some(value), &names.join(", "))
        })
    }

    /// Reads a boolean key.
    pub(super) fn flag(&self, key: &'static str, default: bool) -> Result<bool, SchedulerError> {
        let Some(value) = self.value(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| unsupported(key, Some(value), "true or false"))
    }

    /// Reads a numeric key; `accepts` checks its value, and `range` describes the accepted values in the error.
    pub(super) fn number(
        &self,
        key: &'static str,
        default: f64,
        range: &str,
        accepts: impl Fn(f64) -> bool,
    ) -> Result<f64, SchedulerError> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let number = value.as_f64().filter(|it| accepts(*it));
        number.ok_or_else(|| unsupported(key, Some(value), range))
    }

    /// `trained_betas`, each in (0, 1); `None` if the file lacks them.
    pub(super) fn trained_betas(&self) -> Result<Option<Vec<f64>>, SchedulerError> {
        let Some(value) = self.value("trained_betas") else { return Ok(None) };
        let betas = value.as_array().and_then(|all| {
            all.iter().map(|it| it.as_f64().filter(|beta| *beta > 0.0 && *beta < 1.0)).collect()
        });
        betas.map(Some).ok_or_else(|| {
            unsupported("trained_betas", Some(value), "null or a list of numbers between 0 and 1")
        })
    }

    /// Refuses boolean keys that are true: options that are not supported.
    pub(super) fn refuse_flags(&self, keys: &[&'static str]) -> Result<(), SchedulerError> {
        for key in keys {
            if self.flag(key, false)? {
                return Err(unsupported(key, self.value(key), "false"));
            }
        }
        Ok(())
    }

    /// The value of a key; an explicit null counts as absent.
    fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|it| !it.is_null())
    }
}

/// The error for a value that no supported sampler has.
pub(super) fn unsupported(
    key: &'static str,
    value: Option<&Value>,
    expected: &str,
) -> SchedulerError {
    let value = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    SchedulerError::Unsupported { key, value, expected: expected.to_owned() }
}
