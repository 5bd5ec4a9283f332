//! Configurations of a single-file checkpoint, inferred from its tensor shapes.
//!
//! What shapes can't tell is taken from Stable Diffusion 1.x and 2.x: group norms with 32 groups, 8 attention heads
//! (1.x) or heads of 64 channels (2.x), the latents' scaling factor, the noise schedule.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::models::snapshot::ldm::LdmLayout;

/// Channels of an attention head in CLIP, and in the U-Net of Stable Diffusion 2.x.
const HEAD_DIM: i64 = 64;

/// Attention heads in the U-Net of Stable Diffusion 1.x.
const HEADS: i64 = 8;

/// Infers the configurations by component, in the form of the JSON files that a snapshot folder has, or names a
/// tensor without which that cannot be.
pub(super) fn infer(layout: &LdmLayout) -> Result<BTreeMap<&'static str, Value>, String> {
    Ok(BTreeMap::from([
        ("unet", unet(layout)?),
        ("vae", vae(layout)?),
        ("text_encoder", text(layout)?),
        ("scheduler", scheduler(layout)),
    ]))
}

fn unet(layout: &LdmLayout) -> Result<Value, String> {
    let dim = |key: &str, axis| dim(layout.unet(key), "model.diffusion_model", key, axis);
    let layers = layout.unet_layers_per_block;
    let first_block = |level: usize| 1 + level * (layers + 1);
    let mut channels = Vec::new();
    while let Ok(out) =
        dim(&format!("input_blocks.{}.0.out_layers.3.weight", first_block(channels.len())), 0)
    {
        channels.push(out);
    }
    let attends: Vec<bool> = (0..channels.len())
        .map(|it| {
            layout.unet(&format!("input_blocks.{}.1.proj_in.weight", first_block(it))).is_some()
        })
        .collect();
    let first = attends.iter().position(|&it| it).ok_or("no tensor of a U-Net's attention")?;
    let attention = format!("input_blocks.{}.1", first_block(first));
    let linear =
        layout.unet(&format!("{attention}.proj_in.weight")).is_some_and(|it| it.len() == 2);
    let heads = if linear {
        channels.iter().map(|it| (it / HEAD_DIM).max(1)).collect::<Vec<_>>().into()
    } else {
        Value::from(HEADS)
    };
    let types = |attending: &str, plain: &str, levels: &mut dyn Iterator<Item = &bool>| -> Value {
        levels.map(|&it| if it { attending } else { plain }).collect()
    };
    Ok(json!({
        "_class_name": "UNet2DConditionModel",
        "in_channels": dim("input_blocks.0.0.weight", 1)?,
        "out_channels": dim("out.2.weight", 0)?,
        "sample_size": 64,
        "block_out_channels": channels,
        "down_block_types": types("CrossAttnDownBlock2D", "DownBlock2D", &mut attends.iter()),
        "up_block_types": types("CrossAttnUpBlock2D", "UpBlock2D", &mut attends.iter().rev()),
        "layers_per_block": layers,
        "cross_attention_dim": dim(&format!("{attention}.transformer_blocks.0.attn2.to_k.weight"), 1)?,
        "attention_head_dim": heads,
        "use_linear_projection": linear,
        "norm_num_groups": 32,
    }))
}

fn vae(layout: &LdmLayout) -> Result<Value, String> {
    let dim = |key: &str, axis| dim(layout.vae(key), "first_stage_model", key, axis);
    let channels = (0..layout.vae_levels)
        .map(|it| dim(&format!("encoder.down.{it}.block.0.conv1.weight"), 0))
        .collect::<Result<Vec<_>, _>>()?;
    let layers = (0..)
        .take_while(|it| layout.vae(&format!("encoder.down.0.block.{it}.conv1.weight")).is_some());
    Ok(json!({
        "_class_name": "AutoencoderKL",
        "in_channels": dim("encoder.conv_in.weight", 1)?,
        "out_channels": dim("decoder.conv_out.weight", 0)?,
        "latent_channels": dim("decoder.conv_in.weight", 1)?,
        "sample_size": 512,
        "block_out_channels": channels,
        "down_block_types": vec!["DownEncoderBlock2D"; channels.len()],
        "up_block_types": vec!["UpDecoderBlock2D"; channels.len()],
        "layers_per_block": layers.count(),
        "norm_num_groups": 32,
        "mid_block_add_attention": layout.vae("encoder.mid.attn_1.q.weight").is_some(),
        "use_quant_conv": layout.vae("quant_conv.weight").is_some(),
        "use_post_quant_conv": layout.vae("post_quant_conv.weight").is_some(),
        "scaling_factor": 0.18215,
    }))
}

fn text(layout: &LdmLayout) -> Result<Value, String> {
    let dim = |key: &str, axis| dim(layout.text(key), "cond_stage_model", key, axis);
    let open_clip = layout.is_open_clip();
    let (position, fc1, layers) = if open_clip {
        let fc1 = "transformer.resblocks.0.mlp.c_fc.weight";
        ("positional_embedding", fc1, layout.open_clip_layers - 1)
    } else {
        let layers = (0..).take_while(|it| {
            layout.text(&format!("encoder.layers.{it}.layer_norm1.weight")).is_some()
        });
        ("embeddings.position_embedding.weight", "encoder.layers.0.mlp.fc1.weight", layers.count())
    };
    let tokens =
        if open_clip { "token_embedding.weight" } else { "embeddings.token_embedding.weight" };
    let (vocabulary, size) = (dim(tokens, 0)?, dim(tokens, 1)?);
    Ok(json!({
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "hidden_size": size,
        "intermediate_size": dim(fc1, 0)?,
        "num_hidden_layers": layers,
        "num_attention_heads": (size / HEAD_DIM).max(1),
        "max_position_embeddings": dim(position, 0)?,
        "hidden_act": if open_clip { "gelu" } else { "quick_gelu" },
        "layer_norm_eps": 1e-5,
        // CLIP's end token is the last of its vocabulary.
        "eos_token_id": vocabulary - 1,
    }))
}

/// The scheduler that InstructPix2Pix was published with.
fn scheduler(layout: &LdmLayout) -> Value {
    json!({
        "_class_name": "EulerAncestralDiscreteScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "timestep_spacing": "linspace",
        "steps_offset": 1,
        "prediction_type": if layout.is_open_clip() { "v_prediction" } else { "epsilon" },
    })
}

/// Size of a tensor along an axis.
fn dim(shape: Option<&[i64]>, prefix: &str, key: &str, axis: usize) -> Result<i64, String> {
    let shape = shape.ok_or_else(|| format!("no tensor `{prefix}.{key}`"))?;
    shape.get(axis).copied().ok_or_else(|| format!("`{prefix}.{key}` is {shape:?}"))
}
