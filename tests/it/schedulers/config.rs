//! Scheduler configurations: accepted keys, and what is refused.

use retouch::config_json::ConfigJsonError;
use retouch::sampling::{SchedulerKind, Steps};
use retouch::schedulers::SchedulerError;
use retouch::schedulers::build::build;
use retouch::schedulers::config::SchedulerConfig;
use serde_json::json;

use super::{parse, scheduler, stable_diffusion, with};

#[test]
fn a_model_comes_with_its_own_sampler_or_a_stand_in() {
    let own = |class: &str| {
        let config = parse(&json!({ "_class_name": class })).own_sampler();
        config.map(|it| (it.kind, it.replaces))
    };
    let ancestral = SchedulerKind::EulerAncestral;
    assert_eq!(own("EulerAncestralDiscreteScheduler").unwrap(), (ancestral, None));
    assert_eq!(own("EulerDiscreteScheduler").unwrap(), (SchedulerKind::Euler, None));
    assert_eq!(own("DDIMScheduler").unwrap(), (SchedulerKind::Ddim, None));
    let solver = own("DPMSolverMultistepScheduler").unwrap();
    assert_eq!(solver, (SchedulerKind::DpmSolverPlusPlus2M, None));
    assert_eq!(own("LCMScheduler").unwrap(), (SchedulerKind::Lcm, None));
    assert_eq!(own("PNDMScheduler").unwrap(), (ancestral, Some("PNDMScheduler".to_owned())));
    let foreign = own("FlowMatchEulerDiscreteScheduler").unwrap_err();
    assert!(matches!(foreign, SchedulerError::UnsupportedClass { .. }));
    let nameless = parse(&json!({})).own_sampler().unwrap_err();
    assert!(nameless.to_string().contains("`_class_name`"), "{nameless}");
}

#[test]
fn what_is_not_built_in_is_refused_by_key_and_value() {
    use SchedulerKind::{Ddim, DpmSolverPlusPlus2M, Euler, EulerAncestral, Lcm};
    let cases = [
        (
            EulerAncestral,
            "prediction_type",
            json!("flow_prediction"),
            "epsilon, v_prediction, sample",
        ),
        (EulerAncestral, "timestep_spacing", json!("karras"), "linspace, leading, trailing"),
        (EulerAncestral, "beta_schedule", json!("sigmoid"), "squaredcos_cap_v2"),
        (EulerAncestral, "beta_start", json!(-1.0), "between 0 and 1"),
        (EulerAncestral, "beta_end", json!("high"), "between 0 and 1"),
        (EulerAncestral, "num_train_timesteps", json!(0), "1 to 100000"),
        (EulerAncestral, "num_train_timesteps", json!(12.5), "1 to 100000"),
        (EulerAncestral, "steps_offset", json!(1000), "`num_train_timesteps` - 1"),
        (
            EulerAncestral,
            "trained_betas",
            json!([0.1, 0.2]),
            "as many as `num_train_timesteps`, 1000",
        ),
        (EulerAncestral, "trained_betas", json!([0.1, 2]), "between 0 and 1"),
        (EulerAncestral, "rescale_betas_zero_snr", json!("yes"), "true or false"),
        (Euler, "interpolation_type", json!("log_linear"), "linear"),
        (Euler, "timestep_type", json!("continuous"), "discrete"),
        (Euler, "final_sigmas_type", json!("half"), "zero, sigma_min"),
        (Ddim, "thresholding", json!(true), "false"),
        (Ddim, "clip_sample_range", json!(-1), "above 0"),
        (DpmSolverPlusPlus2M, "algorithm_type", json!("sde-dpmsolver++"), "dpmsolver++"),
        (DpmSolverPlusPlus2M, "solver_order", json!(3), "2"),
        (DpmSolverPlusPlus2M, "solver_type", json!("heun"), "midpoint"),
        (DpmSolverPlusPlus2M, "lambda_min_clipped", json!(-5.1), "-Infinity"),
        (DpmSolverPlusPlus2M, "use_flow_sigmas", json!(true), "false"),
        (Lcm, "thresholding", json!(true), "false"),
        (Lcm, "original_inference_steps", json!(1001), "1 to `num_train_timesteps`"),
        (Lcm, "timestep_scaling", json!(0), "above 0"),
    ];
    for (kind, key, value, expected) in cases {
        let config = parse(&with(&stable_diffusion(), key, value));
        let error = build(kind, &config, Steps::try_from(10).unwrap()).unwrap_err();
        assert!(matches!(error, SchedulerError::Config(_)), "{key}: {error}");
        let message = error.to_string();
        assert!(message.contains(&format!("`{key}`")) && message.contains(expected), "{message}");
        assert!(message.contains("in scheduler_config.json"), "{message}");
    }
}

