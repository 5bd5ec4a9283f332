//! Clusters of the picture: k-means on the rows of ISAM.
//!
//! Paper: "ISAM is reshaped into per-location vectors and clustered", K = 5. The rows are raw, not normalized
//! (source: local-prompt-mixing), unless the settings say otherwise.

use serde::Deserialize;
use tch::Tensor;

use crate::cluster::KMeans;

/// The vectors that are clustered: the rows of ISAM, each a distribution over the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// As they are, as in the paper.
    Raw,
    /// Their square roots, whose distances are Hellinger's: a peak outweighs the rest less.
    Sqrt,
}

impl Rows {
    /// The name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Sqrt => "sqrt",
        }
    }
}

/// A label in `0..clusters` for each cell of ISAM (n, n); fewer clusters where there are fewer cells.
pub fn segment(isam: &Tensor, clusters: u32, rows: Rows) -> Vec<i64> {
    let cells = isam.size()[0] as usize;
    let kmeans = KMeans::new((clusters as usize).min(cells));
    match rows {
        Rows::Raw => kmeans.labels(isam),
        Rows::Sqrt => kmeans.labels(&isam.sqrt()),
    }
}
