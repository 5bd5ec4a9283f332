//! The names of FLUX.2's modules in Black Forest Labs' layout, which kohya's trainer and ai-toolkit use too.

use crate::models::lora::merge::Rows;

/// Modules outside the blocks: diffusers' name, and the other one.
const OUTSIDE: [(&str, &str); 10] = [
    ("x_embedder", "img_in"),
    ("context_embedder", "txt_in"),
    ("time_guidance_embed.timestep_embedder.linear_1", "time_in.in_layer"),
    ("time_guidance_embed.timestep_embedder.linear_2", "time_in.out_layer"),
    ("time_guidance_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
    ("time_guidance_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
    ("double_stream_modulation_img.linear", "double_stream_modulation_img.lin"),
    ("double_stream_modulation_txt.linear", "double_stream_modulation_txt.lin"),
    ("single_stream_modulation.linear", "single_stream_modulation.lin"),
    ("proj_out", "final_layer.linear"),
];

/// Modules of a double block, with the part of a fused projection that they are.
const DOUBLE: [(&str, &str, Rows); 12] = [
    ("attn.to_q", "img_attn.qkv", Rows::Third(0)),
    ("attn.to_k", "img_attn.qkv", Rows::Third(1)),
    ("attn.to_v", "img_attn.qkv", Rows::Third(2)),
    ("attn.add_q_proj", "txt_attn.qkv", Rows::Third(0)),
    ("attn.add_k_proj", "txt_attn.qkv", Rows::Third(1)),
    ("attn.add_v_proj", "txt_attn.qkv", Rows::Third(2)),
    ("attn.to_out.0", "img_attn.proj", Rows::All),
    ("attn.to_add_out", "txt_attn.proj", Rows::All),
    ("ff.linear_in", "img_mlp.0", Rows::All),
    ("ff.linear_out", "img_mlp.2", Rows::All),
    ("ff_context.linear_in", "txt_mlp.0", Rows::All),
    ("ff_context.linear_out", "txt_mlp.2", Rows::All),
];

/// Modules of a single block.
const SINGLE: [(&str, &str); 2] = [("attn.to_qkv_mlp_proj", "linear1"), ("attn.to_out", "linear2")];

/// The module's other names, and which rows of a change under that name are its.
pub(super) fn aliases(module: &str) -> Vec<(String, Rows)> {
    if let Some((_, other)) = OUTSIDE.iter().find(|(own, _)| *own == module) {
        return vec![((*other).to_owned(), Rows::All)];
    }
    // Differs: diffusers takes a LoRA of this module over as it is, though scale and shift change places.
    if module == "norm_out.linear" {
        return vec![("final_layer.adaLN_modulation.1".to_owned(), Rows::SwappedHalves)];
    }
    let numbered = |prefix: &str| module.strip_prefix(prefix)?.split_once('.');
    if let Some((number, inner)) = numbered("transformer_blocks.") {
        let found = DOUBLE.iter().find(|(own, ..)| *own == inner);
        return found
            .map(|(_, other, rows)| (format!("double_blocks.{number}.{other}"), *rows))
            .into_iter()
            .collect();
    }
    if let Some((number, inner)) = numbered("single_transformer_blocks.") {
        let found = SINGLE.iter().find(|(own, _)| *own == inner);
        return found
            .map(|(_, other)| (format!("single_blocks.{number}.{other}"), Rows::All))
            .into_iter()
            .collect();
    }
    Vec::new()
}
