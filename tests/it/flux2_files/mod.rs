//! FLUX.2 [klein] as a folder of diffusers and as the file that it was published as, whole and broken.

mod file;
mod folder;
mod inspect;
pub(crate) mod published;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use retouch::models::{
    snapshot::{Snapshot, error::SnapshotError},
    weights::{Checkpoint, VarPath},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::{Device, Kind};
use tempfile::TempDir;

use crate::support::fixtures;

/// Runs of values that count up, each by its first and their number.
type Runs = Vec<(i64, i64)>;

/// A network in both layouts, as `tests/record/bfl.py` recorded it.
#[derive(Deserialize)]
struct Layouts {
    config: Map<String, Value>,
    /// By key: shape, and the first of its values, which count up.
    original: BTreeMap<String, (Vec<i64>, i64)>,
    /// By key: shape, and the runs of values.
    diffusers: BTreeMap<String, (Vec<i64>, Runs)>,
}

/// Refused as a variant, with what it is and with the model to take.
fn refused(path: &Path, expected: &str) {
    let error = Snapshot::open(path).unwrap_err();
    assert!(matches!(error, SnapshotError::OtherVariant { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(expected), "{text}");
    let remedies =
        ["`hf download black-forest-labs/FLUX.2-klein-4B`", "flux-2-klein-4b.safetensors"];
    assert!(remedies.iter().any(|it| text.contains(it)), "{text}");
}

/// The tensors of the original layout, under keys with a prefix.
fn tensors(prefix: &str, layouts: &Layouts) -> BTreeMap<String, (Vec<i64>, i64)> {
    let tensors = layouts.original.iter();
    tensors.map(|(key, tensor)| (format!("{prefix}{key}"), tensor.clone())).collect()
}

fn write_original(path: &Path, prefix: &str, layouts: &Layouts) {
    let tensors = tensors(prefix, layouts);
    let mut file = write_header(path, &tensors, "F32");
    for (shape, start) in tensors.values() {
        let values = *start..start + shape.iter().product::<i64>();
        let bytes: Vec<u8> = values.flat_map(|it| (it as f32).to_le_bytes()).collect();
        file.write_all(&bytes).unwrap();
    }
}

/// Writes the header alone, and makes the file as long as it says.
pub(crate) fn write_header(
    path: &Path,
    tensors: &BTreeMap<String, (Vec<i64>, i64)>,
    dtype: &str,
) -> File {
    let (mut header, mut end) = (Map::new(), 0);
    let width = match dtype {
        "F32" => 4,
        "BF16" => 2,
        _ => 1,
    };
    for (key, (shape, _)) in tensors {
        let start = end;
        end += shape.iter().product::<i64>() * width;
        let info = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        header.insert(key.clone(), info);
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end as u64).unwrap();
    file
}

pub(crate) fn copy_of_klein() -> TempDir {
    let folder = TempDir::new().unwrap();
    copy(&klein(), folder.path());
    folder
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Sets a key of a JSON file.
pub(crate) fn set(folder: &Path, name: &str, key: &str, value: Value) {
    let mut json: Value = serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap();
    json[key] = value;
    write_json(folder, name, &json);
}

pub(crate) fn write_json(folder: &Path, name: &str, value: &Value) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

fn root(checkpoint: &Checkpoint) -> VarPath<'_> {
    checkpoint.root(Kind::Float, Device::Cpu)
}

fn layouts(name: &str) -> Layouts {
    let path = fixtures().join(format!("flux2/{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn klein() -> PathBuf {
    fixtures().join("models/klein")
}
