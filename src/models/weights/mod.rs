//! Weights of a network: tensors by checkpoint key, read one at a time; faults are collected and reported together.

pub mod error;
pub(in crate::models) mod file;
pub(in crate::models) mod find;
mod names;
mod recognize;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use tch::{Device, Kind, Tensor};

use crate::kernels::cpu::heap;
use crate::models::lora::merge::Delta;
use error::{TensorFault, WeightsError};
use file::{Stored, Values, WeightsFile};

/// Bytes of tensors after which memory is given back: layers pack their weights, which leaves holes.
const HOLES: u64 = 64 << 20;

/// Bytes that a digest reads at each of three positions of a tensor.
const SAMPLE: usize = 64;

/// The tensors of one network, in one or several files.
///
/// Opening reads headers only; a tensor's data is read when a layer requests it. Requests are recorded, so that
/// [`Checkpoint::finish`] can report all faults.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<WeightsFile>,
    /// For each key that a model may request, the file's index and the tensor's position in it.
    tensors: BTreeMap<String, (usize, Stored)>,
    /// What LoRAs add to tensors, by the keys that a model requests.
    deltas: BTreeMap<String, Vec<Delta>>,
    taken: RefCell<BTreeSet<String>>,
    /// Those that a model has no use for, on purpose.
    ignored: RefCell<BTreeSet<String>>,
    faults: RefCell<Vec<TensorFault>>,
    /// Bytes of tensors that were read, and of changes to them, since memory was last given back.
    read: Cell<u64>,
}

/// A key prefix in a checkpoint, under which a layer finds its tensors; `&vs / "to_out" / 0` gives the checkpoint's
/// key.
///
/// Loading a tensor never fails: a missing or misshapen one is recorded in the checkpoint and replaced by zeros, so
/// that constructors stay simple and [`Checkpoint::finish`] can report every fault at once.
#[derive(Debug, Clone)]
pub struct VarPath<'a> {
    checkpoint: &'a Checkpoint,
    prefix: String,
    kind: Kind,
    device: Device,
    reading: Reading,
}

