//! Messages: one line each, naming cause and remedy, without terminal control characters.

use std::{fs, path::Path};

use predicates::str::contains;
use serde_json::Value;

use super::{Desk, INSTRUCTION, bad_input::model, scene};

fn stderr(command: &mut assert_cmd::Command, code: i32) -> String {
    let run = command.assert().code(code);
    String::from_utf8(run.get_output().stderr.clone()).unwrap()
}

/// The last line of a command's standard error as JSON.
fn error(command: &mut assert_cmd::Command, code: i32) -> Value {
    let said = stderr(command, code);
    let last = said.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{said}: {error}"));
    value["error"].clone()
}

#[test]
fn files_that_are_no_weights_are_called_by_their_names() {
    let desk = Desk::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 335\n";
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("lfs.safetensors", pointer.as_bytes(), &["Git LFS pointer", "git lfs pull"]),
        ("model.gguf", b"GGUF\x03\0\0\0\0\0\0\0", &["GGUF", ".safetensors"]),
        ("login.safetensors", b"<!DOCTYPE html><html>", &["web page", "download it again"]),
        ("pickled.safetensors", b"\x80\x02}q\x01.", &["pickle", ".ckpt"]),
        ("zipped.safetensors", b"PK\x03\x04\x14\0\0\0", &["zip archive", "unpack"]),
        ("model.onnx", b"\x08\x08\x12\x07pytorch\x1a", &["ONNX", ".safetensors"]),
        ("empty.safetensors", b"", &["empty", "download it again"]),
        ("refusal.safetensors", b"{\"error\":\"gated\"}", &["JSON", "hf auth login"]),
    ];
    for (name, bytes, words) in cases {
        fs::write(desk.path(name), bytes).unwrap();
        let weights = model(&desk, "folder").join("unet/diffusion_pytorch_model.safetensors");
        fs::write(weights, bytes).unwrap();
        for path in [name, "folder"] {
            let said = stderr(&mut desk.retouch(["inspect", "--model", path]), 5);
            let has_all = words.iter().all(|word| said.contains(word));
            assert!(has_all && !said.contains("bytes in a file"), "{path} of {name}: {said}");
        }
    }
}

#[test]
fn models_that_lie_elsewhere_are_pointed_to() {
    let desk = Desk::new();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let cached = "hub/models--owner--name";
    fs::create_dir_all(desk.path(&format!("{cached}/snapshots"))).unwrap();
    fs::create_dir_all(desk.path(&format!("{cached}/refs"))).unwrap();
    fs::rename(model(&desk, "one"), desk.path(&format!("{cached}/snapshots/{hash}"))).unwrap();
    fs::write(desk.path(&format!("{cached}/refs/main")), hash).unwrap();
    fs::create_dir_all(desk.path("models--owner--half/blobs")).unwrap();
    fs::create_dir(desk.path("outer")).unwrap();
    fs::rename(model(&desk, "one"), desk.path("outer/inner")).unwrap();
    for (path, words) in [
        (cached, &["snapshots/0123456789"][..]),
        ("hub", &["snapshots/0123456789"]),
        ("models--owner--half", &["download the complete model again"]),
        ("outer", &["use outer/inner"]),
        ("outer/inner/unet", &["one part of a model", "the folder above"]),
        (
            "timbrooks/instruct-pix2pix",
            &["hf download timbrooks/instruct-pix2pix", "--model instruct"],
        ),
        ("https://huggingface.co/owner/name/tree/main", &["hf download owner/name"]),
        ("hf://owner/name", &["hf download owner/name"]),
        ("missing/../nothing/here", &["model_index.json"]),
    ] {
        let said = stderr(&mut desk.retouch(["inspect", "--model", path]), 5);
        assert!(words.iter().all(|word| said.contains(word)), "{path}: {said}");
    }
}

