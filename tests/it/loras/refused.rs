//! Files that are no LoRA for a model, each by what is wrong.

use std::{fs, path::Path};

use retouch::pipelines::lora;
use safetensors::{Dtype, tensor::TensorView};
use tempfile::TempDir;

use super::{file, model};

/// A file of zeros with these keys and shapes.
fn write(path: &Path, tensors: &[(&str, &[usize])]) {
    let data = vec![0; 1 << 20];
    let views = tensors.iter().map(|(key, shape)| {
        let bytes = 2 * shape.iter().product::<usize>();
        (*key, TensorView::new(Dtype::F16, shape.to_vec(), &data[..bytes]).unwrap())
    });
    safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, path).unwrap();
}

fn refusal(tensors: &[(&str, &[usize])]) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("style.safetensors");
    write(&path, tensors);
    lora::check(&path, &model("sd1")).unwrap_err().to_string()
}

/// A module that the fixture has, and its width.
const MODULE: &str = "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";

#[test]
fn keys_that_nothing_is_called_are_listed() {
    let pair = [
        (format!("lora_unet_{MODULE}.lora_down.weight"), vec![2, 24]),
        (format!("lora_unet_{MODULE}.lora_up.weight"), vec![8, 2]),
        ("lora_unet_down_blocks_9_attentions_0_proj_in.lora_down.weight".to_owned(), vec![2, 8]),
        ("lora_unet_down_blocks_9_attentions_0_proj_in.lora_up.weight".to_owned(), vec![8, 2]),
        ("emb_params".to_owned(), vec![3]),
    ];
    let pair: Vec<(&str, &[usize])> =
        pair.iter().map(|(key, shape)| (key.as_str(), shape.as_slice())).collect();
    let said = refusal(&pair);
    for key in ["`lora_unet_down_blocks_9_attentions_0_proj_in.lora_down.weight`", "`emb_params`"] {
        assert!(said.contains(key), "{said}");
    }
    assert!(said.contains("style.safetensors") && !said.contains(MODULE), "{said}");
}

#[test]
fn another_width_is_named() {
    let (down, up) = (
        format!("lora_unet_{MODULE}.lora_down.weight"),
        format!("lora_unet_{MODULE}.lora_up.weight"),
    );
    let said = refusal(&[(&down, &[2, 1024]), (&up, &[320, 2])]);
    assert!(said.contains("another width") && said.contains("320x1024"), "{said}");
    assert!(said.contains("8x24") && said.contains("attn2.to_k"), "{said}");
}

#[test]
fn another_family_is_named() {
    for (key, columns, family) in [
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 8, "Stable Diffusion XL"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k", 2048, "Stable Diffusion XL"),
        ("lora_unet_double_blocks_0_img_mod_lin", 8, "FLUX.1"),
        ("transformer.transformer_blocks.0.img_mlp.net.2", 8, "Qwen-Image"),
        ("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 8, "FLUX.2"),
        ("diffusion_model.blocks.0.cross_attn.k", 8, "Wan"),
    ] {
        let (down, up) = (format!("{key}.lora_down.weight"), format!("{key}.lora_up.weight"));
        let unet = format!("lora_unet_{MODULE}");
        let (more_down, more_up) =
            (format!("{unet}.lora_down.weight"), format!("{unet}.lora_up.weight"));
        let mut tensors: Vec<(&str, &[usize])> = vec![(&down, &[2, 8]), (&up, &[8, 2])];
        let wide = [2, columns];
        if key.contains("te2") {
            tensors.extend([(more_down.as_str(), &[2, 24][..]), (more_up.as_str(), &[8, 2][..])]);
        } else {
            tensors[0].1 = &wide;
        }
        let said = refusal(&tensors);
        assert!(said.contains(&format!("a LoRA for {family}")), "{key}: {said}");
        assert!(said.contains("the model is InstructPix2Pix"), "{key}: {said}");
    }
}

#[test]
fn other_methods_are_named() {
    let (down, up) = (
        format!("lora_unet_{MODULE}.lora_down.weight"),
        format!("lora_unet_{MODULE}.lora_up.weight"),
    );
    for (ending, method) in
        [("dora_scale", "DoRA"), ("hada_w1_a", "LoHa"), ("lora_mid.weight", "Tucker")]
    {
        let other = format!("lora_unet_{MODULE}.{ending}");
        let said = refusal(&[(&down, &[2, 24]), (&up, &[8, 2]), (&other, &[8, 2])]);
        assert!(said.contains(method) && said.contains("not supported"), "{said}");
    }
}

#[test]
fn half_a_change_and_a_file_of_no_lora_are_refused() {
    let down = format!("lora_unet_{MODULE}.lora_down.weight");
    let said = refusal(&[(&down, &[2, 24])]);
    assert!(said.contains("incomplete") && said.contains(MODULE), "{said}");
    let up = format!("lora_unet_{MODULE}.lora_up.weight");
    assert!(refusal(&[(&down, &[2, 24]), (&up, &[8, 3])]).contains("incomplete"));
    assert!(refusal(&[("conv_in.weight", &[8, 8, 3, 3])]).contains("is not a LoRA"));
    let missing = lora::summary(&file("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("no LoRA at"), "{missing}");
}

#[test]
fn pickles_are_refused_with_the_way_to_convert_them() {
    let folder = TempDir::new().unwrap();
    for name in ["style.pt", "style.bin", "style.safetensors"] {
        let path = folder.path().join(name);
        fs::write(&path, b"\x80\x02}q\x01.").unwrap();
        let said = lora::summary(&path).unwrap_err().to_string();
        assert!(said.contains("pickle"), "{said}");
    }
}