/// What a [`VarPath`] loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Tensor data.
    Values,
    /// Keys, shapes and dtypes from the headers only; every tensor is zeros.
    Outline,
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Opens the weights of a network: a folder such as `unet/`, or one safetensors file.
    ///
    /// In a folder the full-precision file is preferred to its `fp16` variant, and shards are found by their index. Key
    /// names from before diffusers 0.16 are supported.
    ///
    /// # Errors
    /// [`WeightsError`] if there are no weights, if they are a pickle, or if a file is truncated or has an invalid
    /// header.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let found = find::find(path)?;
        let mut checkpoint = Self::empty(path);
        for file in &found.files {
            let (file, stored) = WeightsFile::open(file)?;
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let elsewhere = |key: &str| found.shard_of.get(key).is_some_and(|shard| *shard != name);
            let number = checkpoint.files.len();
            for it in stored.into_iter().filter(|it| !elsewhere(&it.key)) {
                checkpoint.tensors.insert(names::modern(&it.key), (number, it));
            }
            checkpoint.files.push(file);
        }
        Ok(checkpoint)
    }

    /// Opens one file with other tensor names: `rename` gives each tensor's new keys, none for tensors of other
    /// networks and several for one that is to be split.
    pub(in crate::models) fn open_renamed(
        path: &Path,
        rename: impl Fn(Stored) -> Vec<(String, Stored)>,
    ) -> Result<Self, WeightsError> {
        let (file, stored) = WeightsFile::open(path)?;
        let tensors = stored.into_iter().flat_map(rename).map(|(key, it)| (key, (0, it))).collect();
        Ok(Self { files: vec![file], tensors, ..Self::empty(path) })
    }

    fn empty(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
            deltas: BTreeMap::new(),
            taken: RefCell::default(),
            ignored: RefCell::default(),
            faults: RefCell::default(),
            read: Cell::new(0),
        }
    }

    /// The root path; tensors are loaded in this dtype on this device.
    pub fn root(&self, kind: Kind, device: Device) -> VarPath<'_> {
        VarPath { checkpoint: self, prefix: String::new(), kind, device, reading: Reading::Values }
    }

    /// The root path for inspection: a network built on it has zeros for weights; keys and shapes are checked, no tensor
    /// data is read, and no memory is taken.
    pub fn outline(&self) -> VarPath<'_> {
        // In a dtype that layers on a CPU do not pack, which would write all of the zeros.
        VarPath { reading: Reading::Outline, ..self.root(Kind::Half, Device::Cpu) }
    }

    /// Checks that every requested tensor was present and valid, and every present tensor was requested.
    ///
    /// # Errors
    /// [`WeightsError::Faults`] with every missing, misshapen, non-finite and unused key.
    pub fn finish(&self) -> Result<(), WeightsError> {
        if !self.deltas.is_empty() {
            // The last changes have left holes, too.
            heap::give_back();
        }
        let mut faults = self.faults.borrow().clone();
        let (taken, ignored) = (self.taken.borrow(), self.ignored.borrow());
        for (key, (_, stored)) in &self.tensors {
            if !taken.contains(key) && !ignored.contains(key) {
                faults.push(TensorFault::Unused { key: stored.key.clone() });
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(WeightsError::Faults { path: self.path.clone(), faults })
        }
    }

    /// Keys, as a model requests them, and shapes of all tensors.
    pub(in crate::models) fn shapes(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.tensors.iter().map(|(key, (_, it))| (key.as_str(), it.shape.as_slice()))
    }

    /// Adds changes to the tensors of these keys, in fp32, when they are read.
    pub(in crate::models) fn change(&mut self, deltas: BTreeMap<String, Vec<Delta>>) {
        for (key, more) in deltas {
            self.deltas.entry(key).or_default().extend(more);
        }
    }

    /// Number of tensors.
    pub fn tensors(&self) -> usize {
        self.tensors.len()
    }

    /// Number of parameters, over all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(|(_, it)| it.elements() as u64).sum()
    }

    /// Number of parameters that the network built on it asked for.
    pub fn taken_parameters(&self) -> u64 {
        let taken = self.taken.borrow();
        let tensors = taken.iter().filter_map(|key| self.tensors.get(key));
        tensors.map(|(_, it)| it.elements() as u64).sum()
    }

    /// Total bytes of all tensors as stored.
    pub fn bytes(&self) -> u64 {
        self.tensors.values().map(|(_, it)| it.bytes()).sum()
    }

    /// Names of the dtypes that occur (`F16`, `F32`, …).
    pub fn dtypes(&self) -> BTreeSet<String> {
        self.tensors.values().map(|(_, it)| it.dtype.to_string()).collect()
    }

    /// Feeds a digest with every tensor's key, dtype and shape, and with data from its start, middle and end.
    ///
    /// This distinguishes any two trained models, since training changes every tensor, and takes milliseconds; reading
    /// all data would take as long as loading. It is not secure against deliberate collisions.
    ///
    /// # Errors
    /// [`WeightsError::Unreadable`] if a file can't be read.
    pub fn digest(&self, digest: &mut sha2::Sha256) -> Result<(), WeightsError> {
        use sha2::Digest as _;

        let mut sample = [0; SAMPLE];
        for (key, (file, stored)) in &self.tensors {
            let file = &self.files[*file];
            let length = SAMPLE.min(stored.bytes() as usize);
            digest.update(format!("{key} {} {:?}\n", stored.dtype, stored.shape));
            for eighths in [0, 4, 8] {
                let at = (stored.bytes() - length as u64) / 8 * eighths;
                file.read_at(stored, at, &mut sample[..length]).map_err(|source| {
                    WeightsError::Unreadable { path: file.path.clone(), source }
                })?;
                digest.update(&sample[..length]);
            }
        }
        Ok(())
    }

    /// Gives memory back after so many further bytes, if they are many by now.
    fn give_back(&self, bytes: u64) {
        self.read.set(self.read.get() + bytes);
        if self.read.get() > HOLES {
            self.read.set(0);
            heap::give_back();
        }
    }

    /// Reads one tensor, or returns its fault.
    fn read(
        &self,
        requested: &str,
        shape: &[i64],
        target: (Kind, Device),
        reading: Reading,
    ) -> Result<Tensor, TensorFault> {
        let Some((file, stored)) = self.tensors.get(requested) else {
            let key = requested.to_owned();
            return Err(TensorFault::Missing { key, expected: shape.to_vec() });
        };
        self.taken.borrow_mut().insert(requested.to_owned());
        let key = stored.key.clone();
        if !names::same_matrix(&stored.shape, shape) {
            return Err(TensorFault::Misshapen {
                key,
                found: stored.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        let Some(source) = stored.kind() else {
            return Err(TensorFault::Dtype { key, found: stored.dtype.to_string() });
        };
        if reading == Reading::Outline {
            return Ok(zeros(shape, target));
        }
        let deltas = self.deltas.get(requested).map_or(&[][..], Vec::as_slice);
        // Changes are added in fp32, before the number format of the model.
        let wide = (Kind::Float, Device::Cpu);
        let as_read = if deltas.is_empty() { target } else { wide };
        let unreadable = |error: io::Error| TensorFault::Unreadable {
            key: key.clone(),
            reason: error.to_string(),
        };
        let read = self.files[*file].read(stored, source, shape, as_read).map_err(unreadable)?;
        if target.1 == Device::Cpu {
            self.give_back(stored.bytes());
        }
        match read.values {
            Values::Finite => {}
            Values::NotFinite => return Err(TensorFault::NotFinite { key }),
            Values::Overflow => return Err(TensorFault::Overflow { key, kind: target.0 }),
        }
        if deltas.is_empty() {
            return Ok(read.tensor);
        }
        let mut tensor = read.tensor;
        for delta in deltas {
            delta.add_to(&mut tensor).map_err(unreadable)?;
            // The change and what is added are as large as the tensor in fp32 each.
            self.give_back(2 * (tensor.numel() * Kind::Float.elt_size_in_bytes()) as u64);
        }
        let tensor = tensor.to_kind(target.0).to_device(target.1);
        if file::is_finite(&tensor) {
            return Ok(tensor);
        }
        Err(TensorFault::Overflow { key, kind: target.0 })
    }
}

// === impl VarPath ===

impl VarPath<'_> {
    /// The tensor `name` under this path, with exactly this shape, in the target dtype on the target device.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Tensor {
        let target = (self.kind, self.device);
        self.checkpoint.read(&self.key(name), shape, target, self.reading).unwrap_or_else(|fault| {
            self.checkpoint.faults.borrow_mut().push(fault);
            zeros(shape, target)
        })
    }

    /// Whether the checkpoint holds `name` under this path.
    pub fn contains(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(&self.key(name))
    }

    /// Marks `name` under this path, if present, as intentionally unused.
    pub fn ignore(&self, name: &str) {
        self.checkpoint.ignored.borrow_mut().insert(self.key(name));
    }

    /// Marks every tensor under `name` as intentionally unused.
    pub fn ignore_under(&self, name: &str) {
        let prefix = format!("{}.", self.key(name));
        let keys = self.checkpoint.tensors.keys().filter(|it| it.starts_with(&prefix));
        self.checkpoint.ignored.borrow_mut().extend(keys.cloned());
    }

    /// The target dtype.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The target device.
    pub fn device(&self) -> Device {
        self.device
    }

    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

impl<'a, T: std::fmt::Display> std::ops::Div<T> for &VarPath<'a> {
    type Output = VarPath<'a>;

    fn div(self, name: T) -> VarPath<'a> {
        let prefix = self.key(&name.to_string());
        VarPath { prefix, ..*self }
    }
}

/// Zeros that share one element of memory, so that a configuration with absurd sizes allocates nothing before it is
/// refused.
fn zeros(shape: &[i64], target: (Kind, Device)) -> Tensor {
    Tensor::zeros([1], target).expand(shape, false)
}

impl<'a, T: std::fmt::Display> std::ops::Div<T> for VarPath<'a> {
    type Output = VarPath<'a>;

    fn div(self, name: T) -> VarPath<'a> {
        &self / name
    }
}
