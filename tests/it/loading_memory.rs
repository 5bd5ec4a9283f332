//! Peak memory of loading weights, beyond the weights themselves.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    process::Command,
};

use image::RgbImage;
use retouch::{
    attention::{
        processor::AttnProcessor,
        qkv::{Qkv, Unrotated},
        role::Role,
        rotary::Rotary,
        site::{AttnSite, Keys, Span, Stage},
    },
    edit::settings::Modulation,
    editing::iam_edit::attn_modulator::AttnModulator,
    kernels::cpu::heap,
    models::{snapshot::Snapshot, weights::Checkpoint},
    pipelines::{inspect::inspect, load, lora},
    sampling::lora::LoraChoice,
};
use safetensors::Dtype;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::{
    flux2_files::{
        copy_of_klein,
        published::{Published, first_of_each},
        write_header, write_json,
    },
    weights::bytes,
};

/// Set in the child process that loads a file under the eyes of the memory test: the file, and the dtype.
const CHILD: &str = "RETOUCH_TEST_LOAD";

/// The same for the test of a model whose text encoder comes and goes: its folder.
const KLEIN: &str = "RETOUCH_TEST_KLEIN";

/// The same for the test of a model with LoRAs: its folder, and the LoRAs, a line each.
const LORAS: &str = "RETOUCH_TEST_LORAS";
/// The same for the test of a modulation: its name.
const MODULATION: &str = "RETOUCH_TEST_MODULATION";

const MIB: f64 = 1024.0 * 1024.0;

/// By how much its networks are narrower than the published ones.
const NARROWER: i64 = 8;

#[test]
fn loading_takes_at_most_15_percent_more_memory_than_the_tensors() {
    let folder = TempDir::new().unwrap();
    // An embedding, as large as CLIP's, and a U-Net's mix of layers: 330 MB in fp32.
    let mut shapes = vec![vec![49_408, 768]];
    for _ in 0..9 {
        shapes.extend([vec![640, 640, 3, 3], vec![640], vec![1280, 640], vec![1], vec![320, 320]]);
    }
    for (stored, target) in [(Dtype::F32, "fp32"), (Dtype::F32, "bf16"), (Dtype::F16, "fp32")] {
        let path = folder.path().join("model.safetensors");
        write_random(&path, stored, &shapes);
        let job = format!("{target} {}", path.display());
        let figures =
            figures_of("child_loads_under_the_eyes_of_the_memory_test", CHILD, &job, "PEAK ");
        let ratio = figures[0] / figures[1];
        println!("{stored:?} to {target}: {ratio:.3} of {} MB", figures[1] / 1e6);
        assert!(
            (0.9..=1.15).contains(&ratio),
            "{stored:?} to {target}: {ratio:.3} of the tensors' bytes"
        );
    }
}

#[test]
fn a_text_encoder_that_is_freed_leaves_its_memory_to_the_rest() {
    let (folder, _) = narrow_klein();
    let parts = inspect(folder.path()).unwrap().parts;
    let bytes = |name: &str| {
        let parts = parts.iter().filter(|it| name.is_empty() || it.name == name);
        parts.map(|it| 4 * it.loaded_parameters).sum::<u64>() as f64
    };
    let job = folder.path().display().to_string();
    let [peak, held] = figures_of(
        "child_reads_texts_under_the_eyes_of_the_memory_test",
        KLEIN,
        &job,
        "KLEIN ",
    )[..] else {
        panic!("two figures");
    };
    let (all, rest) = (bytes(""), bytes("") - bytes("text_encoder"));
    println!(
        "peak {:.3} of {} MB, then {:.3} of {} MB",
        peak / all,
        all / 1e6,
        held / rest,
        rest / 1e6
    );
    assert!((0.9..=1.25).contains(&(peak / all)), "{:.3} of the weights' bytes", peak / all);
    assert!((0.9..=1.4).contains(&(held / rest)), "{:.3} of the rest's bytes", held / rest);
}

