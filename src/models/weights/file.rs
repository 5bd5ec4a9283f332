//! Reads one safetensors file: its header, validated against the file's length, and its tensors by position.
//!
//! The file is not memory-mapped, since mapped pages count into the process's peak memory, and a file that is truncated
//! while mapped kills the process. Data passes through a small buffer into the allocated tensor, with conversion on the
//! way.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use safetensors::{Dtype, tensor::Metadata};
use tch::{Device, Kind, TchError, Tensor};

use crate::kernels::gpu::transfer::Staging;
use crate::models::weights::{
    error::WeightsError,
    recognize::{LOOK, recognize},
};

/// Bytes per read.
const CHUNK: usize = 1 << 20;

/// Bytes per read for a GPU.
const STAGED: usize = 16 << 20;

/// Size of the header length field at the start of the file.
const LENGTH_BYTES: u64 = 8;

/// Maximum size of a header in bytes (safetensors: `MAX_HEADER_SIZE`).
const HEADER_CAP: u64 = 100_000_000;

/// An open safetensors file.
#[derive(Debug)]
pub(in crate::models) struct WeightsFile {
    pub(in crate::models) path: PathBuf,
    file: File,
    data_start: u64,
    /// What the header says beside its tensors.
    pub(in crate::models) metadata: BTreeMap<String, String>,
    /// Staging buffer for data that goes to a GPU.
    staging: Mutex<Option<Staging>>,
}

/// A tensor's key, dtype, shape and position in a file.
#[derive(Debug, Clone)]
pub(in crate::models) struct Stored {
    /// The key as stored.
    pub(in crate::models) key: String,
    pub(in crate::models) dtype: Dtype,
    pub(in crate::models) shape: Vec<i64>,
    /// Byte offset from the start of the tensor data.
    pub(in crate::models) start: u64,
    /// Bytes at the front that belong to the end.
    turned: u64,
}

impl Stored {
    pub(in crate::models) fn elements(&self) -> i64 {
        self.shape.iter().product()
    }

    pub(in crate::models) fn bytes(&self) -> u64 {
        self.elements() as u64 * self.dtype.bitsize() as u64 / 8
    }

    /// The `part`-th of `parts` equal slices of the first dimension; `None` if it is not divisible.
    pub(in crate::models) fn slice(&self, part: u64, parts: u64) -> Option<Self> {
        let mut slice = self.clone();
        let rows = slice.shape.first_mut().filter(|rows| (**rows as u64).is_multiple_of(parts))?;
        *rows /= parts as i64;
        slice.start += part * slice.bytes();
        Some(slice)
    }

    /// The tensor with the halves of its first dimension swapped; `None` if it is not even.
    pub(in crate::models) fn halves_swapped(&self) -> Option<Self> {
        let half = self.slice(0, 2)?.bytes();
        Some(Self { turned: half, ..self.clone() })
    }

    /// The dtype in tch, if it is supported for weights.
    pub(in crate::models) fn kind(&self) -> Option<Kind> {
        match self.dtype {
            Dtype::F16 => Some(Kind::Half),
            Dtype::BF16 => Some(Kind::BFloat16),
            Dtype::F32 => Some(Kind::Float),
            Dtype::F64 => Some(Kind::Double),
            _ => None,
        }
    }
}

/// A loaded tensor, with the check of its values.
pub(in crate::models) struct ReadTensor {
    pub(in crate::models) tensor: Tensor,
    pub(in crate::models) values: Values,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::models) enum Values {
    Finite,
    /// NaN or infinity in the file.
    NotFinite,
    /// Finite in the file, infinite in the target dtype.
    Overflow,
}

