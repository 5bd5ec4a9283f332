//! Localization of additions: where the picture that pass 1 predicts differs from the source.
//!
//! Differs: the paper localizes additions by their words' attention, like everything else. Early attention spreads over
//! several candidate places, while the predicted picture shows the object in one. No additional pass is made: the run's
//! own prediction of the clean latents at its last step is compared with the source's.

use tch::{Kind, Tensor};

use crate::edit::grid::{Field, Grid};
use crate::pipelines::conditioning::LatentSize;

/// Threshold as a fraction of the maximum change.
pub const THRESHOLD: f64 = 0.1;

/// How far `predicted` is from `source`, both (1, C, h, w): mean over channels and 3x3 cells, in units of latents.
pub fn predicted_change(source: &Tensor, predicted: &Tensor) -> Field {
    let apart = (predicted - source).abs();
    let apart = apart.mean_dim([1i64].as_slice(), true, Kind::Float); // (1, 1, h, w)
    let smooth = apart.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None);
    let LatentSize { height, width } = LatentSize::of(source);
    let values = Vec::<f32>::try_from(smooth.contiguous().view(-1));
    let values = values.expect("a field is a vector of numbers");
    Field { grid: Grid { height, width }, values }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn what_was_drawn_stands_out() {
        let source = Tensor::zeros([1, 4, 6, 8], (Kind::Float, Device::Cpu));
        let predicted = source.copy();
        let _ = predicted.narrow(2, 1, 3).narrow(3, 4, 3).fill_(-2.0);
        let field = predicted_change(&source, &predicted).normalized();
        assert_eq!(field.grid, Grid { height: 6, width: 8 });
        let highest = field.values.iter().position(|&it| it >= 1.0);
        assert_eq!(highest, Some(2 * 8 + 5));
        // Two cells away nothing of it is left.
        assert!(field.values[2 * 8 + 2].abs() < 1e-6);
    }
}
