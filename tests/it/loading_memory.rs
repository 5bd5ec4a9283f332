//! Peak memory of loading weights, beyond the weights themselves.

use std::{
    env,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    process::Command,
};

use retouch::models::weights::Checkpoint;
use safetensors::Dtype;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::weights::bytes;

/// Set in the child process that loads a file under the eyes of the memory test: the file, and the dtype.
const CHILD: &str = "RETOUCH_TEST_LOAD";

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
        let output = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "loading_memory::child_loads_under_the_eyes_of_the_memory_test",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD, format!("{target} {}", path.display()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        let figures: Vec<f64> = text
            .lines()
            .find_map(|it| it.split_once("PEAK "))
            .unwrap_or_else(|| panic!("no figures in {text}"))
            .1
            .split(' ')
            .map(|it| it.parse().unwrap())
            .collect();
        let ratio = figures[0] / figures[1];
        println!("{stored:?} to {target}: {ratio:.3} of {} MB", figures[1] / 1e6);
        assert!(
            (0.9..=1.15).contains(&ratio),
            "{stored:?} to {target}: {ratio:.3} of the tensors' bytes"
        );
    }
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
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
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
