//! `--lora`, records of edits with it, and `retouch inspect --lora`.

use std::{fs, path::Path};

use half::f16;
use predicates::{prelude::*, str::contains};
use retouch::wire::v1::{GetServerInfoRequest, Lora};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

use super::{Desk, records::record, said, scene};
use crate::klein::snapshot;
use crate::service::process::Server;

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
    let comma = desk.edit(["--lora", "wide.safetensors:0,8", "-o", "no.png"]).assert().code(2);
    comma.stderr(contains("`0,8` behind `wide.safetensors:` is no weight"));
    let twice = ["--lora", "style.safetensors", "--lora", "./style.safetensors:0.5"];
    write(&desk.path("style.safetensors"), MODULE, SHAPE, 0.5);
    let twice = desk.edit(twice.into_iter().chain(["-o", "no.png"])).assert().code(5);
    twice.stderr(contains("./style.safetensors is given twice"));
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
    let text = inspect(&["wide.safetensors:0.8"]).success();
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

/// A module of the tiny klein's transformer in Black Forest Labs' names, three projections in one.
const FUSED: &str = "double_blocks_0_img_attn_qkv";
const FUSED_SHAPE: [usize; 2] = [144, 48];

#[test]
fn an_edit_of_klein_with_a_lora_is_made_again_with_that_lora_alone() {
    let desk = Desk::new();
    write(&desk.path("style.safetensors"), FUSED, FUSED_SHAPE, 0.5);
    let klein = snapshot("klein");
    let klein = klein.to_str().unwrap();
    let edit = |out: &str, more: &[&str]| {
        let mut edit = desk.retouch(["edit"]);
        edit.arg(scene()).args(["--model", klein, "--dtype", "fp32", "-o", out]).args(more);
        edit
    };
    let asked = ["make the red star blue", "--seed", "7", "--min-confidence", "0"];
    edit("plain.png", &asked).assert().success();
    let with = ["--lora", "style.safetensors:-0.7"];
    edit("styled.png", &[&asked[..], &with].concat()).assert().success();
    let lora = &record(&desk, "styled.png")["loras"][0];
    assert_eq!((&lora["name"], &lora["scale"]), (&json!("style.safetensors"), &json!(-0.7)));
    assert_ne!(desk.picture("plain.png"), desk.picture("styled.png"));

    let again = ["--params-from", "styled.png"];
    let same = said(&mut edit("again.png", &[&again[..], &with].concat()));
    assert!(same.contains("again: every pixel of styled.png"), "{same}");
    assert_eq!(desk.picture("again.png"), desk.picture("styled.png"));
    let refused = edit("no.png", &again).assert().code(3);
    refused.stderr(contains("give --lora style.safetensors:-0.7 (SHA-256 "));
    assert!(!desk.path("no.png").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_lora_edits_as_a_local_command_and_names_it_at_every_door() {
    let desk = Desk::new();
    write(&desk.path("style.safetensors"), FUSED, FUSED_SHAPE, 0.5);
    let (klein, style) = (snapshot("klein"), desk.path("style.safetensors"));
    let (klein, style) = (klein.to_str().unwrap(), format!("{}:0.8", style.display()));
    let server =
        Server::start_with(&desk.path("data"), &["--model", klein, "--lora", style.as_str()]);
    let asked = ["make the red star blue", "--seed", "7", "--min-confidence", "0"];
    let url = format!("http://{}", server.address());
    let edit = |flags: &[&str]| {
        desk.retouch(["edit"]).arg(scene()).args(asked).args(flags).assert().success();
    };
    edit(&["--server", url.as_str(), "-o", "remote.png"]);
    let local = ["--model", klein, "--dtype", "fp32", "--threads", "1"];
    edit(&[&local[..], &["--lora", style.as_str(), "-o", "local.png"]].concat());
    edit(&[&local[..], &["-o", "plain.png"]].concat());
    assert_eq!(desk.picture("remote.png"), desk.picture("local.png"));
    assert_ne!(desk.picture("remote.png"), desk.picture("plain.png"));
    let [remote, local] = ["remote.png", "local.png"].map(|it| record(&desk, it));
    assert_eq!(remote["loras"], local["loras"]);
    assert_eq!(remote["model_digest"], local["model_digest"]);

    let named = &remote["loras"][0];
    let sha256 = named["sha256"].as_str().unwrap();
    let info = server.client().await.get_server_info(GetServerInfoRequest {}).await.unwrap();
    let expected =
        Lora { name: "style.safetensors".to_owned(), sha256: sha256.to_owned(), weight: 0.8 };
    assert_eq!(info.into_inner().loras, [expected]);
    let json = |path: &str| -> Value {
        let answer = server.ask(path);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
    };
    let model = json("/v1/models/klein");
    let expected = json!([{"name": "style.safetensors", "sha256": sha256, "weight": 0.8}]);
    assert_eq!(model["loras"], expected);
    assert_eq!(json("/v1/models")["data"], json!([model]));
}