#[test]
fn a_model_with_a_lora_is_as_large_as_one_without() {
    let (folder, transformer) = narrow_klein();
    let lora = folder.path().join("style.safetensors");
    // Each matrix of the transformer is changed.
    let mut tensors = BTreeMap::new();
    for (key, shape) in &transformer {
        let (Some(module), [rows, columns]) = (key.strip_suffix(".weight"), &shape[..]) else {
            continue;
        };
        tensors.insert(format!("transformer.{module}.lora_A.weight"), (vec![16, *columns], 0));
        tensors.insert(format!("transformer.{module}.lora_B.weight"), (vec![*rows, 16], 0));
    }
    write_header(&lora, &tensors, "BF16");
    let measure = |loras: &str| {
        let job = format!("{}\n{loras}", folder.path().display());
        let child = "child_loads_loras_under_the_eyes_of_the_memory_test";
        let [peak, held, bytes] = figures_of(child, LORAS, &job, "LORAS ")[..] else {
            panic!("three figures");
        };
        (peak, held, bytes)
    };
    let (without, with) = (measure(""), measure(&lora.display().to_string()));
    println!("peak, held, weights in bytes: without {without:?}, with {with:?}");
    assert!((0.9..=1.3).contains(&(without.1 / without.2)), "{without:?}");
    // Weights that stayed in fp32 would be twice as many bytes.
    assert!((0.9..=1.1).contains(&(with.1 / without.1)), "{without:?} and {with:?}");
    // While weights are read, memory of changes is given back every 64 MB; all in fp32 would be 250 MB more.
    assert!(with.0 - without.0 < 100e6, "{without:?} and {with:?}");
}

/// The other half of that test.
#[test]
#[ignore = "it is started by another test"]
fn child_loads_loras_under_the_eyes_of_the_memory_test() {
    let job = env::var(LORAS).unwrap();
    let (folder, loras) = job.split_once('\n').unwrap();
    let _ = Tensor::rand([1 << 18], (Kind::Float, Device::Cpu)).sum(Kind::Float).double_value(&[]);
    let bare = memory("RssAnon:");
    let mut snapshot = Snapshot::open(Path::new(folder)).unwrap();
    let loras: Vec<LoraChoice> =
        loras.split_terminator('\n').map(|it| it.parse().unwrap()).collect();
    lora::apply(&mut snapshot, &loras).unwrap();
    let parts = inspect(Path::new(folder)).unwrap().parts;
    let resident = parts.iter().filter(|it| it.name != "text_encoder");
    let bytes = resident.map(|it| 2 * it.loaded_parameters).sum::<u64>();
    let model = load::load(&snapshot, Kind::BFloat16, Device::Cpu).unwrap();
    let most = peak() - memory("RssFile:");
    println!("\nLORAS {} {} {bytes}", most - bare, memory("RssAnon:") - bare);
    drop(model);
}

/// The published model's blocks, narrower: 440 MB in fp32, of which the text encoder's are 195; and its transformer's
/// shapes.
fn narrow_klein() -> (TempDir, BTreeMap<String, Vec<i64>>) {
    let folder = copy_of_klein();
    // The published layers, and few tokens, since what attention needs for 512 is a part of the published size alone.
    write_json(folder.path(), "retouch.json", &json!({"max_sequence_length": 24}));
    let mut transformer = BTreeMap::new();
    for Published { name, config, shapes, .. } in first_of_each() {
        let place = folder.path().join(&name);
        for file in fs::read_dir(&place).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        write_json(&place, "config.json", &narrower(&config));
        let file = if name == "text_encoder" { "model" } else { "diffusion_pytorch_model" };
        let narrow = |it: i64| if it > 3 { it / NARROWER } else { it };
        let shapes = shapes.into_iter();
        let shapes: BTreeMap<String, Vec<i64>> =
            shapes.map(|(key, shape)| (key, shape.into_iter().map(narrow).collect())).collect();
        let tensors = shapes.iter().map(|(key, shape)| (key.clone(), (shape.clone(), 0)));
        write_header(&place.join(format!("{file}.safetensors")), &tensors.collect(), "F32");
        if name == "transformer" {
            transformer = shapes;
        }
    }
    (folder, transformer)
}

