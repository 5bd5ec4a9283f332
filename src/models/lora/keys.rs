//! The keys of a LoRA file: which network and module a tensor is for, and which factor of the change it is.

/// Which network a change is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Net {
    /// The U-Net or transformer that is denoised with.
    Denoiser,
    /// The first text encoder.
    TextEncoder,
    /// Another one, which no model here has.
    OtherTextEncoder,
}

/// A module of a network. Its name has `_` where the network's has `.`, as kohya writes it, so that all layouts agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Module {
    pub(super) net: Net,
    pub(super) name: String,
}

/// What a tensor is of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Factor {
    /// The matrix into the low rank, (r, in, …).
    Down,
    /// The matrix out of it, (out, r, …).
    Up,
    /// The number that is divided by the rank to the scale.
    Alpha,
    /// `LoKr`: the first matrix of the Kronecker product, whole or as two.
    W1,
    W1A,
    W1B,
    /// The second one.
    W2,
    W2A,
    W2B,
}

/// What a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// A factor of a module's change.
    Factor(Module, Factor),
    /// A tensor of a method that is not merged.
    Other(&'static str),
    /// None of a known layout.
    Unknown,
}

/// Endings of keys.
const FACTORS: [(&str, Factor); 17] = [
    (".lora_down.weight", Factor::Down),
    (".lora_up.weight", Factor::Up),
    (".lora_A.weight", Factor::Down),
    (".lora_B.weight", Factor::Up),
    (".lora_A.default.weight", Factor::Down),
    (".lora_B.default.weight", Factor::Up),
    (".lora_linear_layer.down.weight", Factor::Down),
    (".lora_linear_layer.up.weight", Factor::Up),
    (".lora.down.weight", Factor::Down),
    (".lora.up.weight", Factor::Up),
    (".alpha", Factor::Alpha),
    (".lokr_w1", Factor::W1),
    (".lokr_w1_a", Factor::W1A),
    (".lokr_w1_b", Factor::W1B),
    (".lokr_w2", Factor::W2),
    (".lokr_w2_a", Factor::W2A),
    (".lokr_w2_b", Factor::W2B),
];

/// Endings of attention processors' keys, before diffusers 0.22.
const PROCESSORS: [(&str, Factor); 2] =
    [("_lora.down.weight", Factor::Down), ("_lora.up.weight", Factor::Up)];

/// Names in keys of methods that are not merged.
const OTHERS: [(&str, &str); 8] = [
    (".dora_scale", "DoRA"),
    (".lora_magnitude_vector", "DoRA"),
    (".hada_", "LoHa"),
    (".lora_mid.weight", "LoCon with a middle matrix (Tucker decomposition)"),
    (".lokr_t", "LoKr with a middle matrix (Tucker decomposition)"),
    (".oft_", "OFT"),
    (".glora_", "GLoRA"),
    (".on_input", "IA3"),
];

/// Endings of keys of whole differences; `.diff` stands in `model.diffusion_model.`, too.
const DIFFERENCES: [&str; 2] = [".diff", ".diff_b"];

/// Prefixes of modules with `_` for `.`.
const KOHYA: [(&str, Net); 5] = [
    ("lora_unet_", Net::Denoiser),
    ("lycoris_", Net::Denoiser),
    ("lora_te_", Net::TextEncoder),
    ("lora_te1_", Net::OtherTextEncoder),
    ("lora_te2_", Net::OtherTextEncoder),
];

/// Prefixes of modules in a network's own names.
const DOTTED: [(&str, Net); 6] = [
    ("unet.", Net::Denoiser),
    ("transformer.", Net::Denoiser),
    ("model.diffusion_model.", Net::Denoiser),
    ("diffusion_model.", Net::Denoiser),
    ("text_encoder.", Net::TextEncoder),
    ("text_encoder_2.", Net::OtherTextEncoder),
];

/// Modules of CLIP as diffusers' attention processors named them.
const TEXT_ATTENTION: [(&str, &str); 4] =
    [("to_q", "q_proj"), ("to_k", "k_proj"), ("to_v", "v_proj"), ("to_out", "out_proj")];

