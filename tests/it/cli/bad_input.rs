//! Bad input: an error of one line that names the cause and the remedy, an exit code, and no output file.

use std::{fs, path::Path};

use image::{GrayImage, ImageFormat, Luma, RgbImage};
use predicates::str::contains;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

use super::{Desk, scene};

/// Arguments after `edit`, `SCENE` being the scene; the exit code; what the message must say.
type Case = (&'static str, i32, &'static [&'static str]);

const PICTURES: &[Case] = &[
    ("missing.png|remove the star", 3, &["missing.png"]),
    ("text.png|remove the star", 3, &["text.png", "looks like text"]),
    ("empty.png|remove the star", 3, &["empty.png", "empty"]),
    ("truncated.png|remove the star", 3, &["truncated.png", "truncated"]),
    ("truncated.jpg|remove the star", 3, &["truncated.jpg", "truncated"]),
    ("gif.png|remove the star", 3, &["gif.png", "PNG, JPEG or WebP"]),
    ("bomb.png|remove the star", 3, &["60000x60000", "pixels"]),
    ("small.png|remove the star", 3, &["8x8", "at least 16 pixels"]),
    ("long.png|remove the star", 3, &["2000x20", "8 times"]),
    ("cmyk.jpg|remove the star", 3, &["CMYK", "RGB"]),
    (".|remove the star", 3, &["cannot read"]),
];

const VALUES: &[Case] = &[
    ("SCENE|", 2, &["instruction is empty"]),
    ("SCENE|  \t ", 2, &["instruction is empty"]),
    ("SCENE|!!!", 2, &["instruction has no words"]),
    ("SCENE|\u{feff}", 2, &["instruction has no words"]),
    ("SCENE|🦄", 2, &["instruction has no words"]),
    ("SCENE|<lora:detail:0.8> (:1.3)", 2, &["instruction has prompt syntax and no word"]),
    ("SCENE|remove the star|--steps|0", 2, &["steps is 0", "1 to 1000"]),
    ("SCENE|remove the star|--steps|1001", 2, &["steps is 1001", "1 to 1000"]),
    ("SCENE|remove the star|--steps|-3", 2, &["-3", "--steps"]),
    ("SCENE|remove the star|--steps|many", 2, &["many", "--steps"]),
    ("SCENE|remove the star|--localize-steps|0", 2, &["steps is 0", "1 to 1000"]),
    ("SCENE|remove the star|--text-guidance|NaN", 2, &["text guidance is NaN", "1 to 30"]),
    ("SCENE|remove the star|--text-guidance|0.5", 2, &["text guidance is 0.5", "1 to 30"]),
    ("SCENE|remove the star|--image-guidance|-1", 2, &["image guidance is -1", "0 to 30"]),
    ("SCENE|remove the star|--image-guidance|inf", 2, &["image guidance is inf", "0 to 30"]),
    ("SCENE|remove the star|--seed|-1", 2, &["-1", "--seed"]),
    ("SCENE|remove the star|--tau|1.5", 2, &["tau is 1.5", "0 to 1"]),
    ("SCENE|remove the star|--tau|nan", 2, &["tau is NaN", "0 to 1"]),
    ("SCENE|remove the star|--min-confidence|1.5", 2, &["min confidence is 1.5", "0 to 1"]),
    ("SCENE|remove the star|--k|1", 2, &["k is 1", "2 to 32"]),
    ("SCENE|remove the star|--size|fit:4", 2, &["fit:4", "16 to 8192"]),
    ("SCENE|remove the star|--size|native|--max-pixels|100", 2, &["64x64", "--max-pixels"]),
    ("SCENE|remove the star|--method|magic", 2, &["magic", "iam-edit"]),
    ("SCENE|remove the star|--scheduler|plms", 2, &["plms", "euler-ancestral"]),
    ("SCENE|remove the star|-n|0", 2, &["0", "1..=100"]),
    ("SCENE|remove the star|--colour|red", 2, &["--colour", "--help"]),
    ("SCENE", 2, &["INSTRUCTION"]),
    ("SCENE|remove the star|--compare|instruct-pix2pix", 2, &["--maps"]),
    ("SCENE|make the star red|--object|?!", 4, &["?!"]),
    ("SCENE|make the star red|--object|“”", 4, &["“”", "names no object"]),
    ("SCENE|colorless green ideas|--strict", 4, &["colorless green ideas", "name the object"]),
];

const MASKS: &[Case] = &[
    ("SCENE|remove the star|--box|30,30,10,10", 2, &["reversed"]),
    ("SCENE|remove the star|--box|1,2,3", 2, &["x0,y0,x1,y1"]),
    ("SCENE|remove the star|--box|10,10,10,20", 2, &["is empty"]),
    ("SCENE|remove the star|--box|0,0,65,64", 3, &["0,0,65,64", "outside"]),
    ("SCENE|remove the star|--box|10%,10,20,20", 2, &["percent"]),
    ("SCENE|remove the star|--clusters|0", 2, &["no cluster 0", "1 to 10"]),
    ("SCENE|remove the star|--clusters|13", 2, &["no cluster 13", "1 to 10"]),
    ("SCENE|remove the star|--clusters|1|--method|instruct-pix2pix", 2, &["finds no clusters"]),
    ("SCENE|remove the star|--invert-mask|--method|instruct-pix2pix", 2, &["no mask to invert"]),
    ("SCENE|remove the star|--clusters|two", 2, &["two", "--clusters"]),
    ("SCENE|remove the star|--mask|black.png", 3, &["black.png", "to edit white"]),
    ("SCENE|remove the star|--mask|wide.png", 3, &["wide.png", "128x64", "aspect"]),
    ("SCENE|remove the star|--mask|text.png", 3, &["text.png"]),
    ("SCENE|remove the star|--mask|missing.png", 3, &["missing.png"]),
    ("SCENE|remove the star|--box|0,0,64,64|--invert-mask", 3, &["selects nothing"]),
    ("SCENE|remove the star|--dilate|513", 2, &["513", "0..=512"]),
    ("SCENE|remove the star|--localization|text.png", 3, &["text.png", "not a saved localization"]),
    ("SCENE|remove the star|--localization|missing.json", 3, &["missing.json"]),
];

const OUTPUTS: &[Case] = &[
    ("SCENE|remove the star|-o|out.gif", 7, &["out.gif", ".png, .jpg or .webp"]),
    ("SCENE|remove the star|-o|nowhere/out.png", 7, &["nowhere", "create it"]),
    ("SCENE|remove the star|-o|there.png", 7, &["there.png exists", "--force"]),
    ("SCENE|remove the star|-o|folder.png|--force", 7, &["folder.png", "not a regular file"]),
    ("SCENE|remove the star|-o|out.png|--quality|50", 2, &["lossless"]),
    ("SCENE|remove the star|-o|out.jpg|--quality|101", 2, &["101", "1 to 100"]),
    ("SCENE|remove the star|-o|out.jpg|--preserve|pixel", 2, &["PNG or WebP"]),
    ("SCENE|remove the star|-o|-|-n|2", 2, &["standard output"]),
    ("SCENE|remove the star|-o|out.png|--maps|there.png", 7, &["there.png"]),
];

const MODELS: &[Case] = &[
    ("SCENE|remove the star|--model|missing", 5, &["no model at", "model_index.json"]),
    ("SCENE|remove the star|--model|bare", 5, &["bare", "model_index.json"]),
    ("SCENE|remove the star|--model|no-vae", 5, &["vae/diffusion_pytorch_model.safetensors"]),
    ("SCENE|remove the star|--model|text-to-image", 5, &["8 input channels"]),
    ("SCENE|remove the star|--model|cut", 5, &["header promises"]),
    ("SCENE|remove the star|--model|nan", 5, &["conv_in.bias"]),
    ("SCENE|remove the star|--model|mixed", 5, &["`cross_attention_dim`", "take all parts"]),
    ("SCENE|remove the star|--model|pickle", 5, &["pickle", "safetensors"]),
    ("SCENE|remove the star|--model|pickle.ckpt", 5, &["pickle", "safetensors"]),
    ("SCENE|remove the star|--model|odd-settings", 5, &["retouch.json", "step"]),
    ("SCENE|remove the star|--model|text.safetensors", 5, &["text.safetensors"]),
    ("SCENE|remove the star|--device|tpu", 6, &["tpu", "cpu, cuda"]),
    ("SCENE|remove the star|--device|cuda:x", 6, &["cuda:x", "cpu, cuda"]),
    ("SCENE|remove the star|--dtype|int8", 2, &["int8", "bf16"]),
    ("SCENE|remove the star|--threads|0", 2, &["0", "--threads"]),
];

fn check(prepare: impl Fn(&Desk), cases: &[Case]) {
    let desk = Desk::new();
    prepare(&desk);
    let before = desk.files();
    let mut faults = Vec::new();
    for (typed, code, words) in cases {
        let mut command = desk.retouch(["edit"]);
        for arg in typed.split('|') {
            if arg == "SCENE" {
                command.arg(scene())
            } else {
                command.arg(arg)
            };
        }
        if !typed.contains("|-o|") {
            command.args(["-o", "out.png"]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // Notes before a failure are lines of their own.
        let error: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        let right = output.status.code() == Some(*code)
            && error.len() == 1
            && said.lines().next_back() == Some(error[0])
            && words.iter().all(|word| error[0].contains(word))
            && !said.contains("panicked");
        if !right {
            faults.push(format!("{typed}: exit {:?}\n{said}", output.status.code()));
        }
        assert_eq!(desk.files(), before, "{typed} left a file");
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_table_is_large() {
    assert!(
        [PICTURES, VALUES, MASKS, OUTPUTS, MODELS].map(<[Case]>::len).iter().sum::<usize>() >= 70
    );
}

#[test]
fn pictures_that_cannot_be_read() {
    check(
        |desk| {
            let put = |name: &str, bytes: &[u8]| fs::write(desk.path(name), bytes).unwrap();
            put("text.png", b"hello\n");
            put("empty.png", b"");
            put("gif.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;");
            let png = fs::read(scene()).unwrap();
            put("truncated.png", &png[..png.len() / 2]);
            let mut jpeg = std::io::Cursor::new(Vec::new());
            image::open(scene()).unwrap().write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
            put("truncated.jpg", &jpeg.get_ref()[..jpeg.get_ref().len() / 2]);
            put("bomb.png", &png_header(60_000, 60_000));
            RgbImage::new(8, 8).save(desk.path("small.png")).unwrap();
            RgbImage::new(2000, 20).save(desk.path("long.png")).unwrap();
            let cmyk =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/picture/cmyk.jpg");
            fs::copy(cmyk, desk.path("cmyk.jpg")).unwrap();
        },
        PICTURES,
    );
}

#[test]
fn values_that_cannot_be() {
    check(|_| {}, VALUES);
}

#[test]
fn masks_that_do_not_fit() {
    check(
        |desk| {
            GrayImage::new(64, 64).save(desk.path("black.png")).unwrap();
            GrayImage::from_pixel(128, 64, Luma([255])).save(desk.path("wide.png")).unwrap();
            fs::write(desk.path("text.png"), "hello\n").unwrap();
        },
        MASKS,
    );
}

#[test]
fn outputs_that_cannot_be_written() {
    check(
        |desk| {
            fs::copy(scene(), desk.path("there.png")).unwrap();
            fs::create_dir(desk.path("folder.png")).unwrap();
        },
        OUTPUTS,
    );
}

#[test]
fn models_and_devices_that_cannot_be_used() {
    check(
        |desk| {
            fs::create_dir(desk.path("bare")).unwrap();
            fs::remove_file(model(desk, "no-vae").join("vae/diffusion_pytorch_model.safetensors"))
                .unwrap();
            edit_text(
                &model(desk, "text-to-image").join("unet/config.json"),
                "\"in_channels\": 8",
                "\"in_channels\": 4",
            );
            let weights = model(desk, "cut").join("unet/diffusion_pytorch_model.safetensors");
            let bytes = fs::read(&weights).unwrap();
            fs::write(&weights, &bytes[..bytes.len() - 100]).unwrap();
            spoil(
                &model(desk, "nan").join("unet/diffusion_pytorch_model.safetensors"),
                "conv_in.bias",
            );
            mix(&model(desk, "mixed"));
            let unet = model(desk, "pickle").join("unet");
            fs::remove_file(unet.join("diffusion_pytorch_model.safetensors")).unwrap();
            fs::write(unet.join("diffusion_pytorch_model.bin"), "PK").unwrap();
            fs::write(desk.path("pickle.ckpt"), "PK").unwrap();
            fs::write(model(desk, "odd-settings").join("retouch.json"), "{\"step\": 20}").unwrap();
            fs::write(desk.path("text.safetensors"), "hello, this is text").unwrap();
        },
        MODELS,
    );
}

#[test]
fn inspect_shows_that_parts_do_not_fit_each_other() {
    let desk = Desk::new();
    mix(&model(&desk, "mixed"));
    let run = desk.retouch(["inspect", "--model", "mixed"]).assert().code(5);
    run.stdout(contains("misfit       `cross_attention_dim` of unet is 128"))
        .stdout(contains("usable       no"))
        .stderr(contains("`hidden_size` of text_encoder is 24"));
    let run = desk.retouch(["inspect", "--model", "mixed", "--json"]).assert().code(5);
    // What was found; the error is on standard error.
    let found: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(found["usable"], false);
    assert!(found["misfit"].as_str().unwrap().contains("take all parts from one model"));
}

/// A PNG that promises so many pixels and has none.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_chunk(png::chunk::IDAT, b"no pixels").unwrap();
    bytes
}

/// A copy of the demo model.
pub(super) fn model(desk: &Desk, name: &str) -> std::path::PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    let to = desk.path(name);
    for part in ["", "scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        fs::create_dir_all(to.join(part)).unwrap();
        for entry in fs::read_dir(from.join(part)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                fs::copy(entry.path(), to.join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    to
}

/// Puts another model's text encoder in the place of a model's own.
fn mix(model: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/sd1/text_encoder");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(from.join(name), model.join("text_encoder").join(name)).unwrap();
    }
}

fn edit_text(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{}: no `{old}`", path.display());
    fs::write(path, text.replace(old, new)).unwrap();
}

/// Makes the first number of a tensor of half precision NaN.
fn spoil(path: &Path, key: &str) {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(key).unwrap();
    assert_eq!(tensor.dtype(), Dtype::F16);
    let mut data = tensor.data().to_vec();
    data[..2].copy_from_slice(&0x7e00u16.to_le_bytes());
    let spoiled = TensorView::new(Dtype::F16, tensor.shape().to_vec(), &data).unwrap();
    let all = tensors.iter().map(
        |(name, view)| {
            if name == key { (name, spoiled.clone()) } else { (name, view) }
        },
    );
    safetensors::serialize_to_file(all, None, path).unwrap();
}
