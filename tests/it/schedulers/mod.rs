//! Properties of every scheduler; parity with diffusers and configurations are in the submodules.

mod config;
mod parity;

use retouch::sampling::{SchedulerKind, Steps};
use retouch::schedulers::build::build;
use retouch::schedulers::config::SchedulerConfig;
use retouch::schedulers::noise::NoiseTape;
use retouch::schedulers::training::NoiseLevel;
use retouch::schedulers::{History, Scheduler, SchedulerError};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const SHAPE: [i64; 4] = [1, 4, 1, 2];
/// The samplers whose steps add noise.
const DRAWS: [SchedulerKind; 2] = [SchedulerKind::EulerAncestral, SchedulerKind::Lcm];

#[test]
fn parallel_runs_keep_their_own_noise() {
    let draw = |seed: u64| {
        let scheduler = scheduler(SchedulerKind::EulerAncestral, &stable_diffusion(), 20);
        let tape = NoiseTape::draw(seed, &[1, 4, 16, 16], &*scheduler);
        Tensor::stack(&[tape.initial(), tape.step(scheduler.steps()[19]).unwrap()], 0)
    };
    let alone: Vec<Tensor> = (0..4).map(draw).collect();
    std::thread::scope(|scope| {
        // Somebody who draws from the generator without asking.
        let stranger = scope.spawn(|| {
            for _ in 0..50 {
                let _ = Tensor::randn([7], (Kind::Float, Device::Cpu));
                std::thread::yield_now();
            }
        });
        let together: Vec<_> = (0..4).map(|seed| scope.spawn(move || draw(seed))).collect();
        for (together, alone) in together.into_iter().zip(&alone) {
            assert_eq!(together.join().unwrap(), *alone);
        }
        stranger.join().unwrap();
    });
    assert_ne!(alone[0], alone[1]);
}

#[test]
fn only_euler_ancestral_and_lcm_draw_noise() {
    for kind in SchedulerKind::OF_NOISE {
        let scheduler = scheduler(kind, &stable_diffusion(), 3);
        let tape = NoiseTape::draw(1, &SHAPE, &*scheduler);
        for step in scheduler.steps() {
            assert_eq!(tape.step(*step).is_some(), DRAWS.contains(&kind));
        }
    }
}

#[test]
fn timesteps_fall_strictly_and_are_as_many_as_asked_for() {
    for kind in SchedulerKind::OF_NOISE {
        for spacing in ["linspace", "leading", "trailing"] {
            let config = with(&stable_diffusion(), "timestep_spacing", json!(spacing));
            // 61 is a count for which diffusers' trailing spacing has a surplus step.
            for steps in [1, 2, 3, 7, 50, 61, 100, 333, 500] {
                if kind == SchedulerKind::Lcm && steps > 50 {
                    continue; // Refused, below.
                }
                let scheduler = scheduler(kind, &config, steps);
                assert_eq!(scheduler.steps().len() as u64, steps, "{kind:?} {spacing}");
                for pair in scheduler.steps().windows(2) {
                    assert!(pair[0].timestep > pair[1].timestep, "{kind:?} {spacing}: {pair:?}");
                    assert!(pair[0].sigma > pair[1].sigma, "{kind:?} {spacing}: {pair:?}");
                }
            }
        }
    }
}

#[test]
fn euler_ancestral_visits_the_fractional_timesteps_of_instruct_pix2pix() {
    let scheduler = scheduler(SchedulerKind::EulerAncestral, &stable_diffusion(), 100);
    let at = |index: usize| scheduler.steps()[index].timestep;
    assert!(close(at(0), 999.0) && close(at(1), 988.909_1) && close(at(99), 0.0));
    assert!((scheduler.init_noise_sigma() - 14.6146).abs() < 1e-4);
}

#[test]
fn the_last_step_ends_on_the_clean_sample() {
    use SchedulerKind::{DpmSolverPlusPlus2M, Euler, EulerAncestral, Lcm};
    for kind in [EulerAncestral, Euler, DpmSolverPlusPlus2M, Lcm] {
        let scheduler = scheduler(kind, &stable_diffusion(), 5);
        let last = scheduler.steps()[4];
        let [sample, model_output, noise] = latents();
        let mut history = History::default();
        let output = scheduler.step(last, &model_output, &sample, Some(&noise), &mut history);
        let error = relative_error(&output.prev_sample, &output.pred_original_sample);
        assert!(error < 1e-6, "{kind:?}: {error:e}");
    }
}

#[test]
fn a_model_that_sees_the_noise_walks_along_the_renoised_latents() {
    for kind in SchedulerKind::OF_NOISE {
        for spacing in ["linspace", "leading", "trailing"] {
            let config = with(&stable_diffusion(), "timestep_spacing", json!(spacing));
            let scheduler = scheduler(kind, &config, 10);
            let [clean, noise, _] = latents();
            let mut history = History::default();
            for (step, next) in scheduler.steps().iter().zip(&scheduler.steps()[1..]) {
                let renoised = scheduler.add_noise(&clean, &noise, step.index + 1);
                if kind == SchedulerKind::EulerAncestral {
                    // Its step draws afresh, so that only the level can be told.
                    assert!(relative_error(&renoised, &(&clean + &noise * next.sigma)) < 1e-6);
                    continue;
                }
                if kind == SchedulerKind::Lcm {
                    // The same, at unit variance.
                    let level = (&clean + &noise * next.sigma) / (next.sigma.powi(2) + 1.0).sqrt();
                    assert!(relative_error(&renoised, &level) < 1e-6);
                    continue;
                }
                // From the level before: what the step before arrived at, where there is one.
                if step.index == 0 {
                    continue;
                }
                if kind == SchedulerKind::Ddim && spacing != "leading" {
                    continue; // Its levels before and after do not meet.
                }
                let sample = scheduler.add_noise(&clean, &noise, step.index);
                let output = scheduler.step(*step, &noise, &sample, None, &mut history);
                let error = relative_error(&output.prev_sample, &renoised);
                assert!(error < 1e-5, "{kind:?} {spacing}: {error:e} off at {step:?}");
            }
        }
    }
}

