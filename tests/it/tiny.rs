//! Tiny autoencoders against diffusers' class and TAESD's own network (`tests/record/tiny.py`).

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use retouch::{
    edit::settings::EditSettings,
    models::{
        autoencoder_tiny::{TinyDecoder, TinyEncoder},
        snapshot::Snapshot,
    },
    picture::decode::{self, InputLimits},
    pipelines::{EditPipeline, image_processor, load},
    wire::{
        spec::{self, SpecTerms},
        v1::{EditSpec, EventOptions, Image, PreviewDecode, image::Source},
    },
};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

/// fp32, 30 layers deep; ten times the largest error seen.
const TOLERANCE: f64 = 1e-4;
/// Folder of TAEF2's trained weights, which the repository does not hold.
const TRAINED: &str = "RETOUCH_TAEF2_WEIGHTS";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny").join(name)
}

fn record() -> HashMap<String, Tensor> {
    Tensor::read_safetensors(fixture("record.safetensors")).unwrap().into_iter().collect()
}

fn decoder(path: &Path) -> TinyDecoder {
    TinyDecoder::open(path, Kind::Float, Device::Cpu).unwrap()
}

fn encoder(path: &Path) -> TinyEncoder {
    TinyEncoder::open(path, Kind::Float, Device::Cpu).unwrap()
}

fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let most = |it: &Tensor| it.abs().max().double_value(&[]);
    most(&(found - expected)) / most(expected)
}

#[test]
fn every_layout_decodes_as_its_own_network_does() {
    let record = record();
    for (file, name) in [
        ("taesd", "taesd"),
        ("taesd/diffusion_pytorch_model.safetensors", "taesd"),
        ("taesd_decoder.safetensors", "taesd"),
        ("taef2_decoder.safetensors", "taef2"),
    ] {
        let decoder = decoder(&fixture(file));
        let found = decoder.decode(&record[&format!("{name}.latents")]);
        let error = error(&found, &record[&format!("{name}.decoded")]);
        assert!(error < TOLERANCE, "{file}: {error:e}");
        let channels = if name == "taesd" { 4 } else { 6 };
        assert_eq!((decoder.latent_channels, decoder.scale_factor), (channels, 8), "{file}");
    }
}

#[test]
fn a_folder_of_the_original_layout_is_read_by_the_names_of_its_halves() {
    let folder = tempfile::tempdir().unwrap();
    for half in ["taef2_decoder.safetensors", "taef2_encoder.safetensors"] {
        fs::copy(fixture(half), folder.path().join(half)).unwrap();
    }
    let record = record();
    let found = decoder(folder.path()).decode(&record["taef2.latents"]);
    assert!(error(&found, &record["taef2.decoded"]) < TOLERANCE);
    let found = encoder(folder.path()).encode(&record["taef2.pixels"]);
    assert!(error(&found, &record["taef2.encoded"]) < TOLERANCE);
    // Two of a kind are not chosen between.
    fs::copy(fixture("taesd_decoder.safetensors"), folder.path().join("taesd_decoder.safetensors"))
        .unwrap();
    assert!(TinyDecoder::open(folder.path(), Kind::Float, Device::Cpu).is_err());
}

#[test]
fn every_layout_encodes_as_its_own_network_does() {
    let record = record();
    for (file, name) in [("taesd", "taesd"), ("taef2_encoder.safetensors", "taef2")] {
        let found = encoder(&fixture(file)).encode(&record[&format!("{name}.pixels")]);
        let error = error(&found, &record[&format!("{name}.encoded")]);
        assert!(error < TOLERANCE, "{file}: {error:e}");
    }
}

#[test]
fn what_is_no_tiny_decoder_is_refused() {
    let refused =
        |path: &Path| TinyDecoder::open(path, Kind::Float, Device::Cpu).unwrap_err().to_string();
    let encoder = refused(&fixture("taef2_encoder.safetensors"));
    assert!(encoder.contains("no tiny decoder"), "{encoder}");
    let record = refused(&fixture("record.safetensors"));
    assert!(record.contains("no tiny decoder"), "{record}");
    let folder = TempDir::new().unwrap();
    let pickle = folder.path().join("taesd_decoder.pth");
    fs::write(&pickle, b"PK\x03\x04").unwrap();
    let pickle = refused(&pickle);
    assert!(pickle.contains("pickle") && pickle.contains("python -c"), "{pickle}");
    for (key, value) in [("act_fn", "\"gelu\""), ("_class_name", "\"AutoencoderKL\"")] {
        for file in ["config.json", "diffusion_pytorch_model.safetensors"] {
            fs::copy(fixture("taesd").join(file), folder.path().join(file)).unwrap();
        }
        let config = folder.path().join("config.json");
        let mut changed: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
        changed[key] = serde_json::from_str(value).unwrap();
        fs::write(&config, changed.to_string()).unwrap();
        let said = refused(folder.path());
        assert!(said.contains(&format!("`{key}`")), "{said}");
    }
}

#[test]
fn a_decoder_of_another_family_does_not_fit_a_model() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    let mut snapshot = Snapshot::open(&demo).unwrap();
    assert!(snapshot.preview_decoder().is_some(), "the demo model brings one");
    snapshot.set_preview_decoder(fixture("taef2_decoder.safetensors"));
    let said = load::load(&snapshot, Kind::Float, Device::Cpu).err().unwrap().to_string();
    assert!(said.contains("6 channels and 8 pixels a cell; the model's have 4 and 2"), "{said}");
}

