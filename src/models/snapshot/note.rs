//! Remarks on a model that can be used.

use std::fmt::{self, Display, Formatter};

/// A remark on a usable model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The file's EMA U-Net is not used.
    EmaSkipped {
        /// Its number of tensors.
        tensors: usize,
    },
    /// Tensors that belong to no network are ignored.
    OthersSkipped {
        /// Their keys.
        keys: Vec<String>,
    },
    /// The file does not state the prediction type of its U-Net.
    VelocityAssumed,
    /// The file does not state whether it is distilled.
    DistilledByName {
        /// What its name says.
        is_distilled: bool,
    },
}

// === impl Note ===

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmaSkipped { tensors } => {
                write!(f, "{tensors} tensors of averaged weights (model_ema) are skipped")
            }
            Self::OthersSkipped { keys } => {
                let first: Vec<&str> = keys.iter().take(3).map(String::as_str).collect();
                write!(
                    f,
                    "{} tensors of no part are skipped: `{}`",
                    keys.len(),
                    first.join("`, `")
                )?;
                if keys.len() > first.len() { write!(f, " and others") } else { Ok(()) }
            }
            Self::DistilledByName { is_distilled: true } => f.write_str(
                "its name has no `base`, so that it is taken for the distilled model, without guidance",
            ),
            Self::DistilledByName { is_distilled: false } => f.write_str(
                "its name has `base`, so that it is taken for the base model, with guidance",
            ),
            Self::VelocityAssumed => {
                f.write_str("the file does not say what it predicts; velocity is assumed")
            }
        }
    }
}