#[test]
fn renoising_at_the_last_step_gives_the_clean_latents_back() {
    // Even where the sampler itself would stop short of clean.
    let config = with(&stable_diffusion(), "set_alpha_to_one", json!(false));
    let config = with(&config, "final_sigmas_type", json!("sigma_min"));
    for kind in SchedulerKind::OF_NOISE {
        let scheduler = scheduler(kind, &config, 4);
        let [clean, noise, _] = latents();
        assert_eq!(scheduler.add_noise(&clean, &noise, 4), clean);
        assert_ne!(scheduler.add_noise(&clean, &noise, 3), clean);
    }
}

#[test]
fn the_noise_level_of_a_training_timestep_is_there_whatever_a_sampler_visits() {
    // As published: leading spacing and an offset, under which no sampler takes 1000 steps.
    let published = with(&stable_diffusion(), "steps_offset", json!(1));
    let [clean, noise, _] = latents();
    let noisy = |timestep: u32| {
        NoiseLevel::of(&parse(&published), timestep).map(|it| it.add_noise(&clean, &noise))
    };
    let halves = scheduler(SchedulerKind::Ddim, &published, 500);
    for step in halves.steps().iter().step_by(83) {
        let expected = (&clean + &noise * step.sigma) / (step.sigma.powi(2) + 1.0).sqrt();
        let error = relative_error(&noisy(step.timestep as u32).unwrap(), &expected);
        assert!(error < 1e-6, "{error:e} off at {step:?}");
    }
    // And what a step arrives at on a ladder that stands on every timestep.
    let linspace = with(&published, "timestep_spacing", json!("linspace"));
    let all = scheduler(SchedulerKind::Ddim, &linspace, 1000);
    for timestep in [0, 1, 500, 800, 998] {
        let before = all.steps()[998 - timestep as usize];
        assert_eq!(noisy(timestep).unwrap(), all.add_noise(&clean, &noise, before.index + 1));
    }
    let beyond = noisy(1000).unwrap_err();
    assert!(matches!(beyond, SchedulerError::NoTimestep { .. }), "{beyond}");
}

#[test]
fn half_precision_model_outputs_are_stepped_in_fp32() {
    for kind in SchedulerKind::OF_NOISE {
        let scheduler = scheduler(kind, &stable_diffusion(), 4);
        let [sample, model_output, noise] = latents();
        let half = model_output.to_kind(Kind::Half);
        let step = |output: &Tensor| {
            scheduler.step(
                scheduler.steps()[1],
                output,
                &sample,
                Some(&noise),
                &mut History::default(),
            )
        };
        let stepped = step(&half).prev_sample;
        assert_eq!(stepped.kind(), Kind::Float);
        assert_eq!(stepped, step(&half.to_kind(Kind::Float)).prev_sample);
    }
}

/// The noise levels of Stable Diffusion 1.x, all else left to the classes.
fn stable_diffusion() -> Value {
    json!({
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "clip_sample": false,
    })
}

fn with(config: &Value, key: &str, value: Value) -> Value {
    let mut config = config.clone();
    config[key] = value;
    config
}

fn parse(config: &Value) -> SchedulerConfig {
    SchedulerConfig::from_json(&config.to_string()).unwrap()
}

fn scheduler(kind: SchedulerKind, config: &Value, steps: u64) -> Box<dyn Scheduler> {
    build(kind, &parse(config), Steps::try_from(steps as u32).unwrap()).unwrap()
}

/// Three unlike tensors of (1, 4, 1, 2).
fn latents() -> [Tensor; 3] {
    let phase = Tensor::arange(8, (Kind::Float, Device::Cpu)).view(SHAPE);
    [phase.sin(), (&phase * 1.7 + 1.0).cos(), (&phase * 0.6 + 2.0).sin()]
}

/// The largest difference over the largest magnitude; NaN counts as infinitely far.
fn relative_error(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    let error =
        (ours - theirs).abs().max().double_value(&[]) / theirs.abs().max().double_value(&[]);
    if error.is_nan() { f64::INFINITY } else { error }
}

fn close(ours: f64, theirs: f64) -> bool {
    ours.total_cmp(&theirs).is_eq() || (ours - theirs).abs() <= 2e-6 * theirs.abs()
}

/// Whether two σ are of one fp32 ᾱ: equal to 2e-6, or ᾱ to two units in its last place and what σ itself is rounded by.
/// Processors multiply a row in different orders, and of a small σ the other digits are lost in 1 - ᾱ.
fn close_sigma(ours: f64, theirs: f64) -> bool {
    let alpha_cumprod = |sigma: f64| 1.0 / (sigma * sigma + 1.0);
    let units = (alpha_cumprod(ours) - alpha_cumprod(theirs)).abs() / f64::from(f32::EPSILON / 2.0);
    close(ours, theirs) || (theirs < 1.0 && units <= 2.5)
}
