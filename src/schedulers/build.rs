//! Builds a scheduler from a model's `scheduler_config.json`, a kind and a number of steps.

use crate::sampling::{SchedulerKind, Steps};
use crate::schedulers::{
    Scheduler, SchedulerError, config::SchedulerConfig, ddim::DdimScheduler,
    dpm_solver_multistep::DpmSolverMultistepScheduler,
    euler_ancestral_discrete::EulerAncestralDiscreteScheduler,
    euler_discrete::EulerDiscreteScheduler, lcm::LcmScheduler,
};

/// Builds a scheduler for a model that was trained to predict noise. Any kind for such models goes with any configuration, as with diffusers' `X.from_config`: keys that
/// the configuration lacks take the defaults of the kind's own class.
///
/// # Errors
/// [`SchedulerError::Config`] if the configuration asks this kind for something that is not supported;
/// [`SchedulerError::OtherKind`] for a kind of other models; [`SchedulerError::TooManySteps`] if two steps would fall on one timestep.
pub fn build(
    kind: SchedulerKind,
    config: &SchedulerConfig,
    steps: Steps,
) -> Result<Box<dyn Scheduler>, SchedulerError> {
    Ok(match kind {
        SchedulerKind::EulerAncestral => {
            Box::new(EulerAncestralDiscreteScheduler::new(config, steps)?)
        }
        SchedulerKind::Euler => Box::new(EulerDiscreteScheduler::new(config, steps)?),
        SchedulerKind::Ddim => Box::new(DdimScheduler::new(config, steps)?),
        SchedulerKind::DpmSolverPlusPlus2M => {
            Box::new(DpmSolverMultistepScheduler::new(config, steps)?)
        }
        SchedulerKind::FlowMatchEuler => {
            return Err(SchedulerError::other_kind(kind, &SchedulerKind::OF_NOISE));
        }
        SchedulerKind::Lcm => Box::new(LcmScheduler::new(config, steps)?),
    })
}