/// Reads a key.
pub(super) fn read(key: &str) -> Key {
    if let Some((_, method)) = OTHERS.iter().find(|(part, _)| key.contains(part)) {
        return Key::Other(method);
    }
    if DIFFERENCES.iter().any(|it| key.ends_with(it)) {
        return Key::Other("a file of whole differences");
    }
    let ends =
        |(ending, factor): &(&'static str, Factor)| Some((key.strip_suffix(ending)?, *factor));
    let (path, factor, is_processor) = match FACTORS.iter().find_map(ends) {
        Some((path, factor)) => (path, factor, false),
        None => match PROCESSORS.iter().find_map(ends) {
            Some((path, factor)) => (path, factor, true),
            None => return Key::Unknown,
        },
    };
    let module = module(path, is_processor);
    if module.name.is_empty() { Key::Unknown } else { Key::Factor(module, factor) }
}

/// The module of a path, without its network's prefix.
fn module(path: &str, is_processor: bool) -> Module {
    let path = path.strip_prefix("base_model.model.").unwrap_or(path);
    let after = |(prefix, net): &(&str, Net)| Some((path.strip_prefix(prefix)?, *net));
    if let Some((name, net)) = KOHYA.iter().find_map(after) {
        return Module { net, name: name.to_owned() };
    }
    // Without a prefix it is the denoiser's.
    let (name, net) = DOTTED.iter().find_map(after).unwrap_or((path, Net::Denoiser));
    // An alias of some exports, of which the first letters were cut off.
    let name = match name.strip_prefix("sformer_blocks.") {
        Some(rest) => format!("transformer_blocks.{rest}"),
        None => name.to_owned(),
    };
    let mut name = flat(&name.replace(".processor.", "."));
    if is_processor && net == Net::Denoiser && name.ends_with("_to_out") {
        name.push_str("_0");
    }
    if is_processor && net == Net::TextEncoder {
        let modern = |(old, new): &(&str, &str)| Some(format!("{}{new}", name.strip_suffix(old)?));
        name = TEXT_ATTENTION.iter().find_map(modern).unwrap_or(name);
    }
    Module { net, name }
}

/// A module's name with `_` for `.`.
pub(super) fn flat(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module_of(key: &str) -> (Net, String, Factor) {
        match read(key) {
            Key::Factor(module, factor) => (module.net, module.name, factor),
            other => panic!("{key}: {other:?}"),
        }
    }

    #[test]
    fn every_layout_names_the_same_module() {
        let block = "down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_out_0";
        for key in [
            "lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_out_0.lora_down.weight",
            "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_A.weight",
            "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora.down.weight",
            "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.processor.to_out_lora.down.weight",
            "down_blocks.0.attentions.1.transformer_blocks.0.attn1.processor.to_out_lora.down.weight",
            "base_model.model.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_A.default.weight",
            "model.diffusion_model.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.lora_A.weight",
        ] {
            assert_eq!(module_of(key), (Net::Denoiser, block.to_owned(), Factor::Down), "{key}");
        }
        let text = "text_model_encoder_layers_3_self_attn_out_proj";
        for key in [
            "lora_te_text_model_encoder_layers_3_self_attn_out_proj.lora_up.weight",
            "text_encoder.text_model.encoder.layers.3.self_attn.out_proj.lora_linear_layer.up.weight",
            "text_encoder.text_model.encoder.layers.3.self_attn.to_out_lora.up.weight",
            "text_encoder.text_model.encoder.layers.3.self_attn.out_proj.lora_B.weight",
        ] {
            assert_eq!(module_of(key), (Net::TextEncoder, text.to_owned(), Factor::Up), "{key}");
        }
        assert_eq!(module_of("lora_te2_text_projection.alpha").0, Net::OtherTextEncoder);
        assert_eq!(module_of("lycoris_mid_block_attentions_0_proj_in.lokr_w2_b").2, Factor::W2B);
        assert_eq!(
            module_of("diffusion_model.sformer_blocks.0.attn.to_q.lora_A.weight").1,
            "transformer_blocks_0_attn_to_q"
        );
    }

    #[test]
    fn other_methods_are_called_by_their_names_and_other_tensors_are_unknown() {
        let loha = read("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a");
        assert_eq!(loha, Key::Other("LoHa"));
        let dora = read("unet.mid_block.attentions.0.proj_in.lora_magnitude_vector.weight");
        assert_eq!(dora, Key::Other("DoRA"));
        let whole = read("lora_unet_conv_in.diff_b");
        assert_eq!(whole, Key::Other("a file of whole differences"));
        assert_eq!(read("conv_in.weight"), Key::Unknown);
        assert_eq!(read("model.diffusion_model.input_blocks.0.0.weight"), Key::Unknown);
        assert_eq!(read("emb_params"), Key::Unknown);
    }
}
