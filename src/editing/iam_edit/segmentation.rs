//! Clusters of the picture: k-means on the rows of ISAM.
//!
//! Paper: "ISAM is reshaped into per-location vectors and clustered", K = 5. The rows are raw, not normalized
//! (source: local-prompt-mixing).

use tch::Tensor;

use crate::cluster::KMeans;

/// A label in `0..clusters` for each cell of ISAM (n, n); fewer clusters where there are fewer cells.
pub fn segment(isam: &Tensor, clusters: u32) -> Vec<i64> {
    let cells = isam.size()[0] as usize;
    KMeans::new((clusters as usize).min(cells)).labels(isam)
}