#[test]
fn weights_under_other_names_are_told() {
    let desk = Desk::new();
    let file = |name: &str| desk.path("model/unet").join(name);
    let plain = "diffusion_pytorch_model.safetensors";
    for (name, words) in [
        (
            "diffusion_pytorch_model.non_ema.safetensors",
            ["non_ema.safetensors` is a variant", "name it"],
        ),
        ("diffusion_pytorch_model.safetensors.incomplete", ["has not ended", "again"]),
        ("model.onnx", ["model.onnx", "not read"]),
    ] {
        model(&desk, "model");
        fs::rename(file(plain), file(name)).unwrap();
        let said = stderr(&mut desk.retouch(["inspect", "--model", "model"]), 5);
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
        fs::remove_dir_all(desk.path("model")).unwrap();
    }
    // Of half precision, either kind is read.
    for kind in ["fp16", "bf16"] {
        model(&desk, "model");
        fs::rename(file(plain), file(&format!("diffusion_pytorch_model.{kind}.safetensors")))
            .unwrap();
        desk.retouch(["inspect", "--model", "model"]).assert().success();
        fs::remove_dir_all(desk.path("model")).unwrap();
    }
    model(&desk, "model");
    fs::remove_file(file(plain)).unwrap();
    fs::create_dir_all(desk.path("model/.cache/huggingface/download/unet")).unwrap();
    fs::write(desk.path("model/.cache/huggingface/download/unet/x.incomplete"), "").unwrap();
    let said = stderr(&mut desk.retouch(["inspect", "--model", "model"]), 5);
    assert!(said.contains("hf download"), "{said}");
}

#[test]
fn a_byte_order_mark_is_no_matter() {
    let desk = Desk::new();
    let folder = model(&desk, "model");
    for name in [
        "model_index.json",
        "unet/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer_config.json",
        "retouch.json",
    ] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        fs::write(folder.join(name), format!("\u{feff}{text}")).unwrap();
    }
    desk.retouch(["inspect", "--model", "model"]).assert().success();
    let text = fs::read_to_string(folder.join("vae/config.json")).unwrap();
    let wide: Vec<u8> =
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    fs::write(folder.join("vae/config.json"), wide).unwrap();
    desk.retouch(["inspect", "--model", "model"]).assert().code(5).stderr(contains("UTF-16"));
}

