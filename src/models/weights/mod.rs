//! Weights of a model: tensors by checkpoint key, read one at a time, with every fault named.

pub mod error;
pub(in crate::models) mod file;
pub(in crate::models) mod find;
mod names;
mod recognize;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use tch::{Device, Kind, Tensor};

use error::{Fault, WeightsError};
use file::{Stored, Values, WeightsFile};

/// Bytes that a digest reads at each of three places of a tensor.
const SAMPLE: usize = 64;

/// The tensors of one model part, wherever they are stored.
///
/// Opening reads headers alone; a tensor's bytes are read when a layer asks for it. It remembers what was asked for, so
/// that [`Checkpoint::finish`] can name what is wrong.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<WeightsFile>,
    /// By the key that the model asks for, the number of the file and the place in it.
    tensors: BTreeMap<String, (usize, Stored)>,
    taken: RefCell<BTreeSet<String>>,
    faults: RefCell<Vec<Fault>>,
}

/// A place in a checkpoint, under which a layer finds its tensors; `&vs / "to_out" / 0` reads as the checkpoint's key.
///
/// Taking a tensor never fails: a missing or misshapen one is noted in the checkpoint and replaced by zeros, so that
/// constructors stay plain and [`Checkpoint::finish`] can name every fault at once.
#[derive(Debug, Clone)]
pub struct VarPath<'a> {
    checkpoint: &'a Checkpoint,
    prefix: String,
    kind: Kind,
    device: Device,
    reading: Reading,
}

/// What a [`VarPath`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The tensors.
    Values,
    /// Keys, shapes and dtypes alone, as the headers have them; every tensor comes as zeros.
    Outline,
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Opens the weights of a model part: a folder such as `unet/`, or one safetensors file.
    ///
    /// In a folder the plain file is read before its `fp16` variant, and shards by their index. Names from before
    /// diffusers 0.16 are understood.
    ///
    /// # Errors
    /// [`WeightsError`] if there are no weights, if they are a pickle, or if a file is truncated or lies.
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

    /// Opens one file whose tensors go by other names: `rename` gives each tensor's new keys, none for those of other
    /// parts and several for one that is to be split.
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
            taken: RefCell::default(),
            faults: RefCell::default(),
        }
    }

    /// The root of the keys; tensors come in this dtype on this device.
    pub fn root(&self, kind: Kind, device: Device) -> VarPath<'_> {
        VarPath { checkpoint: self, prefix: String::new(), kind, device, reading: Reading::Values }
    }

    /// The root of the keys for a look at them: a network that is built on it is of zeros, its keys and shapes are checked,
    /// and no tensor is read.
    pub fn outline(&self) -> VarPath<'_> {
        VarPath { reading: Reading::Outline, ..self.root(Kind::Float, Device::Cpu) }
    }

    /// Whether every tensor that was asked for was there and sound, and every tensor there was asked for.
    ///
    /// # Errors
    /// [`WeightsError::Faults`] with every missing, misshapen, non-finite and unused key.
    pub fn finish(&self) -> Result<(), WeightsError> {
        let mut faults = self.faults.borrow().clone();
        let taken = self.taken.borrow();
        for (key, (_, stored)) in &self.tensors {
            if !taken.contains(key) {
                faults.push(Fault::Unused { key: stored.key.clone() });
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(WeightsError::Faults { path: self.path.clone(), faults })
        }
    }

    /// The number of tensors.
    pub fn tensors(&self) -> usize {
        self.tensors.len()
    }

    /// The number of parameters, over all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(|(_, it)| it.elements() as u64).sum()
    }

    /// The bytes of all tensors as stored.
    pub fn bytes(&self) -> u64 {
        self.tensors.values().map(|(_, it)| it.bytes()).sum()
    }

    /// The dtypes that tensors are stored in, each once, by name (`F16`, `F32`, …).
    pub fn dtypes(&self) -> BTreeSet<String> {
        self.tensors.values().map(|(_, it)| it.dtype.to_string()).collect()
    }

    /// Feeds a digest with every tensor's key, dtype and shape, and with bytes from its start, middle and end.
    ///
    /// It tells any two trained models apart, since training moves every tensor, at a few milliseconds; reading all bytes
    /// would take as long as loading. It is no guard against a file made to collide.
    ///
    /// # Errors
    /// [`WeightsError::Unreadable`] if a file cannot be read.
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

    /// Reads one tensor, or says what is wrong with it.
    fn read(
        &self,
        key: &str,
        shape: &[i64],
        target: (Kind, Device),
        reading: Reading,
    ) -> Result<Tensor, Fault> {
        let Some((file, stored)) = self.tensors.get(key) else {
            return Err(Fault::Missing { key: key.to_owned(), expected: shape.to_vec() });
        };
        self.taken.borrow_mut().insert(key.to_owned());
        let key = stored.key.clone();
        if !names::same_matrix(&stored.shape, shape) {
            return Err(Fault::Misshapen {
                key,
                found: stored.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        let Some(source) = stored.kind() else {
            return Err(Fault::Dtype { key, found: stored.dtype.to_string() });
        };
        if reading == Reading::Outline {
            return Ok(zeros(shape, target));
        }
        let read = match self.files[*file].read(stored, source, shape, target) {
            Ok(read) => read,
            Err(error) => return Err(Fault::Unreadable { key, reason: error.to_string() }),
        };
        match read.values {
            Values::Finite => Ok(read.tensor),
            Values::NotFinite => Err(Fault::NotFinite { key }),
            Values::Overflow => Err(Fault::Overflow { key, kind: target.0 }),
        }
    }
}

// === impl VarPath ===

impl VarPath<'_> {
    /// The tensor `name` under this path, of exactly this shape, in the target dtype on the target device.
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

    /// Says that `name` under this path, if it is there, is rightly not used.
    pub fn ignore(&self, name: &str) {
        self.checkpoint.taken.borrow_mut().insert(self.key(name));
    }

    /// The same of every tensor under `name`.
    pub fn ignore_under(&self, name: &str) {
        let prefix = format!("{}.", self.key(name));
        let keys = self.checkpoint.tensors.keys().filter(|it| it.starts_with(&prefix));
        self.checkpoint.taken.borrow_mut().extend(keys.cloned());
    }

    /// The dtype that tensors come in.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The device that tensors come on.
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

/// Zeros that take no memory, so that a configuration with absurd sizes allocates nothing before it is refused.
fn zeros(shape: &[i64], target: (Kind, Device)) -> Tensor {
    Tensor::zeros([1], target).expand(shape, false)
}

impl<'a, T: std::fmt::Display> std::ops::Div<T> for VarPath<'a> {
    type Output = VarPath<'a>;

    fn div(self, name: T) -> VarPath<'a> {
        &self / name
    }
}
