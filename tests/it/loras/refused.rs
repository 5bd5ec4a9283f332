//! Files that are no LoRA for a model, each by what is wrong.

use std::{fs, path::Path};

use retouch::{models::snapshot::Snapshot, pipelines::lora, sampling::lora::LoraChoice};
use safetensors::{Dtype, tensor::TensorView};
use tempfile::TempDir;

use super::{choice, file, klein, model};

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
    let said = refusal(&[("emb_params", &[8, 8])]);
    assert!(said.contains("is not a LoRA:") && said.contains("`emb_params`"), "{said}");
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

#[test]
fn the_weights_of_a_model_are_no_lora() {
    let unet = model("sd1").join("unet/diffusion_pytorch_model.safetensors");
    let said = lora::summary(&unet).unwrap_err().to_string();
    assert!(said.contains("is not a LoRA, but the weights of a model"), "{said}");
    // Nor are those of the original layout, whose names contain `.diff`.
    let keys: Vec<String> =
        (0..30).map(|it| format!("model.diffusion_model.input_blocks.{it}.0.weight")).collect();
    let tensors: Vec<(&str, &[usize])> =
        keys.iter().map(|key| (key.as_str(), &[2, 2][..])).collect();
    let said = refusal(&tensors);
    assert!(said.contains("is not a LoRA, but the weights of a model"), "{said}");
    assert!(said.contains("and 10 others"), "{said}");
}

#[test]
fn a_truncated_file_is_said_to_be_one() {
    let folder = TempDir::new().unwrap();
    let whole = fs::read(file("sd1-kohya")).unwrap();
    for length in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        let path = folder.path().join("style.safetensors");
        fs::write(&path, &whole[..length]).unwrap();
        let said = lora::summary(&path).unwrap_err().to_string();
        assert!(said.contains("style.safetensors is "), "{length}: {said}");
        assert!(said.contains("truncated") || said.contains("empty"), "{length}: {said}");
    }
}

#[test]
fn a_lora_is_merged_once() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("copy.safetensors");
    fs::copy(file("sd1-kohya"), &copy).unwrap();
    let mut snapshot = Snapshot::open(&model("sd1")).unwrap();
    let again = LoraChoice { path: copy, weight: 0.5.try_into().unwrap() };
    let said = lora::apply(&mut snapshot, &[choice("sd1-kohya", 1.0), again]);
    let said = said.unwrap_err().to_string();
    assert!(said.contains("copy.safetensors is given twice"), "{said}");
}

#[test]
fn a_folder_stands_for_the_lora_in_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let said = || lora::summary(path).unwrap_err().to_string();
    assert!(said().contains("`pytorch_lora_weights.safetensors`") && said().contains("none"));
    fs::copy(file("sd1-kohya"), path.join("style.safetensors")).unwrap();
    assert_eq!(lora::summary(path).unwrap().name, "style.safetensors");
    fs::copy(file("sd1-older"), path.join("lines.safetensors")).unwrap();
    assert!(said().contains("`lines.safetensors`, `style.safetensors`"), "{}", said());
    fs::write(path.join("pytorch_lora_weights.bin"), b"PK\x03\x04").unwrap();
    assert!(said().contains("pickle"), "{}", said());
    fs::copy(file("sd1-peft"), path.join("pytorch_lora_weights.safetensors")).unwrap();
    assert_eq!(lora::summary(path).unwrap().name, "pytorch_lora_weights.safetensors");
}

#[test]
fn the_alphas_of_pefts_own_folder_are_read() {
    let folder = TempDir::new().unwrap();
    let (down, up) = ("lora_A.weight", "lora_B.weight");
    let [first, second] = ["attn1.to_q", "attn2.to_k"]
        .map(|it| format!("base_model.model.mid_block.attentions.0.transformer_blocks.0.{it}"));
    let keys = [&first, &second].map(|it| [format!("{it}.{down}"), format!("{it}.{up}")]);
    let tensors: Vec<(&str, &[usize])> = keys
        .iter()
        .flat_map(|[down, up]| [(down.as_str(), &[4, 8][..]), (up.as_str(), &[8, 4][..])])
        .collect();
    write(&folder.path().join("adapter_model.safetensors"), &tensors);
    let bare = lora::summary(folder.path()).unwrap();
    assert_eq!(bare.scales, (1.0, 1.0));
    let mut digests = vec![bare.sha256];
    for (config, scales) in [
        (r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {}}"#, (2.0, 2.0)),
        (r#"{"r": 4, "lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 2}}"#, (0.5, 2.0)),
        (r#"{"r": 4, "lora_alpha": 8, "use_rslora": true, "use_dora": false}"#, (4.0, 4.0)),
    ] {
        fs::write(folder.path().join("adapter_config.json"), config).unwrap();
        let found = lora::summary(folder.path()).unwrap();
        assert_eq!(found.scales, scales, "{config}");
        digests.push(found.sha256);
    }
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count, "a scale is part of what a LoRA is");
    for (config, words) in [(r#"{"use_dora": true}"#, "DoRA"), ("{", "adapter_config.json")] {
        fs::write(folder.path().join("adapter_config.json"), config).unwrap();
        let said = lora::summary(folder.path()).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn numbers_that_are_none_are_refused_by_their_keys() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("style.safetensors");
    let (down, up) = (
        format!("lora_unet_{MODULE}.lora_down.weight"),
        format!("lora_unet_{MODULE}.lora_up.weight"),
    );
    for (dtype, words) in [(Dtype::F16, "has NaN or infinity"), (Dtype::F8_E4M3, "has the dtype")] {
        let data = [0xff; 96];
        let view = |shape: [usize; 2]| {
            let bytes = shape[0] * shape[1] * dtype.bitsize() / 8;
            TensorView::new(dtype, shape.to_vec(), &data[..bytes]).unwrap()
        };
        let tensors = [(&down, view([2, 24])), (&up, view([8, 2]))];
        safetensors::serialize_to_file(tensors, None, &path).unwrap();
        let said = lora::summary(&path).unwrap_err().to_string();
        assert!(said.contains("style.safetensors can't be used"), "{said}");
        assert!(said.contains(words) && said.contains(MODULE), "{said}");
    }
}

#[test]
fn a_lora_of_a_text_encoder_alone_does_not_fit_klein() {
    let klein = klein();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("style.safetensors");
    for (key, words) in [
        (
            "lora_te_text_model_encoder_layers_0_mlp_fc1",
            "a LoRA for the text encoder of Stable Diffusion, and the model is FLUX.2",
        ),
        ("text_encoder.model.layers.0.self_attn.q_proj", "changes the text encoder"),
    ] {
        let (down, up) = (format!("{key}.lora_A.weight"), format!("{key}.lora_B.weight"));
        write(&path, &[(&down, &[2, 8]), (&up, &[8, 2])]);
        let said = lora::check(&path, klein.path()).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    // One of Stable Diffusion for its text encoder fits a model of that kind.
    let key = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";
    let (down, up) = (format!("{key}.lora_down.weight"), format!("{key}.lora_up.weight"));
    write(&path, &[(&down, &[2, 24]), (&up, &[24, 2])]);
    lora::check(&path, &model("sd1")).unwrap();
}