/// The other half of the test of texts.
#[test]
#[ignore = "it is started by another test"]
fn child_reads_texts_under_the_eyes_of_the_memory_test() {
    let folder = env::var(KLEIN).unwrap();
    // The bare process has libtorch and its threads awake.
    let _ = Tensor::rand([1 << 18], (Kind::Float, Device::Cpu)).sum(Kind::Float).double_value(&[]);
    let bare = memory("RssAnon:");
    let snapshot = Snapshot::open(Path::new(&folder)).unwrap();
    let model = load::load(&snapshot, Kind::Float, Device::Cpu).unwrap();
    let picture = RgbImage::new(64, 64);
    for text in ["make the red star blue", "remove the tree"] {
        drop(model.condition(text, "", &picture, &[Role::Text]).unwrap());
        model.release();
        // Of the most that it ever held, less libtorch's own code, of which a first edit needs ever more.
        let most = peak() - memory("RssFile:");
        println!("\nKLEIN {} {}", most - bare, memory("RssAnon:") - bare);
    }
}

#[test]
fn a_modulation_of_joint_attention_takes_few_mib_at_1024_pixels() {
    for modulation in Modulation::ALL {
        let limit = if attends_anew(modulation) { 16.0 } else { 8.0 };
        let job = modulation.name();
        let child = "child_modulates_under_the_eyes_of_the_memory_test";
        let [first, later] = figures_of(child, MODULATION, job, "MODULATED ")[..] else {
            panic!("two figures");
        };
        println!("{job}: {:.1} MiB, of later layers {:.1} MiB", first / MIB, later / MIB);
        assert!(first <= limit * MIB && later <= limit * MIB, "{job}: {first} {later} bytes");
    }
}

/// Whether it attends to other keys and values, of which it holds those of one head.
fn attends_anew(modulation: Modulation) -> bool {
    matches!(modulation, Modulation::Null | Modulation::Reference)
}

/// The other half of that test: one layer's attention at the published numbers of tokens and channels of a head, twice.
#[test]
#[ignore = "it is started by another test"]
fn child_modulates_under_the_eyes_of_the_memory_test() {
    let modulation = env::var(MODULATION).unwrap();
    let modulation = *Modulation::ALL.iter().find(|it| it.name() == modulation).unwrap();
    // Whatever the heads, in the networks' own 16 bits.
    let (heads, kind) =
        if attends_anew(modulation) { (2, Kind::BFloat16) } else { (8, Kind::Float) };
    let (text, cells, dim) = (512, 64 * 64, 128);
    let keys = Keys::Joint {
        text: Span::first(text),
        shared: 3,
        latents: Span { start: text, length: cells },
        references: Span { start: text + cells, length: cells },
    };
    let (stage, level, height, width) = (Stage::Single, None, 64, 64);
    let (block, attention, transformer) = (0, 0, 0);
    let site = AttnSite { stage, block, attention, transformer, keys, level, height, width };
    let length = text + 2 * cells;
    let roles = [Role::Text, Role::Image];
    // Only what compares with the other row has one.
    let roles = if modulation == Modulation::Null { &roles[..] } else { &roles[..1] };
    let shape = [roles.len() as i64, heads, length, dim];
    let random = || Tensor::randn(shape, (kind, Device::Cpu));
    let angles = Tensor::rand([length, dim / 2], (Kind::Float, Device::Cpu));
    let rotary = Rotary::new(&angles);
    let unrotated = Some(Unrotated { query: random(), key: random(), rotary: &rotary });
    let [query, key, value] = [(); 3].map(|()| random());
    let qkv = Qkv { query, key, value, scale: 0.088, roles, unrotated };
    let attended = qkv.attend();
    let mask = Tensor::zeros([1, 1, 64, 64], (Kind::Float, Device::Cpu));
    let _ = mask.narrow(3, 20, 30).fill_(1.0);
    let mut modulator = AttnModulator::new(modulation, mask);
    // What libtorch's own libraries keep for products of such sizes is there after the first of them.
    let part = |it: &Tensor| it.narrow(1, 0, 1).copy();
    let small = Qkv {
        query: part(&qkv.query),
        key: part(&qkv.key),
        value: part(&qkv.value),
        unrotated: None,
        ..qkv
    };
    modulator.visit(&site, &small, &small.attend());
    drop(small);
    let mut taken = || {
        heap::give_back();
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = memory("VmRSS:");
        modulator.visit(&site, &qkv, &attended);
        peak() - before
    };
    println!("\nMODULATED {} {}", taken(), taken());
}

