//! What is told of a model, and of one that is put together from several.

use std::{fs, path::Path};

use retouch::{
    models::snapshot::Snapshot,
    pipelines::{
        guidance::Guidance,
        inspect::inspect,
        load::{self, LoadError},
    },
    sampling::SchedulerKind,
};
use tch::{Device, Kind, Tensor};

use crate::{
    flux2_files::{copy, copy_of_klein, klein, set},
    support::fixtures,
};

#[test]
fn a_model_is_told_by_its_sizes_its_blocks_and_what_of_it_is_loaded() {
    let found = inspect(&klein()).unwrap();
    assert_eq!((found.class.as_str(), found.fault()), ("Flux2KleinPipeline", None));
    // Cells of two by two, at an eighth of the picture's sides each.
    assert_eq!((found.sample_size, found.stride, found.vae_scale_factor), (64, 8, 8));
    assert_eq!(found.latent_channels, 16);
    assert_eq!((found.max_tokens, found.sampler), (48, SchedulerKind::FlowMatchEuler));
    assert!((20..48).contains(&found.instruction_tokens), "{}", found.instruction_tokens);
    assert_eq!((found.guidance, found.sampler_fault.is_none()), (Guidance::Distilled, true));
    let joint = found.joint_attention.unwrap();
    assert_eq!((joint.double_blocks, joint.single_blocks, joint.heads), (2, 3, 3));
    assert_eq!((joint.tokens, joint.grid), (48, (8, 8)));
    assert!(found.attention.is_empty());
    let names: Vec<&str> = found.parts.iter().map(|it| it.name).collect();
    assert_eq!(names, ["text_encoder", "transformer", "vae"]);
    // The last of four layers is read by nobody.
    let [encoder, transformer, _] = found.parts.as_slice() else { panic!("three networks") };
    let share = encoder.loaded_parameters as f64 / encoder.parameters as f64;
    assert!((0.7..0.9).contains(&share), "{share}");
    assert_eq!(transformer.loaded_parameters, transformer.parameters);
    let base = inspect(&fixtures().join("models/klein_base")).unwrap();
    assert_eq!((base.guidance, base.fault()), (Guidance::Cfg, None));
}

#[test]
fn parts_of_different_models_are_refused_by_key_and_value() {
    let refused = |change: &dyn Fn(&Path)| {
        let folder = copy_of_klein();
        change(folder.path());
        let found = inspect(folder.path()).unwrap();
        let fault = found.fault().unwrap().to_owned();
        let snapshot = Snapshot::open(folder.path()).unwrap();
        let error = load::load(&snapshot, Kind::Float, Device::Cpu).err().unwrap();
        assert!(matches!(error, LoadError::Parts { .. }), "{error}");
        assert_eq!(error.to_string(), fault);
        fault
    };
    assert_eq!(
        refused(&|it| set(it, "retouch.json", "text_encoder_out_layers", [1, 2].as_slice().into())),
        "`joint_attention_dim` of transformer is 96, expected 64, since `hidden_size` of text_encoder is 32; take all \
         parts from one model"
    );
    assert_eq!(
        refused(&|it| copy(&fixtures().join("models/klein_base/vae"), &it.join("vae"))),
        "`in_channels` of transformer is 16, expected 8, since `latent_channels` of vae is 2; take all parts from one \
         model"
    );
}

#[test]
fn a_network_without_one_of_its_tensors_is_named_with_it() {
    let folder = copy_of_klein();
    let path = folder.path().join("transformer/diffusion_pytorch_model.safetensors");
    let mut tensors = Tensor::read_safetensors(&path).unwrap();
    tensors.retain(|it| it.0 != "single_transformer_blocks.1.attn.to_out.weight");
    fs::remove_file(&path).unwrap();
    Tensor::write_safetensors(&tensors, &path).unwrap();
    let found = inspect(folder.path()).unwrap();
    let fault = found.fault().unwrap();
    assert!(
        fault.contains("1 missing: `single_transformer_blocks.1.attn.to_out.weight`"),
        "{fault}"
    );
    assert_eq!(found.parts[1].fault.as_deref(), Some(fault));
    // A layer that is not read may be missing, one below it not.
    let path = folder.path().join("text_encoder/model.safetensors");
    let tensors = Tensor::read_safetensors(&path).unwrap();
    for (layer, is_missed) in [(3, false), (2, true)] {
        let kept = tensors.iter().filter(|it| !it.0.contains(&format!("layers.{layer}.")));
        let kept: Vec<_> = kept.collect();
        fs::remove_file(&path).unwrap();
        Tensor::write_safetensors(&kept.iter().map(|it| (&it.0, &it.1)).collect::<Vec<_>>(), &path)
            .unwrap();
        let found = inspect(folder.path()).unwrap();
        assert_eq!(found.parts[0].fault.is_some(), is_missed, "layer {layer}");
    }
}

#[test]
fn a_scheduler_that_is_not_the_models_is_refused_by_its_name() {
    let folder = copy_of_klein();
    let name = "scheduler/scheduler_config.json";
    set(folder.path(), name, "_class_name", "DDIMScheduler".into());
    let error = inspect(folder.path()).unwrap_err();
    assert!(matches!(error, LoadError::Scheduler(_)), "{error}");
    assert!(error.to_string().contains("DDIMScheduler"), "{error}");
}