impl WeightsFile {
    /// Opens a file and reads its header; allocates no more than the header needs.
    pub(in crate::models) fn open(path: &Path) -> Result<(Self, Vec<Stored>), WeightsError> {
        let unreadable = |source| WeightsError::Unreadable { path: path.to_owned(), source };
        let malformed = |reason: String| WeightsError::Malformed { path: path.to_owned(), reason };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut start = vec![0; LOOK.min(length as usize)];
        file.read_exact_at(&mut start, 0).map_err(unreadable)?;
        // What begins as a header does is judged by the header.
        let has_header = start.get(LENGTH_BYTES as usize) == Some(&b'{');
        if let Some((kind, remedy)) = recognize(&start).filter(|_| !has_header) {
            return Err(WeightsError::OtherKind { path: path.to_owned(), kind, remedy });
        }
        if length < LENGTH_BYTES {
            return Err(malformed(format!("it has {length} bytes")));
        }
        let mut header_length = [0; LENGTH_BYTES as usize];
        file.read_exact_at(&mut header_length, 0).map_err(unreadable)?;
        let header_length = u64::from_le_bytes(header_length);
        if header_length > HEADER_CAP.min(length - LENGTH_BYTES) {
            let reason = if has_header {
                format!("its header has {header_length} bytes, it has {length}")
            } else {
                "it does not begin with a header".to_owned()
            };
            return Err(malformed(reason));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact_at(&mut header, LENGTH_BYTES).map_err(unreadable)?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|error| malformed(error.to_string()))?;
        let data_start = LENGTH_BYTES + header_length;
        let promised = (header.data_len() as u64).saturating_add(data_start);
        if promised != length {
            return Err(malformed(format!(
                "its header promises {promised} bytes, it has {length}"
            )));
        }
        let mut stored: Vec<Stored> = header
            .tensors()
            .into_iter()
            .map(|(key, info)| Stored {
                key,
                dtype: info.dtype,
                shape: info.shape.iter().map(|&side| side as i64).collect(),
                start: info.data_offsets.0 as u64,
                turned: 0,
            })
            .collect();
        stored.sort_by_key(|it| it.start);
        let metadata = header.metadata().iter().flatten();
        let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
        let path = path.to_owned();
        Ok((Self { path, file, data_start, metadata, staging: Mutex::default() }, stored))
    }

    /// Reads a floating-point tensor in chunks into `shape` in the target dtype.
    ///
    /// For a GPU the conversion runs on the device, to leave the CPU's threads free.
    pub(in crate::models) fn read(
        &self,
        stored: &Stored,
        source: Kind,
        shape: &[i64],
        target: (Kind, Device),
    ) -> io::Result<ReadTensor> {
        let failed = |it: TchError| first_line(&it);
        let tensor = Tensor::f_empty(shape, target).map_err(failed)?;
        if target.1.is_cuda() {
            let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
            let staging = match &mut *staging {
                Some(staging) => staging,
                none => none.insert(Staging::new(STAGED, target.1).map_err(failed)?),
            };
            return Self::read_by(STAGED, stored, source, tensor, |count, at| {
                let bytes = count as usize * source.elt_size_in_bytes();
                self.read_at(stored, at, &mut staging.bytes()[..bytes])?;
                staging.copied(count, source, target.1).map_err(failed)
            });
        }
        let mut buffer = vec![0; CHUNK.min(stored.bytes() as usize)];
        Self::read_by(CHUNK, stored, source, tensor, |count, at| {
            let bytes = &mut buffer[..count as usize * source.elt_size_in_bytes()];
            self.read_at(stored, at, bytes)?;
            Ok(Tensor::from_data_size(bytes, &[count], source))
        })
    }

    /// Fills `tensor` in chunks of at most `most` bytes; `chunk` converts bytes and stores them at an offset in the
    /// tensor.
    fn read_by(
        most: usize,
        stored: &Stored,
        source: Kind,
        tensor: Tensor,
        mut chunk: impl FnMut(i64, u64) -> io::Result<Tensor>,
    ) -> io::Result<ReadTensor> {
        let flat = tensor.view([-1]);
        let width = source.elt_size_in_bytes();
        let mut values = Values::Finite;
        let mut done = 0;
        while done < stored.elements() {
            let count = (stored.elements() - done).min((most / width) as i64);
            let chunk = chunk(count, (done as usize * width) as u64)?;
            let cast = chunk.to_kind(tensor.kind());
            if !is_finite(&cast) {
                values = if is_finite(&chunk) { Values::Overflow } else { Values::NotFinite };
            }
            flat.narrow(0, done, count).copy_(&cast);
            done += count;
        }
        Ok(ReadTensor { tensor, values })
    }

    /// Fills a buffer from a tensor's data, from byte `at` on.
    pub(in crate::models) fn read_at(
        &self,
        stored: &Stored,
        at: u64,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let start = self.data_start + stored.start;
        // Of a turned tensor what is asked for may lie at both ends.
        let at = (at + stored.turned) % stored.bytes().max(1);
        let (end, front) = buffer.split_at_mut(buffer.len().min((stored.bytes() - at) as usize));
        self.file.read_exact_at(end, start + at)?;
        self.file.read_exact_at(front, start)
    }
}

/// libtorch's allocation error, without its stack trace.
fn first_line(error: &TchError) -> io::Error {
    io::Error::other(error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// Whether a tensor has no NaN and no infinity.
pub(in crate::models) fn is_finite(tensor: &Tensor) -> bool {
    // One pass that allocates nothing settles nearly every chunk: a sum is not finite if any of its terms is not.
    tensor.sum(Kind::Float).double_value(&[]).is_finite()
        || tensor.isfinite().all().int64_value(&[]) == 1
}
