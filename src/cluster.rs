//! k-means clustering with k-means++ seeding, deterministic for a seed.
//!
//! As scikit-learn's `KMeans(k, n_init=10)`: k-means++ seeding, Lloyd's iterations, the restart with the lowest inertia
//! wins. Differs: it has its own random generator, so that a seed gives the same clusters on every machine and beside
//! other jobs.

use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::{Kind, Tensor};

/// Parameters of a clustering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KMeans {
    /// Number of clusters, at least 1 and at most the number of rows.
    pub clusters: usize,
    /// Number of restarts.
    pub restarts: usize,
    /// Maximum number of Lloyd iterations per restart.
    pub iterations: usize,
    /// Seed of the random generator.
    pub seed: u64,
}

impl KMeans {
    /// K clusters with scikit-learn's defaults for restarts and iterations.
    pub fn new(clusters: usize) -> Self {
        Self { clusters, restarts: 10, iterations: 300, seed: 1 }
    }

    /// Clusters the rows of a (n, d) tensor; returns a label in `0..clusters` for each.
    ///
    /// ```
    /// use retouch::cluster::KMeans;
    /// use tch::Tensor;
    /// let rows = Tensor::from_slice(&[0.0f32, 0.1, 5.0, 5.1]).view([4, 1]);
    /// let labels = KMeans::new(2).labels(&rows);
    /// assert_eq!(labels[0], labels[1]);
    /// assert_ne!(labels[1], labels[2]);
    /// ```
    pub fn labels(&self, rows: &Tensor) -> Vec<i64> {
        let _no_grad = tch::no_grad_guard();
        let rows = rows.to_kind(Kind::Float);
        let squares = rows.square().sum_dim_intlist([1i64].as_slice(), true, Kind::Float); // (n, 1)
        let mut rng = StdRng::seed_from_u64(self.seed);
        let runs = (0..self.restarts.max(1)).map(|_| self.run(&rows, &squares, &mut rng));
        let best = runs.min_by(|a, b| a.0.total_cmp(&b.0)).expect("at least one restart ran");
        Vec::<i64>::try_from(best.1).expect("labels are a vector of integers")
    }

    /// One restart: (inertia, labels).
    fn run(&self, rows: &Tensor, squares: &Tensor, rng: &mut StdRng) -> (f64, Tensor) {
        let mut centers = self.seed_centers(rows, squares, rng); // (k, d)
        let (mut inertia, mut labels) = assign(rows, squares, &centers);
        for _ in 0..self.iterations {
            let (next_inertia, next) = {
                centers = means(rows, &labels, &centers);
                assign(rows, squares, &centers)
            };
            let settled = next.equal(&labels);
            (inertia, labels) = (next_inertia, next);
            if settled {
                break;
            }
        }
        (inertia, labels)
    }

    /// k-means++: each next center is a row drawn by its squared distance to the nearest center so far.
    fn seed_centers(&self, rows: &Tensor, squares: &Tensor, rng: &mut StdRng) -> Tensor {
        let n = rows.size()[0];
        let mut chosen = vec![rng.random_range(0..n)];
        let mut nearest = vec![f64::INFINITY; n as usize];
        while chosen.len() < self.clusters {
            let last = rows.narrow(0, chosen[chosen.len() - 1], 1);
            let distance = distances(rows, squares, &last).view(-1).to_kind(Kind::Double); // (n,)
            let distance =
                Vec::<f64>::try_from(distance).expect("distances are a vector of numbers");
            for (nearest, distance) in nearest.iter_mut().zip(distance) {
                *nearest = nearest.min(distance);
            }
            chosen.push(draw(&nearest, rng));
        }
        rows.index_select(0, &Tensor::from_slice(&chosen).to_device(rows.device()))
    }
}

/// Draws an index with these weights; uniformly if all are zero.
fn draw(weights: &[f64], rng: &mut StdRng) -> i64 {
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return rng.random_range(0..weights.len() as i64);
    }
    let mut left = rng.random::<f64>() * total;
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index as i64;
        }
    }
    weights.len() as i64 - 1
}

/// Squared distances (n, k), never negative.
fn distances(rows: &Tensor, squares: &Tensor, centers: &Tensor) -> Tensor {
    let center_squares = centers.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Float); // (k,)
    (squares + center_squares - rows.matmul(&centers.tr()) * 2.0).clamp_min(0.0)
}

/// (inertia, nearest center of each row).
fn assign(rows: &Tensor, squares: &Tensor, centers: &Tensor) -> (f64, Tensor) {
    let (nearest, labels) = distances(rows, squares, centers).min_dim(1, false);
    (nearest.sum(Kind::Double).double_value(&[]), labels)
}

/// Means of the labelled rows, (k, d); an empty cluster keeps its center.
fn means(rows: &Tensor, labels: &Tensor, centers: &Tensor) -> Tensor {
    let members = labels.one_hot(centers.size()[0]).to_kind(Kind::Float); // (n, k)
    let counts = members.sum_dim_intlist([0i64].as_slice(), false, Kind::Float).unsqueeze(1); // (k, 1)
    let means = members.tr().matmul(rows) / counts.clamp_min(1.0);
    means.where_self(&counts.gt(0.0), centers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_groups_get_their_own_labels() {
        let noise = Tensor::from_slice(
            &(0..300).map(|i| ((i * 37) % 11) as f32 * 0.01).collect::<Vec<_>>(),
        );
        let rows = noise.view([100, 3])
            + Tensor::from_slice(&(0..100).map(|i| (i % 4) as f32).collect::<Vec<_>>())
                .unsqueeze(1);
        let labels = KMeans::new(4).labels(&rows);
        for i in 0..100 {
            assert_eq!(labels[i], labels[i % 4]);
        }
        let mut kinds = labels[..4].to_vec();
        kinds.sort_unstable();
        assert_eq!(kinds, [0, 1, 2, 3]);
    }

    #[test]
    fn equal_seeds_give_equal_labels_and_equal_rows_do_not_panic() {
        let rows = Tensor::zeros([7, 2], (Kind::Float, tch::Device::Cpu));
        assert_eq!(KMeans::new(5).labels(&rows), KMeans::new(5).labels(&rows));
    }
}
