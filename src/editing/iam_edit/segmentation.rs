//! Segmentation of the picture: k-means on the rows of ISAM.
//!
//! Paper: "ISAM is reshaped into per-location vectors and clustered", K = 5. The rows are raw, not normalized
//! (source: local-prompt-mixing), unless the settings say otherwise.

use serde::Deserialize;
use tch::Tensor;

use crate::cluster::KMeans;

/// Transformation of ISAM's rows, each a probability distribution over the picture, before clustering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// Unchanged, as in the paper.
    Raw,
    /// Square roots, which gives Hellinger distances and reduces the weight of peaks.
    Sqrt,
}

impl Rows {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Sqrt => "sqrt",
        }
    }
}

/// Clusters the cells of ISAM (n, n): a label in `0..clusters` for each; fewer clusters if there are fewer cells.
pub fn segment(isam: &Tensor, clusters: u32, rows: Rows) -> Vec<i64> {
    let cells = isam.size()[0] as usize;
    let kmeans = KMeans::new((clusters as usize).min(cells));
    match rows {
        Rows::Raw => kmeans.labels(isam),
        Rows::Sqrt => kmeans.labels(&isam.sqrt()),
    }
}