#[test]
fn a_curve_of_noise_levels_has_two_ends_and_is_alone() {
    let karras = with(&stable_diffusion(), "use_karras_sigmas", json!(true));
    for (key, value, expected) in [
        ("use_beta_sigmas", json!(true), "alone"),
        ("sigma_min", json!(-1), "above 0"),
        ("sigma_min", json!(100), "less than `sigma_max`"),
        ("sigma_max", json!("high"), "above 0"),
    ] {
        let config = parse(&with(&karras, key, value));
        for kind in [SchedulerKind::Euler, SchedulerKind::DpmSolverPlusPlus2M] {
            let error = build(kind, &config, Steps::try_from(10).unwrap()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
    for curve in ["karras", "exponential", "beta"] {
        let config = with(&stable_diffusion(), &format!("use_{curve}_sigmas"), json!(true));
        for steps in [1, 2, 50, 1000] {
            let scheduler = scheduler(SchedulerKind::Euler, &config, steps);
            assert_eq!(scheduler.steps().len() as u64, steps);
            let falls = scheduler.steps().windows(2).all(|it| it[0].sigma > it[1].sigma);
            assert!(falls, "{curve} {steps}");
        }
    }
}

#[test]
fn ddim_and_lcm_refuse_to_divide_by_a_signal_that_is_not_there() {
    let config = with(&stable_diffusion(), "rescale_betas_zero_snr", json!(true));
    let config = parse(&with(&config, "timestep_spacing", json!("trailing")));
    for kind in [SchedulerKind::Ddim, SchedulerKind::Lcm] {
        let error = build(kind, &config, Steps::try_from(10).unwrap()).unwrap_err();
        assert!(error.to_string().contains("`rescale_betas_zero_snr`"), "{error}");
    }
}

#[test]
fn a_key_of_another_sampler_is_no_matter() {
    // Each is refused by the class that reads it, and unknown to Euler ancestral.
    for (key, value) in [
        ("use_karras_sigmas", json!(true)),
        ("thresholding", json!(true)),
        ("solver_order", json!(3)),
        ("_diffusers_version", json!("0.12.0.dev0")),
    ] {
        let config = with(&stable_diffusion(), key, value);
        assert_eq!(scheduler(SchedulerKind::EulerAncestral, &config, 10).steps().len(), 10);
    }
}

#[test]
fn a_configuration_is_a_json_object_with_infinity_in_quotes() {
    let text = r#"{"lambda_min_clipped": "-Infinity", "trained_betas": null}"#;
    let config = SchedulerConfig::from_json(text).unwrap();
    assert!(
        build(SchedulerKind::DpmSolverPlusPlus2M, &config, Steps::try_from(10).unwrap()).is_ok()
    );
    for text in ["", "[]", "{", "{\"beta_end\": NaN}"] {
        let error = SchedulerConfig::from_json(text).unwrap_err();
        let SchedulerError::Config(error) = error else { panic!("{text}: {error:?}") };
        let refused =
            matches!(error, ConfigJsonError::Json { .. } | ConfigJsonError::NotAnObject { .. });
        assert!(refused, "{text}: {error:?}");
    }
}

#[test]
fn steps_that_would_coincide_are_refused() {
    let leading = with(&stable_diffusion(), "timestep_spacing", json!("leading"));
    let short = with(&stable_diffusion(), "num_train_timesteps", json!(50));
    for (kind, config, steps) in [
        (SchedulerKind::DpmSolverPlusPlus2M, &stable_diffusion(), 1000),
        (SchedulerKind::DpmSolverPlusPlus2M, &leading, 1000),
        (SchedulerKind::Ddim, &short, 51),
        (SchedulerKind::EulerAncestral, &with(&leading, "steps_offset", json!(1)), 1000),
    ] {
        let error = build(kind, &parse(config), Steps::try_from(steps).unwrap()).unwrap_err();
        assert!(matches!(error, SchedulerError::TooManySteps { .. }), "{kind:?}: {error}");
    }
    let steps = Steps::try_from(51).unwrap();
    let error = build(SchedulerKind::Lcm, &parse(&stable_diffusion()), steps).unwrap_err();
    assert!(matches!(error, SchedulerError::TooManyForDistilled { original: 50, .. }), "{error}");
    assert_eq!(
        scheduler(SchedulerKind::EulerAncestral, &stable_diffusion(), 1000).steps().len(),
        1000
    );
}
