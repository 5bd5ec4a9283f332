//! Configurations of FLUX.2 \[klein\] in its original layout, inferred from its tensor shapes.
//!
//! What shapes can't tell is taken from the published models: the rotary embedding, the noise schedule, the VAE's 32
//! groups.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::models::snapshot::bfl::{BflLayout, VaeFile};

/// The transformer's configuration, or a tensor without which it cannot be told.
pub(super) fn transformer(layout: &BflLayout) -> Result<Value, String> {
    let dim = |key: &str, axis| dim(&layout.shapes, key, axis);
    let blocks = |kind: &str, layer: &str| {
        let has = |it: usize| layout.shapes.contains_key(&format!("{kind}.{it}.{layer}.weight"));
        (0..layout.shapes.len()).take_while(|it| has(*it)).count()
    };
    let inner = dim("img_in.weight", 0)?;
    let head = dim("double_blocks.0.img_attn.norm.query_norm.scale", 0)?.max(1);
    Ok(json!({
        "_class_name": "Flux2Transformer2DModel",
        "patch_size": 1,
        "in_channels": dim("img_in.weight", 1)?,
        "num_layers": blocks("double_blocks", "img_attn.qkv"),
        "num_single_layers": blocks("single_blocks", "linear1"),
        "attention_head_dim": head,
        "num_attention_heads": inner / head,
        "joint_attention_dim": dim("txt_in.weight", 1)?,
        "timestep_guidance_channels": dim("time_in.in_layer.weight", 1)?,
        "mlp_ratio": dim("double_blocks.0.img_mlp.2.weight", 1)? as f64 / inner.max(1) as f64,
        "axes_dims_rope": [head / 4, head / 4, head / 4, head / 4],
        "rope_theta": 2000,
        "eps": 1e-6,
        "guidance_embeds": layout.shapes.contains_key("guidance_in.in_layer.weight"),
    }))
}

/// The VAE's configuration, or a tensor without which it cannot be told.
pub(super) fn vae(file: &VaeFile) -> Result<Value, String> {
    let dim = |key: &str, axis| dim(&file.shapes, key, axis);
    let has = |key: &str| file.shapes.contains_key(key);
    let channels = |way: &str| {
        let level = |it| dim(&format!("{way}.{it}.block.0.conv1.weight"), 0);
        (0..file.levels).map(level).collect::<Result<Vec<_>, _>>()
    };
    let (encoder, decoder) = (channels("encoder.down")?, channels("decoder.up")?);
    let layers = (0..).take_while(|it| has(&format!("encoder.down.0.block.{it}.conv1.weight")));
    let mut config = json!({
        "_class_name": "AutoencoderKLFlux2",
        "in_channels": dim("encoder.conv_in.weight", 1)?,
        "out_channels": dim("decoder.conv_out.weight", 0)?,
        "latent_channels": dim("decoder.conv_in.weight", 1)?,
        "block_out_channels": encoder,
        "down_block_types": vec!["DownEncoderBlock2D"; encoder.len()],
        "up_block_types": vec!["UpDecoderBlock2D"; encoder.len()],
        "layers_per_block": layers.count(),
        "norm_num_groups": 32,
        "sample_size": 1024,
        "mid_block_add_attention": has("encoder.mid.attn_1.q.weight"),
        "use_quant_conv": has("encoder.quant_conv.weight"),
        "use_post_quant_conv": has("decoder.post_quant_conv.weight"),
        "batch_norm_eps": 1e-4,
        "patch_size": [2, 2],
    });
    if decoder != encoder {
        config["decoder_block_out_channels"] = decoder.into();
    }
    Ok(config)
}

/// The scheduler that FLUX.2 \[klein\] is published with.
pub(super) fn scheduler() -> Value {
    json!({
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "num_train_timesteps": 1000,
        "shift": 3.0,
        "use_dynamic_shifting": true,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
        "shift_terminal": null,
        "time_shift_type": "exponential",
    })
}

/// Size of a tensor along an axis.
fn dim(shapes: &BTreeMap<String, Vec<i64>>, key: &str, axis: usize) -> Result<i64, String> {
    let shape = shapes.get(key).ok_or_else(|| format!("no tensor `{key}`"))?;
    shape.get(axis).copied().ok_or_else(|| format!("`{key}` is {shape:?}"))
}
