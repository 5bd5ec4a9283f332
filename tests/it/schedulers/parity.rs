//! Schedulers against diffusers' recorded trajectories, and noise against torch's (`tests/record/schedulers.py`).

use std::path::Path;

use retouch::sampling::SchedulerKind;
use retouch::schedulers::History;
use retouch::schedulers::noise::NoiseTape;
use safetensors::SafeTensors;
use serde_json::Value;
use tch::{Kind, Tensor};

use super::{SHAPE, close, close_sigma, relative_error, scheduler, stable_diffusion};

/// fp32, up to 100 steps: four times the worst error seen, where `v_prediction` in two steps cancels most digits.
const TOLERANCE: f64 = 2e-5;

#[test]
fn trajectories_match_diffusers() {
    let fixture = Fixture::read();
    let noise = fixture.tensor("noise");
    for case in fixture.described("cases") {
        let key = case["key"].as_str().unwrap();
        let scheduler =
            scheduler(kind(&case["kind"]), &case["config"], case["steps"].as_u64().unwrap());
        let recorded = fixture.tensor(key); // (steps, 18)
        assert_eq!(scheduler.steps().len() as i64, recorded.size()[0], "{key}");
        let init = case["init_noise_sigma"].as_f64().unwrap();
        assert!(close(scheduler.init_noise_sigma(), init), "{key}: starts at {init}");

        let mut sample = noise.get(0) * scheduler.init_noise_sigma();
        let mut history = History::default();
        for step in scheduler.steps() {
            let row = recorded.get(step.index as i64);
            let (timestep, sigma) = (row.double_value(&[0]), row.double_value(&[1]));
            if is_curved(&case["config"]) {
                // Between two training timesteps by logarithms, which processors round differently. A terminal SNR of
                // zero rounds a thousand factors of ᾱ once more, by 6e-8 each: they wander by 3e-6 in ln ᾱ, and ln σ
                // rises by 0.005 a timestep.
                let is_rescaled = case["config"]["rescale_betas_zero_snr"] == true;
                let bound = if is_rescaled { 1e-3 } else { 2e-4 };
                let is_close = (step.timestep - timestep).abs() <= bound;
                assert!(is_close, "{key}: timestep of {step:?} is {timestep}");
            } else {
                assert_eq!(step.timestep.to_bits(), timestep.to_bits(), "{key}: of {step:?}");
            }
            assert!(close_sigma(step.sigma, sigma), "{key}: sigma of {step:?} is {sigma}");

            // At the recorded timestep, whose digits were looked at above: here the step's own arithmetic counts.
            let model_output = fake_model(&scheduler.scale_model_input(&sample, *step), timestep);
            let drawn = noise.get(step.index as i64 + 1);
            let drawn = scheduler.draws_noise().then_some(&drawn);
            let output = scheduler.step(*step, &model_output, &sample, drawn, &mut history);
            let clean = output.pred_original_sample;
            sample = output.prev_sample;
            for (ours, theirs) in [(&sample, row.narrow(0, 2, 8)), (&clean, row.narrow(0, 10, 8))] {
                let error = relative_error(ours, &theirs.view(SHAPE));
                assert!(error < TOLERANCE, "{key}: {error:e} off at {step:?}");
            }
        }
    }
}

#[test]
fn noise_is_what_a_torch_generator_draws() {
    let fixture = Fixture::read();
    let scheduler = scheduler(SchedulerKind::EulerAncestral, &stable_diffusion(), 2);
    for described in fixture.described("tapes") {
        let key = described["key"].as_str().unwrap();
        let shape: Vec<i64> = serde_json::from_value(described["shape"].clone()).unwrap();
        let tape = NoiseTape::draw(described["seed"].as_u64().unwrap(), &shape, &*scheduler);
        let steps = scheduler.steps();
        let ours = [tape.initial(), tape.step(steps[0]).unwrap(), tape.step(steps[1]).unwrap()];
        for (index, ours) in ours.into_iter().enumerate() {
            let theirs = fixture.tensor(key).get(index as i64);
            if recorded_on_this_kind_of_cpu() {
                assert_eq!(*ours, theirs, "{key}, draw {index}");
            } else {
                assert!(relative_error(ours, &theirs) < 1e-6, "{key}, draw {index}");
            }
        }
    }
}

/// Whether the noise levels lie on a curve of their own.
fn is_curved(config: &Value) -> bool {
    ["karras", "exponential", "beta"].iter().any(|it| config[format!("use_{it}_sigmas")] == true)
}

/// The formula that stands in for a U-Net, as the recorder has it.
fn fake_model(scaled: &Tensor, timestep: f64) -> Tensor {
    (scaled * 0.3).tanh() + 0.1 * timestep.sin()
}

fn kind(name: &Value) -> SchedulerKind {
    SchedulerKind::ALL.into_iter().find(|kind| name == kind.name()).unwrap()
}

/// Whether libtorch takes the vector path here that the noise was recorded on.
fn recorded_on_this_kind_of_cpu() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// tests/fixtures/schedulers.safetensors.
struct Fixture(Vec<u8>);

impl Fixture {
    fn read() -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schedulers.safetensors");
        Self(std::fs::read(path).unwrap())
    }

    fn described(&self, what: &str) -> Vec<Value> {
        let (_, metadata) = SafeTensors::read_metadata(&self.0).unwrap();
        let described: Vec<Value> =
            serde_json::from_str(&metadata.metadata().as_ref().unwrap()[what]).unwrap();
        assert!(!described.is_empty());
        described
    }

    fn tensor(&self, key: &str) -> Tensor {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let view = tensors.tensor(key).unwrap();
        let shape: Vec<i64> = view.shape().iter().map(|it| *it as i64).collect();
        Tensor::from_data_size(view.data(), &shape, Kind::Float)
    }
}
