//! What can be wrong with a file of weights, and with the tensors in it.

use std::{
    fmt::{self, Display, Formatter},
    io,
    path::PathBuf,
};

use tch::Kind;

/// A model part whose weights cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The folder holds no weights under any of the names that diffusers and transformers give them.
    #[error(
        "no weights in {}: expected `{}`{}",
        folder.display(), expected.join("` or `"), hint.as_deref().map(|it| format!("; {it}")).unwrap_or_default()
    )]
    NoWeights {
        /// The folder of the model part.
        folder: PathBuf,
        /// The file names that were looked for.
        expected: Vec<String>,
        /// What is there instead, and what to do about it.
        hint: Option<String>,
    },
    /// The weights are a pickle.
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
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is of another kind than its name says.
    #[error("{} is {kind}, not a safetensors file; {remedy}", path.display())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The file is not what its name says: too short, or with a header that lies.
    #[error("{} is truncated or not a safetensors file: {reason}; download it again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// The index of a sharded checkpoint is unusable.
    #[error("{} is not an index of shards: {reason}", path.display())]
    MalformedIndex {
        /// The index file.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// Shards that the index names are not beside it.
    #[error(
        "{} names shards that are not there: `{}`; download them into the same folder",
        index.display(), missing.join("`, `")
    )]
    NoShards {
        /// The index file.
        index: PathBuf,
        /// The file names of every shard that is missing.
        missing: Vec<String>,
    },
    /// The file was read, but its tensors are not those of the model.
    #[error("the weights in {} do not fit the model: {}", path.display(), Summary(faults))]
    Faults {
        /// The folder or file.
        path: PathBuf,
        /// Every fault, in the order in which the model asked, unused keys last.
        faults: Vec<Fault>,
    },
}

/// One tensor that is not as the model needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The model asks for a tensor that is not there.
    Missing {
        /// The key the model asked for.
        key: String,
        /// The shape it should have.
        expected: Vec<i64>,
    },
    /// The tensor has another shape than the model's configuration says.
    Misshapen {
        /// The key as stored.
        key: String,
        /// The shape as stored.
        found: Vec<i64>,
        /// The shape it should have.
        expected: Vec<i64>,
    },
    /// The tensor holds NaN or infinity.
    NotFinite {
        /// The key as stored.
        key: String,
    },
    /// The tensor is finite as stored, but not in the dtype asked for.
    Overflow {
        /// The key as stored.
        key: String,
        /// The dtype that cannot hold its values.
        kind: Kind,
    },
    /// The tensor is stored in a dtype that weights do not come in.
    Dtype {
        /// The key as stored.
        key: String,
        /// The dtype as stored.
        found: String,
    },
    /// The tensor's bytes could not be read.
    Unreadable {
        /// The key as stored.
        key: String,
        /// What the system said.
        reason: String,
    },
    /// No layer of the model asked for the tensor.
    Unused {
        /// The key as stored.
        key: String,
    },
}

impl Fault {
    /// The kinds of fault, in the order of a summary.
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

impl Display for Fault {
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

/// Faults by kind, each with its number and its first keys, on one line.
struct Summary<'a>(&'a [Fault]);

/// Keys of one kind that a summary spells out.
const SPELLED_OUT: usize = 3;

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for word in Fault::WORDS {
            let of_kind: Vec<&Fault> = self.0.iter().filter(|it| it.word() == word).collect();
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