/// A configuration whose networks are narrower.
fn narrower(config: &str) -> Value {
    let mut config: Value = serde_json::from_str(config).unwrap();
    let widths = [
        "in_channels",
        "attention_head_dim",
        "joint_attention_dim",
        "timestep_guidance_channels",
        "axes_dims_rope",
        "block_out_channels",
        "latent_channels",
        "norm_num_groups",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "head_dim",
    ];
    for (key, value) in config.as_object_mut().unwrap() {
        if let Some(list) = value.as_array_mut().filter(|_| widths.contains(&key.as_str())) {
            for it in list {
                *it = (it.as_i64().unwrap() / NARROWER).into();
            }
        } else if widths.contains(&key.as_str()) {
            *value = (value.as_i64().unwrap() / NARROWER).into();
        }
    }
    config
}

/// What a child process says of itself after a mark, the last time that it does.
fn figures_of(child: &str, variable: &str, job: &str, mark: &str) -> Vec<f64> {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("loading_memory::{child}"), "--ignored", "--nocapture"])
        .env(variable, job)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let figures = text.lines().filter_map(|it| it.split_once(mark)).next_back();
    let (_, figures) = figures.unwrap_or_else(|| panic!("no figures in {text}"));
    figures.split(' ').map(|it| it.parse().unwrap()).collect()
}

/// The other half of the memory test, in a process of its own.
#[test]
#[ignore = "it is started by another test"]
fn child_loads_under_the_eyes_of_the_memory_test() {
    let job = env::var(CHILD).unwrap();
    let (target, path) = job.split_once(' ').unwrap();
    let kind = if target == "bf16" { Kind::BFloat16 } else { Kind::Float };
    // The bare process has libtorch and its threads awake.
    let _ = Tensor::rand([1 << 18], (Kind::Float, Device::Cpu))
        .to_kind(kind)
        .sum(Kind::Float)
        .double_value(&[]);
    let bare = peak();
    let shapes = shapes_of(Path::new(path));
    let checkpoint = Checkpoint::open(Path::new(path)).unwrap();
    let vs = checkpoint.root(kind, Device::Cpu);
    let tensors: Vec<Tensor> = shapes.iter().map(|(key, shape)| vs.tensor(key, shape)).collect();
    checkpoint.finish().unwrap();
    let bytes: usize = tensors.iter().map(|it| it.numel() * it.kind().elt_size_in_bytes()).sum();
    println!("\nPEAK {} {bytes}", peak() - bare);
}

/// The most memory that this process ever held, in bytes.
fn peak() -> u64 {
    memory("VmHWM:")
}

/// A line of this process's memory, in bytes.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn shapes_of(path: &Path) -> Vec<(String, Vec<i64>)> {
    let header = fs::read(path.with_extension("shapes")).unwrap();
    serde_json::from_slice(&header).unwrap()
}

/// Writes tensors of random values, one after the other, without holding them.
fn write_random(path: &Path, dtype: Dtype, shapes: &[Vec<i64>]) {
    let width = dtype.bitsize() as i64 / 8;
    let mut header = serde_json::Map::new();
    let mut end = 0;
    let named: Vec<(String, &Vec<i64>)> =
        shapes.iter().enumerate().map(|(number, shape)| (format!("t{number}"), shape)).collect();
    for (key, shape) in &named {
        let start = end;
        end += shape.iter().product::<i64>() * width;
        header.insert(
            key.clone(),
            serde_json::json!({"dtype": dtype.to_string(), "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let header = serde_json::to_vec(&header).unwrap();
    fs::write(path.with_extension("shapes"), serde_json::to_vec(&named).unwrap()).unwrap();
    let block =
        bytes(dtype, &(0..1 << 16).map(|_| rand::random::<f32>() - 0.5).collect::<Vec<_>>());
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    let mut left = end as usize;
    while left > 0 {
        let count = left.min(block.len());
        file.write_all(&block[..count]).unwrap();
        left -= count;
    }
    file.flush().unwrap();
}