/// Puts keys into the scheduler's configuration of a copy of the demo model.
fn with_scheduler(desk: &Desk, keys: &Value) {
    let path = model(desk, "model").join("scheduler/scheduler_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn a_sampler_that_cannot_be_is_told_before_the_work_with_those_that_can() {
    let desk = Desk::new();
    let class = "DPMSolverMultistepScheduler";
    with_scheduler(&desk, &serde_json::json!({"_class_name": class, "use_karras_sigmas": true}));
    desk.retouch(["inspect", "--model", "model"]).assert().success();
    let edit = |args: &[&str]| {
        let mut edit = desk.retouch(["edit"]);
        edit.arg(scene()).args([INSTRUCTION, "--model", "model", "--steps", "2", "-o", "out.png"]);
        edit.args(["--force"]).args(args);
        edit
    };
    edit(&[]).assert().success();

    with_scheduler(&desk, &serde_json::json!({"_class_name": class, "use_lu_lambdas": true}));
    let said = stderr(&mut edit(&[]), 5);
    assert!(
        said.contains("use_lu_lambdas") && said.contains("--scheduler: euler-ancestral"),
        "{said}"
    );
    assert!(!said.contains("step 1"), "{said}");
    edit(&["--scheduler", "euler"]).assert().success();
    let run = desk.retouch(["inspect", "--model", "model"]).assert().code(5);
    run.stdout(contains("usable       no")).stderr(contains("--scheduler: euler-ancestral"));

    let leading = serde_json::json!({"timestep_spacing": "leading", "steps_offset": 1});
    with_scheduler(&desk, &leading);
    let mut edit = desk.retouch(["edit"]);
    edit.arg(scene()).args([INSTRUCTION, "--model", "model", "--steps", "1000", "-o", "no.png"]);
    let said = stderr(&mut edit, 2);
    assert!(said.contains("too many") && said.contains("ask for fewer"), "{said}");
}

#[test]
fn lists_may_have_spaces_behind_their_commas() {
    let desk = Desk::new();
    desk.edit(["-o", "out.png", "--clusters", "1, 3", "--box", "1, 2, 30, 40"]).assert().success();
    let run = desk.edit(["-o", "no.png", "--clusters", "1, three"]).assert().code(2);
    run.stderr(contains("three"));
    let mut bench = desk.retouch(["bench", "localize"]);
    bench.arg(scene()).args([INSTRUCTION, "--steps", "1, 2", "--samplers", "ddim, euler"]);
    bench.args(["--averaged", "0-1, 0.5-1", "--device", "none"]);
    bench.assert().code(6).stderr(contains("unknown device"));
    let mut eval =
        desk.retouch(["eval", "missing.jsonl", "--methods", "iam-edit, instruct-pix2pix"]);
    eval.assert().code(3).stderr(contains("missing.jsonl"));
}

#[test]
fn variables_that_are_set_to_nothing_are_not_set() {
    let desk = Desk::new();
    for name in ["RETOUCH_MODEL", "RETOUCH_SERVER", "RETOUCH_API_KEY", "LIBTORCH"] {
        let run = desk.retouch(["inspect"]).env(name, "").assert().success();
        run.stdout(contains("demo-model"));
        desk.edit(["-o", "out.png", "--force"]).env(name, "").assert().success();
    }
    let mut serve = desk.retouch(["serve", "--print-config"]);
    for name in ["SERVER__LISTEN", "MODEL__PATH", "MODEL__THREADS", "JOBS__DATA_DIR", "LOG__LEVEL"]
    {
        serve.env(format!("RETOUCH__{name}"), "");
    }
    serve.assert().success().stdout(contains("127.0.0.1:50051"));
    desk.retouch(["jobs", "list"])
        .env("RETOUCH_SERVER", "")
        .assert()
        .code(2)
        .stderr(contains("--server URL"));
    // What is typed as nothing is wrong all the same.
    desk.retouch(["inspect", "--model", ""]).assert().code(2).stderr(contains("--model"));
}

#[test]
fn names_with_a_dash_in_front_are_told_how_to_be_written() {
    let desk = Desk::new();
    fs::copy(scene(), desk.path("-bee.png")).unwrap();
    let cases: [&[&str]; 3] = [
        &["edit", "-bee.png", INSTRUCTION],
        &["edit", "./-bee.png", INSTRUCTION, "-o", "-out.png"],
        &["edit", "./-bee.png", "-- the star"],
    ];
    for args in cases {
        let said = stderr(&mut desk.retouch(args.iter().copied()), 2);
        assert!(
            said.contains("begins with a dash") && said.contains("write ./-"),
            "{args:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1);
    }
    let args = ["edit", "--steps", "1", "--", "-bee.png", "- make the red star blue"];
    desk.retouch(args).assert().success();
    assert!(desk.path("-bee.edited.png").exists());
    let said = stderr(&mut desk.retouch(["edit", "a.png", "x", "--scheduller", "ddim"]), 2);
    assert!(said.contains("did you mean --scheduler"), "{said}");
}

#[test]
fn names_and_instructions_move_no_cursor() {
    let desk = Desk::new();
    let name = "be\u{1b}[31me\n\u{202e}.png";
    fs::copy(scene(), desk.path("a.png")).unwrap();
    let typed: [&[&str]; 4] = [
        &["edit", name, INSTRUCTION],
        &["edit", "a.png", INSTRUCTION, "-o", name, "--mask", "\u{1b}[2J.png"],
        &["inspect", "--model", name],
        &["jobs", "list", "--server", "\u{1b}[2J"],
    ];
    for args in typed {
        let output = desk.retouch(args.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !said.contains(['\u{1b}', '\u{202e}']) && said.contains("u{1b}"),
            "{args:?}: {said:?}"
        );
        assert_eq!(said.lines().count(), 1, "{said:?}");
    }
    // The parser of arguments leaves them out of what it repeats.
    let number = desk.edit(["--k", "\u{1b}[2J7x"]).assert().code(2);
    let said = String::from_utf8(number.get_output().stderr.clone()).unwrap();
    assert!(!said.contains('\u{1b}') && said.contains("--k"), "{said:?}");
    fs::copy(scene(), desk.path(name)).unwrap();
    let instruction = "make the red star\u{1b}[2J\nblue";
    let mut edit = desk.retouch(["edit", name, instruction, "--steps", "1"]);
    let output = edit.assert().success();
    let output = output.get_output();
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(text.clone()).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
    assert_eq!(String::from_utf8(output.stdout.clone()).unwrap().lines().count(), 1);
}

#[test]
fn errors_for_programs_are_on_standard_error_with_a_reason() {
    let desk = Desk::new();
    fs::write(desk.path("text.png"), "hello").unwrap();
    fs::copy(scene(), desk.path("there.png")).unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["edit", "missing.png", "x"], 3, "BAD_IMAGE"),
        (&["edit", "there.png", "x", "--mask", "text.png"], 3, "BAD_MASK"),
        (&["edit", "there.png", " "], 2, "INVALID_ARGUMENT"),
        (&["edit", "there.png", "x", "--steps", "0"], 2, "INVALID_ARGUMENT"),
        (&["edit", "there.png", "x", "--steps", "many"], 2, "INVALID_ARGUMENT"),
        (&["edit", "there.png"], 2, "INVALID_ARGUMENT"),
        (&["edit", "there.png", "x", "--model", "missing"], 5, "MODEL_UNUSABLE"),
        (&["edit", "there.png", "x", "--device", "tpu"], 6, "DEVICE_UNUSABLE"),
        (&["edit", "text.png", "x", "-o", "there.png"], 7, "OUTPUT_EXISTS"),
        (&["edit", "there.png", "x", "-o", "no/out.png"], 7, "OUTPUT_UNWRITABLE"),
        (&["edit", "there.png", "x", "--server", "http://127.0.0.1:1"], 8, "SERVER_UNREACHABLE"),
        (&["localize", "text.png", "x"], 3, "BAD_IMAGE"),
        (&["inspect", "--model", "missing"], 5, "MODEL_UNUSABLE"),
        (&["eval", "missing.jsonl"], 3, "BAD_MANIFEST"),
        (&["batch", "missing.jsonl", "--server", "http://127.0.0.1:1"], 3, "BAD_MANIFEST"),
        (&["jobs", "list", "--server", "nowhere"], 2, "INVALID_ARGUMENT"),
    ];
    for (args, code, reason) in cases {
        let mut command = desk.retouch(args.iter().copied());
        command.arg("--json");
        let found = error(&mut command, *code);
        assert_eq!(found["reason"], *reason, "{args:?}: {found}");
        assert!(found["message"].as_str().is_some_and(|it| !it.is_empty()));
        let stdout = command.output().unwrap().stdout;
        assert!(!String::from_utf8(stdout).unwrap().contains("\"error\""), "{args:?}");
    }
}

