//! Noise levels of every run, and the order in which noise is drawn.

use retouch::{
    edit::choices::Resize,
    picture::{frame::Frame, size::Size},
    pipelines::{EditPipeline, PipelineError, conditioning::LatentSize},
    sampling::{
        SchedulerKind,
        geometry::{Geometry, NativeSize},
    },
    schedulers::{
        History, SchedulerError,
        config::SchedulerConfig,
        flow_match_euler_discrete::{FlowMatchEulerDiscreteScheduler, empirical_mu},
        noise::NoiseTape,
    },
};
use tch::{Device, Kind, Tensor};

use super::{pipeline, recorded};
use crate::support::relative_error;

/// That of FLUX.2-klein as published, changed.
fn config(change: &[(&str, serde_json::Value)]) -> SchedulerConfig {
    let mut json = serde_json::json!({
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0,
        "use_dynamic_shifting": true, "base_shift": 0.5, "max_shift": 1.15, "shift_terminal": null,
    });
    for (key, value) in change {
        json[*key] = value.clone();
    }
    SchedulerConfig::from_json(&json.to_string()).unwrap()
}

fn sigmas(config: &SchedulerConfig, cells: i64, steps: u32) -> Vec<f32> {
    let steps = steps.try_into().unwrap();
    let mu = empirical_mu(cells, steps);
    FlowMatchEulerDiscreteScheduler::new(config, steps, mu).unwrap().sigmas().to_vec()
}

#[test]
fn noise_levels_are_those_of_diffusers_for_every_number_of_steps_and_size() {
    let recorded = recorded("klein.sigmas");
    let check = |name: &str, found: Vec<f32>| {
        let error = relative_error(&Tensor::from_slice(&found), &recorded.tensor(name));
        // fp32, a few operations.
        assert!(error < 5e-7, "{name}: {error:e}");
    };
    for cells in [64, 1024, 2304, 4096, 8192] {
        let found = (1..=50).flat_map(|steps| sigmas(&config(&[]), cells, steps));
        check(&format!("own.{cells}"), found.collect());
    }
    let fixed = ("use_dynamic_shifting", false.into());
    for (name, change) in [
        ("linear", vec![("time_shift_type", "linear".into())]),
        ("terminal", vec![("shift_terminal", 0.02.into())]),
        ("static", vec![fixed.clone()]),
        ("static_terminal", vec![fixed, ("shift", 1.5.into()), ("shift_terminal", 0.1.into())]),
    ] {
        let config = config(&change);
        let found = [2, 4, 25].into_iter().flat_map(|steps| sigmas(&config, 1024, steps));
        check(&format!("{name}.1024"), found.collect());
    }
    // One level can't be stretched.
    assert_eq!(sigmas(&config(&[("shift_terminal", 0.02.into())]), 1024, 1), [1.0, 0.0]);
}

#[test]
fn noise_is_drawn_cell_by_cell_as_by_diffusers() {
    let (model, expected) = (pipeline("klein"), recorded("klein.sigmas").tensor("noise"));
    let size = LatentSize { height: 4, width: 3 };
    let scheduler = model.scheduler(None, 4.try_into().unwrap(), size).unwrap();
    let tape = NoiseTape::draw(5, &expected.size(), scheduler.as_ref());
    assert_eq!(tape.initial(), &expected);
    assert!(scheduler.steps().iter().all(|step| tape.step(*step).is_none()));
}

#[test]
fn a_step_goes_along_the_velocity_and_tells_where_it_leads() {
    let model = pipeline("klein");
    let size = LatentSize { height: 8, width: 8 };
    let scheduler = model.scheduler(None, 4.try_into().unwrap(), size).unwrap();
    let steps = scheduler.steps().to_vec();
    assert_eq!(steps.len(), 4);
    assert_eq!((steps[0].timestep, steps[0].sigma), (1000.0, f64::INFINITY));
    let waves = |it: f64| (Tensor::arange(24, (Kind::Float, Device::Cpu)) * it).sin();
    let [clean, noise] = [0.7, 1.3].map(|it| waves(it).view([1, 2, 3, 4]));
    // The velocity between them leads from one to the other, at whatever level it starts.
    for step in steps {
        let noisy = scheduler.add_noise(&clean, &noise, step.index);
        let velocity = &noise - &clean;
        let out = scheduler.step(step, &velocity, &noisy, None, &mut History::default());
        let next = scheduler.add_noise(&clean, &noise, step.index + 1);
        assert!(relative_error(&out.pred_original_sample, &clean) < 1e-6);
        assert!(relative_error(&out.prev_sample, &next) < 1e-6);
        let level = model.noise_level(step.timestep as u32).unwrap();
        assert!((level.signal + level.noise - 1.0).abs() < 1e-9);
    }
    assert_eq!(scheduler.add_noise(&clean, &noise, 4), clean);
    assert!(matches!(
        model.noise_level(1001),
        Err(PipelineError::Scheduler(SchedulerError::NoTimestep { n_train: 1000, .. }))
    ));
}

#[test]
fn samplers_of_another_kind_are_refused_by_name() {
    let (model, size) = (pipeline("klein"), LatentSize { height: 8, width: 8 });
    let steps = 4.try_into().unwrap();
    assert!(model.scheduler(Some(SchedulerKind::FlowMatchEuler), steps, size).is_ok());
    for kind in SchedulerKind::OF_NOISE {
        let error = model.scheduler(Some(kind), steps, size).unwrap_err().to_string();
        let ends = error.ends_with("choose one of flow-match-euler");
        assert!(error.contains(kind.name()) && ends, "{error}");
    }
    for (key, value) in [("use_karras_sigmas", true), ("invert_sigmas", true)] {
        let config = config(&[(key, value.into())]);
        let error = FlowMatchEulerDiscreteScheduler::new(&config, steps, 1.0).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    let euler = SchedulerConfig::from_json(r#"{"_class_name": "EulerDiscreteScheduler"}"#).unwrap();
    assert!(euler.own_flow_sampler().is_err());
}

#[test]
fn sizes_of_pictures_that_are_not_resized_are_those_of_diffusers() {
    let native = NativeSize::Cropped { most_pixels: 1024 * 1024 };
    let geometry = Geometry { vae_scale_factor: 16, stride: 16, sample_size: 1024, native };
    let sizes = |width, height| {
        let input = Size::new(width, height);
        let (resized, frame) =
            (Resize::Native.resized(input, geometry), Resize::Native.frame(input, geometry));
        assert_eq!(frame.size, Resize::Native.work_size(input, geometry));
        (resized, frame)
    };
    let frame = |left, top, width, height| Frame { left, top, size: Size::new(width, height) };
    // By `Flux2ImageProcessor` and the pipeline's step 4.
    assert_eq!(sizes(512, 768), (Size::new(512, 768), frame(0, 0, 512, 768)));
    assert_eq!(sizes(1000, 700), (Size::new(1000, 700), frame(4, 6, 992, 688)));
    assert_eq!(sizes(1024, 1024), (Size::new(1024, 1024), frame(0, 0, 1024, 1024)));
    assert_eq!(sizes(4000, 3000), (Size::new(1182, 886), frame(7, 3, 1168, 880)));
    // A picture smaller than a cell is padded to one.
    assert_eq!(sizes(10, 40), (Size::new(10, 40), frame(0, 4, 16, 32)));
    // A picture that is fitted is seen whole.
    let fitted = Resize::Fit(None).frame(Size::new(4000, 3000), geometry);
    assert_eq!(fitted, frame(0, 0, 1024, 768));
}
