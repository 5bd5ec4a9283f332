//! Segmentation of the picture: k-means on the rows of ISAM.
//!
//! Paper: "ISAM is reshaped into per-location vectors and clustered", K = 5. The rows are raw, not normalized
//! (source: local-prompt-mixing), unless the settings say otherwise.

use tch::Tensor;

use crate::cluster::KMeans;
use crate::edit::localizer::Rows;

/// Clusters the cells of ISAM (n, n): a label in `0..clusters` for each; fewer clusters if there are fewer cells.
pub fn segment(isam: &Tensor, clusters: u32, rows: Rows) -> Vec<i64> {
    let cells = isam.size()[0] as usize;
    let kmeans = KMeans::new((clusters as usize).min(cells));
    match rows {
        Rows::Raw => kmeans.labels(isam),
        Rows::Sqrt => kmeans.labels(&isam.sqrt()),
    }
}
