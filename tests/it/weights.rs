//! Weights in every supported layout, and damaged ones.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use retouch::models::weights::{
    Checkpoint,
    error::{TensorFault, WeightsError},
};
use safetensors::{Dtype, tensor::TensorView};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

/// Values that every floating-point dtype holds exactly.
const VALUES: [f32; 6] = [0.0, 1.5, -2.0, 0.25, 96.0, -0.125];

#[test]
fn every_stored_dtype_comes_in_every_target_dtype() {
    let folder = TempDir::new().unwrap();
    for stored in [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64] {
        let path = folder.path().join("model.safetensors");
        write(&path, &[("a.weight", stored, &[2, 3], bytes(stored, &VALUES))]);
        for target in [Kind::Float, Kind::Half, Kind::BFloat16] {
            let checkpoint = Checkpoint::open(folder.path()).unwrap();
            let tensor = (checkpoint.root(target, Device::Cpu) / "a").tensor("weight", &[2, 3]);
            checkpoint.finish().unwrap();
            assert_eq!((tensor.kind(), tensor.size()), (target, vec![2, 3]));
            assert_eq!(values(&tensor), VALUES, "{stored:?} to {target:?}");
        }
    }
}

#[test]
fn a_tensor_larger_than_the_buffer_arrives_whole() {
    let folder = TempDir::new().unwrap();
    let count = 700_001;
    let expected: Vec<f32> = (0..count).map(|it| it as f32).collect();
    write_f32(&folder.path().join("model.safetensors"), &[("x", &[1, count], &expected)]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(values(&root(&checkpoint).tensor("x", &[1, count as i64])), expected);
    assert_eq!((checkpoint.tensors(), checkpoint.parameters()), (1, count as u64));
    assert_eq!(checkpoint.bytes(), 4 * count as u64);
}

#[test]
fn shards_are_read_by_their_index() {
    let folder = TempDir::new().unwrap();
    // The second shard also holds a stale `a`: the index says which one counts.
    write_f32(&folder.path().join("model-1-of-2.safetensors"), &[("a", &[1], &[1.0])]);
    write_f32(
        &folder.path().join("model-2-of-2.safetensors"),
        &[("a", &[1], &[9.0]), ("b", &[1], &[2.0])],
    );
    let index = r#"{"metadata": {}, "weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}"#;
    for name in [
        "diffusion_pytorch_model.safetensors.index.json",
        "model.safetensors.index.json",
        "model.safetensors.index.fp16.json",
        "model.safetensors.fp16.index.json",
    ] {
        let path = folder.path().join(name);
        fs::write(&path, index).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(values(&root(&checkpoint).tensor("a", &[1])), [1.0], "{name}");
        assert_eq!(values(&root(&checkpoint).tensor("b", &[1])), [2.0], "{name}");
        checkpoint.finish().unwrap();
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn every_missing_shard_is_named_and_none_is_sought_outside() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#)
        .unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(
        matches!(&error, WeightsError::NoShards { missing, .. } if missing.len() == 2),
        "{error}"
    );
    for text in
        [r#"{"weight_map": {"a": "../one.safetensors"}}"#, r#"{"weight_map": {}}"#, "{}", "[", ""]
    {
        fs::write(&index, text).unwrap();
        let error = Checkpoint::open(folder.path()).unwrap_err();
        assert!(matches!(error, WeightsError::MalformedIndex { .. }), "{text}: {error}");
    }
}

#[test]
fn the_fp16_variant_is_read_when_the_plain_file_is_absent() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_f32(&at("diffusion_pytorch_model.fp16.safetensors"), &[("a", &[1], &[16.0])]);
    let half = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(values(&root(&half).tensor("a", &[1])), [16.0]);
    write_f32(&at("diffusion_pytorch_model.safetensors"), &[("a", &[1], &[32.0])]);
    let plain = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(values(&root(&plain).tensor("a", &[1])), [32.0]);
}

#[test]
fn old_attention_names_and_convolution_shapes_serve_linear_layers() {
    let folder = TempDir::new().unwrap();
    let old = "encoder.mid_block.attentions.0";
    let names: Vec<String> = ["query", "key", "value", "proj_attn"]
        .iter()
        .map(|it| format!("{old}.{it}.weight"))
        .collect();
    let tensors: Vec<(&str, &[usize], &[f32])> = names
        .iter()
        .map(|it| (it.as_str(), [2, 2, 1, 1].as_slice(), [1.0, 2.0, 3.0, 4.0].as_slice()))
        .collect();
    write_f32(&folder.path().join("model.safetensors"), &tensors);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let vs = root(&checkpoint) / "encoder" / "mid_block" / "attentions" / 0;
    for name in ["to_q", "to_k", "to_v"] {
        assert_eq!(values(&(&vs / name).tensor("weight", &[2, 2])), [1.0, 2.0, 3.0, 4.0]);
    }
    assert!((&vs / "to_out").contains("0.weight"));
    assert_eq!((&vs / "to_out" / 0).tensor("weight", &[2, 2, 1, 1]).size(), [2, 2, 1, 1]);
    checkpoint.finish().unwrap();
}

#[test]
fn every_fault_is_named_at_once() {
    let folder = TempDir::new().unwrap();
    let tensors: [(&str, Dtype, &[usize], Vec<u8>); 8] = [
        ("good", Dtype::F32, &[2], bytes(Dtype::F32, &[1.0, 2.0])),
        ("misshapen", Dtype::F32, &[2], bytes(Dtype::F32, &[1.0, 2.0])),
        ("nan", Dtype::F32, &[2], bytes(Dtype::F32, &[1.0, f32::NAN])),
        ("infinite", Dtype::F16, &[2], bytes(Dtype::F16, &[f32::INFINITY, 1.0])),
        ("large", Dtype::F32, &[1], bytes(Dtype::F32, &[1e6])),
        ("whole", Dtype::I64, &[1], vec![0; 8]),
        ("unused", Dtype::F32, &[1], bytes(Dtype::F32, &[1.0])),
        ("position_ids", Dtype::I64, &[1], vec![0; 8]),
    ];
    write(&folder.path().join("model.safetensors"), &tensors);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let vs = checkpoint.root(Kind::Half, Device::Cpu);
    vs.ignore("position_ids");
    assert_eq!(values(&vs.tensor("good", &[2])), [1.0, 2.0]);
    assert_eq!(vs.tensor("misshapen", &[2, 1]).size(), [2, 1]);
    for (name, side) in [("nan", 2), ("infinite", 2), ("large", 1), ("whole", 1)] {
        assert_eq!(vs.tensor(name, &[side]).size(), [side]);
    }
    // A size that no memory holds is refused as missing, not allocated.
    assert_eq!((&vs / "layer").tensor("absent", &[1 << 30, 1 << 20]).size(), [1 << 30, 1 << 20]);
    let error = checkpoint.finish().unwrap_err();
    let WeightsError::Faults { faults, .. } = &error else { panic!("{error}") };
    let key = str::to_owned;
    assert_eq!(
        *faults,
        [
            TensorFault::Misshapen { key: key("misshapen"), found: vec![2], expected: vec![2, 1] },
            TensorFault::NotFinite { key: key("nan") },
            TensorFault::NotFinite { key: key("infinite") },
            TensorFault::Overflow { key: key("large"), kind: Kind::Half },
            TensorFault::Dtype { key: key("whole"), found: key("I64") },
            TensorFault::Missing { key: key("layer.absent"), expected: vec![1 << 30, 1 << 20] },
            TensorFault::Unused { key: key("unused") },
        ]
    );
    let text = error.to_string();
    assert!(text.ends_with(
        "do not fit the model: 1 missing: `layer.absent`; 1 misshapen: `misshapen` ([2], expected [2, 1]); \
         2 not finite: `nan`, `infinite`; 1 too large for the dtype: `large` (Half); \
         1 of no usable dtype: `whole` (I64); 1 unused: `unused`"
    ), "{text}");
}

#[test]
fn hundreds_of_faults_make_one_short_line() {
    let folder = TempDir::new().unwrap();
    write_f32(&folder.path().join("model.safetensors"), &[("a", &[1], &[1.0])]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let vs = root(&checkpoint) / "blocks";
    for number in 0..500 {
        let _ = (&vs / number).tensor("weight", &[1]);
    }
    let error = checkpoint.finish().unwrap_err();
    let WeightsError::Faults { faults, .. } = &error else { panic!("{error}") };
    assert_eq!(faults.len(), 501);
    let text = error.to_string();
    assert!(text.contains("500 missing: `blocks.0.weight`, `blocks.1.weight`, `blocks.2.weight`, and 497 more; 1 unused"));
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
}

#[test]
fn pickles_are_refused_with_the_way_to_convert() {
    let folder = TempDir::new().unwrap();
    for name in ["pytorch_model.bin", "model.ckpt", "v1.PTH", "x.pt"] {
        let path = folder.path().join(name);
        fs::write(&path, b"\x80\x02}.").unwrap();
        for asked in [path.as_path(), folder.path()] {
            let error = Checkpoint::open(asked).unwrap_err();
            assert!(matches!(&error, WeightsError::Pickle { path: it } if *it == path), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("can run code") && text.contains("save_file") && !text.contains('\n'),
                "{text}"
            );
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_folder_without_weights_says_what_it_expects() {
    let folder = TempDir::new().unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("expected `diffusion_pytorch_model.safetensors` or `model.safetensors`"),
        "{error}"
    );
    let error = Checkpoint::open(&folder.path().join("absent.safetensors")).unwrap_err();
    assert!(matches!(error, WeightsError::Unreadable { .. }), "{error}");
}

#[test]
fn broken_files_are_refused_without_a_panic() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    write_f32(&path, &[("a", &[2], &[1.0, 2.0]), ("b", &[1], &[3.0])]);
    let good = fs::read(&path).unwrap();
    let mut cases: Vec<(String, Vec<u8>)> = (0..good.len())
        .map(|length| (format!("cut to {length}"), good[..length].to_vec()))
        .collect();
    cases.push(("a byte too many".into(), [good.as_slice(), &[0]].concat()));
    cases.push(("a header of 2^64 - 1 bytes".into(), [&[255; 8], &good[8..]].concat()));
    cases.push(("a header of 50 MB".into(), [&50_000_000_u64.to_le_bytes(), &good[8..]].concat()));
    for (what, header) in [
        (
            "offsets beyond the file",
            r#"{"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}"#,
        ),
        ("offsets reversed", r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#),
        (
            "offsets overlapping",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
        ),
        (
            "a hole",
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#,
        ),
        (
            "a shape that overflows",
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,12]}}"#,
        ),
        ("a shape that does not fit", r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}}"#),
        ("a negative side", r#"{"a":{"dtype":"F32","shape":[-3],"data_offsets":[0,12]}}"#),
        ("an unknown dtype", r#"{"a":{"dtype":"F33","shape":[3],"data_offsets":[0,12]}}"#),
        ("no JSON", "not JSON"),
        ("a list", "[]"),
    ] {
        let length = (header.len() as u64).to_le_bytes();
        cases.push((what.into(), [&length, header.as_bytes(), &[0; 12]].concat()));
    }
    for (what, bytes) in cases {
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::open(folder.path()).expect_err(&what);
        let is_empty = matches!(error, WeightsError::OtherKind { kind: "empty", .. });
        let is_malformed = matches!(error, WeightsError::Malformed { .. });
        assert!(if what == "cut to 0" { is_empty } else { is_malformed }, "{what}: {error}");
        assert!(!error.to_string().contains('\n'), "{what}: {error}");
    }
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_a_fault() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    write_f32(&path, &[("a", &[2], &[1.0, 2.0])]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
    let _ = root(&checkpoint).tensor("a", &[2]);
    let error = checkpoint.finish().unwrap_err();
    let WeightsError::Faults { faults, .. } = &error else { panic!("{error}") };
    assert!(matches!(faults.as_slice(), [TensorFault::Unreadable { .. }]), "{error}");
}

fn root(checkpoint: &Checkpoint) -> retouch::models::weights::VarPath<'_> {
    checkpoint.root(Kind::Float, Device::Cpu)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

/// Values as a file stores them.
pub(crate) fn bytes(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::F16 => values.iter().flat_map(|&it| half::f16::from_f32(it).to_le_bytes()).collect(),
        Dtype::BF16 => {
            values.iter().flat_map(|&it| half::bf16::from_f32(it).to_le_bytes()).collect()
        }
        Dtype::F64 => values.iter().flat_map(|&it| f64::from(it).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|it| it.to_le_bytes()).collect(),
    }
}

fn write_f32(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(key, shape, values)| (*key, Dtype::F32, *shape, bytes(Dtype::F32, values)))
        .collect();
    write(path, &tensors);
}

fn write(path: &Path, tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) {
    let views: HashMap<&str, TensorView<'_>> = tensors
        .iter()
        .map(|(key, dtype, shape, bytes)| {
            (*key, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
        })
        .collect();
    safetensors::serialize_to_file(views, None, &PathBuf::from(path)).unwrap();
}
