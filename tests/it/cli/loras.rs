//! `--lora`, records of edits with it, and `retouch inspect --lora`.

use std::{fs, path::Path};

use half::f16;
use predicates::{prelude::*, str::contains};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

use super::{Desk, records::record, said, scene};

/// A module of the demo model's U-Net that reads the text, its outputs and inputs.
const MODULE: &str = "mid_block_attentions_0_transformer_blocks_0_attn2_to_v";
const SHAPE: [usize; 2] = [96, 128];

/// A LoRA of rank 1 for the demo model, at another strength for another level.
fn write(path: &Path, module: &str, [rows, columns]: [usize; 2], level: f32) {
    let bytes = |count: usize| -> Vec<u8> {
        let wave = |it: usize| f16::from_f32(level * (it as f32 * 0.7).sin());
        (0..count).flat_map(|it| wave(it).to_le_bytes()).collect()
    };
    let (down, up) = (bytes(columns), bytes(rows));
    let view = |data, shape| TensorView::new(Dtype::F16, shape, data).unwrap();
    let tensors = [
        (format!("lora_unet_{module}.lora_down.weight"), view(&down, vec![1, columns])),
        (format!("lora_unet_{module}.lora_up.weight"), view(&up, vec![rows, 1])),
    ];
    let metadata = [("ss_output_name".to_owned(), "style of a test".to_owned())].into();
    safetensors::serialize_to_file(tensors, Some(metadata), path).unwrap();
}

#[test]
fn an_edit_with_a_lora_is_made_again_with_that_lora_alone() {
    let desk = Desk::new();
    write(&desk.path("style.safetensors"), MODULE, SHAPE, 0.5);
    write(&desk.path("other.safetensors"), MODULE, SHAPE, 0.4);
    let common = ["--seed", "7", "--method", "instruct-pix2pix"];
    desk.edit(["-o", "plain.png"].into_iter().chain(common)).assert().success();
    let style = ["--lora", "style.safetensors:0.8", "-o", "styled.png"];
    desk.edit(style.into_iter().chain(common)).assert().success();
    let [plain, styled] = ["plain.png", "styled.png"].map(|it| record(&desk, it));
    assert_eq!(plain["loras"], json!([]));
    let lora = &styled["loras"][0];
    assert_eq!((&lora["name"], &lora["scale"]), (&json!("style.safetensors"), &json!(0.8)));
    assert_ne!(plain["model_digest"], styled["model_digest"]);
    let pixels = |name: &str| image::open(desk.path(name)).unwrap().into_rgb8();
    assert_ne!(pixels("plain.png"), pixels("styled.png"), "a LoRA changes the edit");

    let again = |record: &str, more: &[&str]| {
        let mut edit =
            desk.retouch(["edit", "--params-from", record, "--force", "-o", "again.png"]);
        edit.arg(scene()).args(more);
        edit
    };
    let same = said(&mut again("styled.png", &["--lora", "style.safetensors:0.8"]));
    assert!(same.contains("again: every pixel of styled.png"), "{same}");
    for more in [
        &[][..],
        &["--lora", "style.safetensors"],
        &["--lora", "other.safetensors:0.8"],
        &["--lora", "style.safetensors:0.8", "--lora", "other.safetensors"],
    ] {
        let refused = again("styled.png", more).assert().code(3);
        refused.stderr(contains("give --lora style.safetensors:0.8 (SHA-256 "));
    }
    let refused = again("plain.png", &["--lora", "style.safetensors"]).assert().code(3);
    refused.stderr(contains("it was made without LoRAs; leave --lora out"));
}

#[test]
fn a_lora_that_can_not_be_merged_ends_the_command_by_what_is_wrong() {
    let desk = Desk::new();
    write(&desk.path("wide.safetensors"), MODULE, [320, 768], 0.5);
    write(&desk.path("lost.safetensors"), "mid_block_attentions_7_proj_in", SHAPE, 0.5);
    fs::write(desk.path("style.pt"), b"PK\x03\x04").unwrap();
    for (lora, words) in [
        ("wide.safetensors", "another width"),
        ("lost.safetensors", "`lora_unet_mid_block_attentions_7_proj_in.lora_down.weight`"),
        ("style.pt", "pickle"),
        ("nowhere.safetensors", "no LoRA at nowhere.safetensors"),
    ] {
        let run = desk.edit(["--lora", lora, "-o", "no.png"]).assert().code(5);
        run.stderr(contains(lora).and(contains(words)));
        assert!(!desk.path("no.png").exists());
    }
    desk.edit(["--lora", "wide.safetensors:11", "-o", "no.png"]).assert().code(2);
    let run =
        desk.edit(["--lora", "a", "--server", "localhost:1", "-o", "no.png"]).assert().code(2);
    run.stderr(contains("--lora"));
}

#[test]
fn inspect_says_what_a_lora_is_for_and_whether_it_fits() {
    let desk = Desk::new();
    write(&desk.path("style.safetensors"), MODULE, SHAPE, 0.5);
    write(&desk.path("wide.safetensors"), MODULE, [320, 768], 0.5);
    let inspect = |args: &[&str]| desk.retouch(["inspect", "--lora"]).args(args).assert();
    let text = inspect(&["wide.safetensors"]).success();
    let said = contains("Stable Diffusion").and(contains("style of a test"));
    text.stdout(said.and(contains("denoiser cross-attention: 1 matrix")));
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-model");
    let fits = inspect(&["style.safetensors", "--model", demo, "--json"]).success();
    let fits: Value = serde_json::from_slice(&fits.get_output().stdout).unwrap();
    assert_eq!((&fits["fits"], &fits["ranks"]), (&json!(true), &json!([1, 1])));
    assert_eq!(fits["metadata"]["ss_output_name"], "style of a test");
    let misfit = inspect(&["wide.safetensors", "--model", demo]).code(5);
    misfit.stdout(contains("fits")).stderr(contains("another width"));
}