#[test]
fn a_cause_is_said_once() {
    let desk = Desk::new();
    fs::write(desk.path("keys.toml"), "key = 3").unwrap();
    let cases: &[&[&str]] = &[
        &["edit", "missing.png", "x"],
        &["inspect", "--model", "missing"],
        &["eval", "missing.jsonl"],
        &["serve", "--keys-file", "missing.toml", "--data-dir", "data"],
        &["serve", "--keys-file", "keys.toml", "--data-dir", "data"],
        &["serve", "--log-level", "retouch=loud"],
        &["serve", "--data-dir", "/dev/null/data"],
        &["jobs", "list", "--server", "http://127.0.0.1:1"],
        &["batch", "missing.jsonl", "--server", "http://127.0.0.1:1"],
    ];
    for args in cases {
        let output = desk.retouch(args.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.trim_end().lines().last().unwrap();
        let parts: Vec<&str> = said.split(": ").collect();
        for (index, part) in parts.iter().enumerate() {
            assert!(!parts[..index].contains(part), "{args:?} says `{part}` twice: {said}");
        }
    }
    let said = stderr(&mut desk.retouch(["serve", "--log-level", "retouch=loud"]), 2);
    assert!(
        said.contains("`retouch=loud`") && said.contains("debug") && !said.contains("expected `"),
        "{said}"
    );
}

#[test]
fn masks_come_from_files() {
    let desk = Desk::new();
    let run = desk.edit(["-o", "out.png", "--mask", "-"]).assert().code(2);
    run.stderr(contains("--mask takes a file"));
    let mut localize = desk.retouch(["localize"]);
    localize.arg(scene()).args([INSTRUCTION, "--save", "-"]);
    localize.assert().code(2).stderr(contains("--save takes a file"));
}

#[test]
fn a_whole_clip_serves_as_text_encoder() {
    let desk = Desk::new();
    let folder = model(&desk, "model").join("text_encoder");
    // The text model with what a whole CLIP has beside it, and its configuration inside the whole one.
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let one = [0u8; 4];
    let view =
        || safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &one).unwrap();
    let others = ["vision_model.post_layernorm.bias", "visual_projection.weight", "logit_scale"];
    let all = tensors.iter().map(|(name, view)| (name.to_owned(), view));
    let all = all.chain(others.map(|name| (name.to_owned(), view())));
    safetensors::serialize_to_file(all, None, &folder.join("whole.safetensors")).unwrap();
    fs::rename(folder.join("whole.safetensors"), folder.join("model.safetensors")).unwrap();
    let path: &Path = &folder.join("config.json");
    let config: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let whole =
        serde_json::json!({"model_type": "clip", "text_config": config, "vision_config": {}});
    fs::write(path, whole.to_string()).unwrap();
    desk.retouch(["inspect", "--model", "model"]).assert().success();
    desk.edit(["-o", "out.png", "--model", "model"]).assert().success();
}
