//! Model configurations: how keys are read, and what is refused.

use retouch::config_json::ConfigJsonError;
use retouch::models::{
    stable_diffusion::{
        autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
        unet_2d_condition::UNet2DConditionModel,
        unet_2d_condition_config::{BlockType, UNet2DConditionConfig},
    },
    weights::{
        Checkpoint,
        error::{TensorFault, WeightsError},
    },
};
use tch::{Device, Kind};

use super::config_text;

/// `unet/config.json` of the published InstructPix2Pix snapshot: what Stable Diffusion 1.5 says, with 8 channels in.
pub(super) const IP2P_UNET: &str = r#"{
    "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.12.0.dev0",
    "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": false, "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 8, "layers_per_block": 2,
    "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "class_embed_type": null, "dual_cross_attention": false, "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_class_embeds": null, "only_cross_attention": false, "resnet_time_scale_shift": "default",
    "upcast_attention": false, "use_linear_projection": false
}"#;

/// `vae/config.json` of the same snapshot.
const IP2P_VAE: &str = r#"{
    "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
    "sample_size": 256, "scaling_factor": 0.18215,
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]
}"#;

/// What a model asks of a checkpoint that has nothing.
fn asked_for(build: impl FnOnce(&Checkpoint)) -> Vec<(String, Vec<i64>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, b"\x02\0\0\0\0\0\0\0{}").unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    build(&checkpoint);
    let Err(WeightsError::Faults { faults, .. }) = checkpoint.finish() else {
        panic!("nothing was missing")
    };
    faults
        .into_iter()
        .map(|fault| match fault {
            TensorFault::Missing { key, expected } => (key, expected),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn parameters(tensors: &[(String, Vec<i64>)]) -> i64 {
    tensors.iter().map(|(_, shape)| shape.iter().product::<i64>()).sum()
}

#[test]
fn instruct_pix2pix_asks_for_the_published_tensors() {
    let unet = UNet2DConditionConfig::from_json(IP2P_UNET).unwrap();
    let tensors = asked_for(|checkpoint| {
        UNet2DConditionModel::new(&checkpoint.root(Kind::Float, Device::Cpu), &unet);
    });
    // Counted by instantiating diffusers' classes with the same configurations.
    assert_eq!((tensors.len(), parameters(&tensors)), (686, 859_532_484));
    for (key, shape) in [
        ("conv_in.weight", vec![320, 8, 3, 3]),
        ("time_embedding.linear_1.weight", vec![1280, 320]),
        ("down_blocks.1.resnets.0.conv_shortcut.weight", vec![640, 320, 1, 1]),
        ("down_blocks.0.attentions.0.proj_in.weight", vec![320, 320, 1, 1]),
        ("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", vec![1280, 768]),
        ("up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj.weight", vec![10240, 1280]),
        ("up_blocks.2.resnets.2.conv1.weight", vec![640, 960, 3, 3]),
        ("up_blocks.2.upsamplers.0.conv.bias", vec![640]),
    ] {
        assert!(tensors.contains(&(key.to_owned(), shape)), "{key}");
    }

    let vae = AutoencoderKlConfig::from_json(IP2P_VAE).unwrap();
    let tensors = asked_for(|checkpoint| {
        AutoencoderKl::new(&checkpoint.root(Kind::Float, Device::Cpu), &vae);
    });
    assert_eq!((tensors.len(), parameters(&tensors)), (248, 83_653_863));
    assert_eq!(vae.scale_factor(), 8);
}

#[test]
fn absent_keys_take_the_defaults_of_diffusers_classes() {
    let unet = UNet2DConditionConfig::from_json("{}").unwrap();
    let expected = UNet2DConditionConfig {
        sample_size: None,
        in_channels: 4,
        out_channels: 4,
        center_input_sample: false,
        flip_sin_to_cos: true,
        freq_shift: 0.0,
        down_block_types: [vec![BlockType::CrossAttn; 3], vec![BlockType::Plain]].concat(),
        up_block_types: [vec![BlockType::Plain], vec![BlockType::CrossAttn; 3]].concat(),
        block_out_channels: vec![320, 640, 1280, 1280],
        layers_per_block: vec![2; 4],
        transformer_layers_per_block: vec![1; 4],
        num_attention_heads: vec![8; 4],
        cross_attention_dim: 1280,
        downsample_padding: 1,
        norm_num_groups: 32,
        norm_eps: 1e-5,
        use_linear_projection: false,
    };
    assert_eq!(unet, expected);

    let vae = AutoencoderKlConfig::from_json("{}").unwrap();
    let expected = AutoencoderKlConfig {
        in_channels: 3,
        out_channels: 3,
        block_out_channels: vec![64],
        layers_per_block: 1,
        latent_channels: 4,
        norm_num_groups: 32,
        scaling_factor: 0.18215,
        use_quant_conv: true,
        use_post_quant_conv: true,
        mid_block_add_attention: true,
    };
    assert_eq!(vae, expected);
}

#[test]
fn lists_and_single_numbers_mean_what_diffusers_says() {
    let unet = UNet2DConditionConfig::from_json(&config_text("linear", "unet")).unwrap();
    assert_eq!(unet.num_attention_heads, [1, 2, 4]);
    assert_eq!(unet.transformer_layers_per_block, [1, 1, 2]);
    assert_eq!(unet.layers_per_block, [2, 2, 2]);
    assert_eq!(unet.sample_size, Some((8, 8)));
    assert_eq!(
        UNet2DConditionConfig::from_json(r#"{"sample_size": [12, 8]}"#).unwrap().sample_size,
        Some((12, 8))
    );
    assert_eq!(
        UNet2DConditionConfig::from_json(r#"{"act_fn": "Swish"}"#).unwrap().layers_per_block,
        [2; 4]
    );
    // One number, however it is written.
    assert!(UNet2DConditionConfig::from_json(r#"{"mid_block_scale_factor": 1.0}"#).is_ok());
}

#[test]
fn a_configuration_of_another_architecture_is_refused_by_key_and_value() {
    let cases = [
        (r#"{"_class_name": "UNet3DConditionModel"}"#, "`_class_name` is \"UNet3DConditionModel\""),
        (r#"{"class_embed_type": "timestep"}"#, "`class_embed_type` is \"timestep\""),
        (r#"{"addition_embed_type": "text_time"}"#, "`addition_embed_type` is \"text_time\""),
        (r#"{"only_cross_attention": true}"#, "`only_cross_attention` is true"),
        (r#"{"dual_cross_attention": true}"#, "`dual_cross_attention` is true"),
        (
            r#"{"resnet_time_scale_shift": "scale_shift"}"#,
            "`resnet_time_scale_shift` is \"scale_shift\"",
        ),
        (r#"{"encoder_hid_dim": 4096}"#, "`encoder_hid_dim` is 4096"),
        (r#"{"time_embedding_type": "fourier"}"#, "`time_embedding_type` is \"fourier\""),
        (r#"{"num_attention_heads": 8}"#, "`num_attention_heads` is 8"),
        (r#"{"mid_block_type": null}"#, "`mid_block_type` is null"),
        (r#"{"mid_block_scale_factor": 1.5}"#, "`mid_block_scale_factor` is 1.5"),
        (r#"{"conv_in_kernel": 1}"#, "`conv_in_kernel` is 1"),
        (r#"{"act_fn": "gelu"}"#, "`act_fn` is \"gelu\""),
    ];
    for (text, start) in cases {
        let error = UNet2DConditionConfig::from_json(text).unwrap_err();
        assert!(matches!(error, ConfigJsonError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().starts_with(start), "{error}");
    }
}

#[test]
fn a_malformed_configuration_is_refused_by_key_and_value() {
    let unets = [
        (
            r#"{"in_channels": 0}"#,
            "`in_channels` is 0 in config.json, expected a whole number from 1",
        ),
        (r#"{"in_channels": "8"}"#, "`in_channels` is \"8\""),
        (r#"{"norm_num_groups": null}"#, "`norm_num_groups` is null"),
        (r#"{"norm_num_groups": 48}"#, "`block_out_channels` is null"),
        (r#"{"block_out_channels": []}"#, "`block_out_channels` is []"),
        (r#"{"block_out_channels": [32, 64]}"#, "`down_block_types` is null"),
        (
            r#"{"down_block_types": ["AttnDownBlock2D"]}"#,
            "`down_block_types` is [\"AttnDownBlock2D\"]",
        ),
        (r#"{"layers_per_block": [2, 2]}"#, "`layers_per_block` is [2,2]"),
        (
            r#"{"transformer_layers_per_block": [[1], [1], [1], [1]]}"#,
            "`transformer_layers_per_block` is [[1],",
        ),
        (r#"{"attention_head_dim": 7}"#, "`attention_head_dim` is 7"),
        (r#"{"attention_head_dim": 0}"#, "`attention_head_dim` is 0"),
        (r#"{"cross_attention_dim": [768, 768, 768, 768]}"#, "`cross_attention_dim` is [768,"),
        (r#"{"downsample_padding": 2}"#, "`downsample_padding` is 2"),
        (r#"{"freq_shift": 160}"#, "`freq_shift` is 160"),
        (r#"{"use_linear_projection": 1}"#, "`use_linear_projection` is 1"),
        (r#"{"sample_size": [64]}"#, "`sample_size` is [64]"),
        ("[]", "config.json holds []"),
        ("{", "config.json is not readable as JSON"),
    ];
    for (text, start) in unets {
        let error = UNet2DConditionConfig::from_json(text).unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }
    let vaes = [
        (r#"{"_class_name": "AutoencoderTiny"}"#, "`_class_name` is \"AutoencoderTiny\""),
        (
            r#"{"down_block_types": ["AttnDownEncoderBlock2D"]}"#,
            "`down_block_types` is [\"AttnDownEncoderBlock2D\"]",
        ),
        (r#"{"block_out_channels": [32, 64]}"#, "`down_block_types` is null"),
        (r#"{"block_out_channels": [40]}"#, "`block_out_channels` is [40]"),
        (r#"{"shift_factor": 0.1}"#, "`shift_factor` is 0.1"),
        (r#"{"latents_mean": [0.0]}"#, "`latents_mean` is [0.0]"),
        (r#"{"scaling_factor": 0}"#, "`scaling_factor` is 0"),
        (r#"{"act_fn": "mish"}"#, "`act_fn` is \"mish\""),
    ];
    for (text, start) in vaes {
        let error = AutoencoderKlConfig::from_json(text).unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }
}