#[test]
fn kleins_latents_are_shown_without_their_patches() {
    let klein = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/klein");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tiny_decoder.safetensors");
    let width = 8;
    let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.1;
    let conv = |out: i64, into: i64| random(&[out, into, 3, 3]);
    let mut tensors = vec![
        ("1.weight".to_owned(), conv(width, 4)),
        ("1.bias".to_owned(), random(&[width])),
        ("5.weight".to_owned(), conv(width, width)),
        ("8.weight".to_owned(), conv(width, width)),
        ("10.weight".to_owned(), conv(3, width)),
        ("10.bias".to_owned(), random(&[3])),
    ];
    for (block, layer) in [3, 6, 9].into_iter().flat_map(|it| [0, 2, 4].map(|layer| (it, layer))) {
        tensors.push((format!("{block}.conv.{layer}.weight"), conv(width, width)));
        tensors.push((format!("{block}.conv.{layer}.bias"), random(&[width])));
    }
    Tensor::write_safetensors(&tensors, &file).unwrap();
    let mut snapshot = Snapshot::open(&klein).unwrap();
    snapshot.set_preview_decoder(file.clone());
    let model = load::flux2_klein(&snapshot, Kind::Float, Device::Cpu).unwrap();
    let latents = Tensor::randn([1, 16, 5, 7], (Kind::Float, Device::Cpu));
    // Channels, rows and columns of a patch, which `Flux2KleinPipeline._unpatchify_latents` takes apart.
    let whole = latents.view([1, 4, 2, 2, 5, 7]).permute([0, 1, 4, 2, 5, 3]);
    let expected = decoder(&file).decode(&whole.reshape([1, 4, 10, 14]));
    assert_eq!(model.decode_tiny(&latents).unwrap(), image_processor::to_bytes(&expected));
    assert_eq!(expected.size(), [1, 3, 40, 56]);
}

#[test]
fn the_demo_models_previews_are_near_what_its_autoencoder_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let snapshot = Snapshot::open(&root.join("assets/demo-model")).unwrap();
    let pipeline = load::instruct_pix2pix(&snapshot, Kind::Float, Device::Cpu).unwrap();
    let picture = decode::read(&root.join("assets/example.png"), InputLimits::default()).unwrap();
    let picture = image::imageops::thumbnail(picture.picture.rgb.as_ref(), 64, 64);
    let latents = pipeline.encode_image(&picture).unwrap();
    let shown = image_processor::of_bytes(&pipeline.decode_tiny(&latents).unwrap());
    let whole = pipeline.decode(&latents).unwrap();
    let psnr = psnr(&pixels(&shown), &pixels(&whole));
    assert!(psnr > 28.0, "{psnr:.2} dB");
    // Decoders decide no pixel of a result.
    assert_eq!(pipeline.digest(), snapshot.digest().unwrap());
}

#[test]
fn a_server_shows_by_its_tiny_decoder_unless_a_job_asks_otherwise() {
    use PreviewDecode::{Linear, Tiny, Unspecified, Vae};
    let recommended = EditSettings::paper();
    let hour = Duration::from_secs(3600);
    let settled = |preview_decoder: bool, asked: PreviewDecode| {
        let terms = SpecTerms {
            model: "demo-model",
            recommended: &recommended,
            preview_decoder,
            default_ttl: hour,
            max_ttl: hour,
        };
        let image = Some(Image { source: Some(Source::Data(vec![0].into())) });
        let events = Some(EventOptions { preview_decode: asked as i32, ..EventOptions::default() });
        let instruction = "make the bee a bird".to_owned();
        let spec = EditSpec { image, instruction, events, ..EditSpec::default() };
        let spec = spec::normalize(spec, &terms);
        spec.map(|it| it.events.unwrap().preview_decode()).map_err(|it| format!("{it:?}"))
    };
    for (has_one, asked, shown) in [
        (true, Unspecified, Tiny),
        (true, Linear, Linear),
        (true, Vae, Vae),
        (true, Tiny, Tiny),
        (false, Unspecified, Linear),
    ] {
        assert_eq!(settled(has_one, asked), Ok(shown));
    }
    let refused = settled(false, Tiny).unwrap_err();
    assert!(refused.contains("events.preview_decode") && refused.contains("none"), "{refused}");
}

#[test]
fn trained_weights_of_taef2_come_as_near_to_photographs_as_the_reference() {
    let Some(folder) = env::var_os(TRAINED).map(PathBuf::from) else {
        eprintln!("skipped: {TRAINED} names no folder with TAEF2's trained weights");
        return;
    };
    let encoder = encoder(&folder.join("taef2_encoder.safetensors"));
    let decoder = decoder(&folder.join("taef2_decoder.safetensors"));
    let recorded = fs::read_to_string(fixture("photographs.json")).unwrap();
    let recorded: HashMap<String, f64> = serde_json::from_str(&recorded).unwrap();
    assert_eq!(recorded.len(), 5);
    for (name, expected) in recorded {
        let path = fixture(&format!("{name}.png"));
        let picture = decode::read(&path, InputLimits::default()).unwrap().picture;
        let latents =
            encoder.encode(&image_processor::to_tensor(picture.rgb.as_ref(), Device::Cpu));
        let shown = image_processor::to_image(&decoder.decode(&latents));
        let found = psnr(&pixels(&shown), &pixels(picture.rgb.as_ref()));
        eprintln!("{name}: {found:.4} dB, the reference {expected:.4} dB");
        assert!((found - expected).abs() < 0.1, "{name}: {found:.4} dB, not {expected:.4} dB");
    }
}

fn pixels(image: &image::RgbImage) -> Tensor {
    image_processor::to_tensor(image, Device::Cpu) / 2.0 // of a range of 1
}

fn psnr(found: &Tensor, wanted: &Tensor) -> f64 {
    let error = (found - wanted).square().mean(Kind::Double).double_value(&[]);
    -10.0 * error.log10()
}
