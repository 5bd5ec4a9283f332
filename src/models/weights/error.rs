//! Errors of weight files and of the tensors in them.

use std::{
    fmt::{self, Display, Formatter},
    io,
    path::PathBuf,
};

use tch::Kind;

/// Why a network's weights can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The folder has no weights under any of the names that diffusers and transformers use.
    #[error(
        "no weights in {}: expected `{}`{}",
        folder.display(), expected.join("` or `"), hint.as_deref().map(|it| format!("; {it}")).unwrap_or_default()
    )]
    NoWeights {
        /// The network's folder.
        folder: PathBuf,
        /// File names that were searched for.
        expected: Vec<String>,
        /// What the folder contains instead, and the remedy.
        hint: Option<String>,
    },
    /// The weights are a pickle, which could run code when loaded.
    #[error(
        "{0} is a pickle, which can run code when it is read; take the model's .safetensors file, or convert it once with: python -c \"import torch, \
         safetensors.torch as s; w = torch.load('{0}', weights_only=True); s.save_file({{k: v.contiguous().clone() \
         for k, v in w.get('state_dict', w).items() if torch.is_tensor(v)}}, '{1}')\"",
        path.display(), path.with_extension("safetensors").display()
    )]
    Pickle {
        /// The pickle.
        path: PathBuf,
    },
    /// The file can't be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// The file's content is of another kind than its name says.
    #[error("{} is {kind}, not a safetensors file; {remedy}", path.display())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// Its actual kind.
        kind: &'static str,
        /// The remedy.
        remedy: &'static str,
    },
    /// The file is truncated or has an invalid header.
    #[error("{} is truncated or not a safetensors file: {reason}; download it again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The index of a sharded checkpoint is invalid.
    #[error("{} is not a valid shard index: {reason}", path.display())]
    MalformedIndex {
        /// The index file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Shards that the index names are missing.
    #[error(
        "{} names missing shards: `{}`; download them into the same folder",
        index.display(), missing.join("`, `")
    )]
    NoShards {
        /// The index file.
        index: PathBuf,
        /// The file names of all missing shards.
        missing: Vec<String>,
    },
    /// The file was read, but its tensors do not match the model.
    #[error("the weights in {} do not fit the model: {}", path.display(), Summary(faults))]
    Faults {
        /// The folder or file.
        path: PathBuf,
        /// Every fault, in the order of the model's layers, unused keys last.
        faults: Vec<TensorFault>,
    },
}

/// A tensor that does not match the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TensorFault {
    /// The tensor is missing.
    Missing {
        /// Its key.
        key: String,
        /// Its expected shape.
        expected: Vec<i64>,
    },
    /// The tensor's shape differs from the model's configuration.
    Misshapen {
        /// The stored key.
        key: String,
        /// The stored shape.
        found: Vec<i64>,
        /// The expected shape.
        expected: Vec<i64>,
    },
    /// The tensor holds NaN or infinity.
    NotFinite {
        /// The stored key.
        key: String,
    },
    /// The tensor overflows in the requested dtype.
    Overflow {
        /// The stored key.
        key: String,
        /// The requested dtype.
        kind: Kind,
    },
    /// The tensor's dtype is not supported for weights.
    Dtype {
        /// The stored key.
        key: String,
        /// The stored dtype.
        found: String,
    },
    /// The tensor's data can't be read.
    Unreadable {
        /// The stored key.
        key: String,
        /// The I/O error.
        reason: String,
    },
    /// The model has no use for the tensor.
    Unused {
        /// The stored key.
        key: String,
    },
}

impl TensorFault {
    /// Descriptions of the kinds of fault, in the order of a summary.
    const WORDS: [&str; 7] = [
        "missing",
        "misshapen",
        "not finite",
        "too large for the dtype",
        "of no usable dtype",
        "unreadable",
        "unused",
    ];

    fn word(&self) -> &'static str {
        Self::WORDS[match self {
            Self::Missing { .. } => 0,
            Self::Misshapen { .. } => 1,
            Self::NotFinite { .. } => 2,
            Self::Overflow { .. } => 3,
            Self::Dtype { .. } => 4,
            Self::Unreadable { .. } => 5,
            Self::Unused { .. } => 6,
        }]
    }
}

impl Display for TensorFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key, .. } | Self::NotFinite { key } | Self::Unused { key } => {
                write!(f, "`{key}`")
            }
            Self::Misshapen { key, found, expected } => {
                write!(f, "`{key}` ({found:?}, expected {expected:?})")
            }
            Self::Overflow { key, kind } => write!(f, "`{key}` ({kind:?})"),
            Self::Dtype { key, found } => write!(f, "`{key}` ({found})"),
            Self::Unreadable { key, reason } => write!(f, "`{key}` ({reason})"),
        }
    }
}

/// Displays faults grouped by kind, with counts and the first keys, on one line.
struct Summary<'a>(&'a [TensorFault]);

/// Number of keys of one kind that a summary lists.
const SPELLED_OUT: usize = 3;

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for word in TensorFault::WORDS {
            let of_kind: Vec<&TensorFault> = self.0.iter().filter(|it| it.word() == word).collect();
            if of_kind.is_empty() {
                continue;
            }
            let first: Vec<String> =
                of_kind.iter().take(SPELLED_OUT).map(ToString::to_string).collect();
            write!(f, "{separator}{} {word}: {}", of_kind.len(), first.join(", "))?;
            if of_kind.len() > SPELLED_OUT {
                write!(f, ", and {} more", of_kind.len() - SPELLED_OUT)?;
            }
            separator = "; ";
        }
        Ok(())
    }
}
