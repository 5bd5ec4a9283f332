//! Accuracy of fused GPU layers against libtorch's in fp64, for the sizes of real models and for odd sizes.

use retouch::kernels::{
    cpu::fused::norm::{Activation, GroupNorm, Shift},
    gpu::library::fused,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Rows, channels, height, width and groups of a group norm.
const NORMS: &[[i64; 5]] = &[
    [3, 320, 64, 64, 32],
    [3, 960, 64, 64, 32],
    [24, 640, 32, 32, 32],
    [3, 2560, 8, 8, 32],
    [1, 128, 512, 512, 32],
    [2, 36, 5, 7, 6],
    [1, 7, 3, 1, 7],
    [5, 96, 9, 13, 1],
];
/// Rows and width of a gated activation's result.
const GATES: &[[i64; 2]] = &[[12288, 1280], [3, 5], [77, 24]];
/// Rows and channels of a layer norm.
const LAYER_NORMS: &[[i64; 2]] = &[[12288, 320], [192, 1280], [5, 7], [3, 40]];
/// Rows, channels, height and width of a sum.
const SUMS: &[[i64; 4]] = &[[3, 320, 64, 64], [1, 5, 3, 7], [24, 1280, 8, 8]];

/// Heads, queries and keys of attention.
const ATTENTIONS: &[[i64; 3]] =
    &[[8, 1024, 1024], [8, 256, 77], [8, 4096, 77], [2, 9, 4096], [11, 3, 5], [1, 2, 24]];

/// Each layer's error relative to fp64, and libtorch's own in the same dtype; `null` if there is no kernel.
pub(crate) fn fused_layers(device: Device) -> Value {
    let mut found = Vec::new();
    for (name, kind) in [("fp16", Kind::Half), ("bf16", Kind::BFloat16), ("fp32", Kind::Float)] {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, device)).to_kind(kind);
        let grid = |shape: &[i64]| (random(shape) * 2.0 + 3.0).to_kind(kind).permute([0, 3, 1, 2]);
        let mut tell = |layer: &str,
                        shape: &[i64],
                        ours: Option<Tensor>,
                        theirs: Tensor,
                        exact: &Tensor| {
            let distance = |it: Tensor| {
                let exact = exact.to_kind(Kind::Double);
                let distance = (it.to_kind(Kind::Double) - &exact).norm() / exact.norm();
                // JSON has no word for what is no number.
                Some(distance.double_value(&[])).filter(|it| it.is_finite()).unwrap_or(f64::MAX)
            };
            let ours = ours.map(distance);
            found.push(json!({ "layer": layer, "dtype": name, "shape": shape, "error": ours, "libtorch": distance(theirs) }));
        };
        for &[rows, channels, height, width, groups] in NORMS {
            let xs = grid(&[rows, height, width, channels]);
            let [weight, bias, channel_shift] = [0; 3].map(|_| random(&[channels]));
            let row_shift = random(&[rows, channels]);
            let shape = [rows, channels, height, width, groups];
            for (layer, shift, activation) in [
                ("group norm", Shift::default(), Activation::None),
                (
                    "group norm of a sum, SiLU",
                    Shift { channels: Some(&channel_shift), rows: Some(&row_shift) },
                    Activation::Silu,
                ),
            ] {
                let norm = GroupNorm {
                    groups,
                    weight: &weight,
                    bias: &bias,
                    eps: 1e-5,
                    shift,
                    activation,
                };
                let by_libtorch = |kind| plain_norm(&xs, &norm, kind);
                tell(
                    layer,
                    &shape,
                    fused::group_norm(&xs, &norm),
                    by_libtorch(kind),
                    &by_libtorch(Kind::Double),
                );
            }
        }
        for &[rows, width] in GATES {
            let xs = random(&[rows, 2 * width]);
            let by_libtorch = |kind| {
                let halves = xs.to_kind(kind).chunk(2, -1);
                &halves[0] * halves[1].gelu("none")
            };
            tell(
                "gated activation",
                &[rows, width],
                fused::geglu(&xs),
                by_libtorch(kind),
                &by_libtorch(Kind::Double),
            );
        }
        for &[rows, channels, height, width] in SUMS {
            let (xs, residual) =
                (grid(&[rows, height, width, channels]), grid(&[rows, height, width, channels]));
            let bias = random(&[channels]);
            let by_libtorch = |kind| {
                xs.to_kind(kind) + bias.to_kind(kind).view([1, -1, 1, 1]) + residual.to_kind(kind)
            };
            let ours = fused::residual_sum(&xs, &residual, &bias);
            tell(
                "residual sum",
                &[rows, channels, height, width],
                ours,
                by_libtorch(kind),
                &by_libtorch(Kind::Double),
            );
        }
        for &[rows, channels] in LAYER_NORMS {
            let shape = [rows, channels];
            let (xs, more) = (random(&shape) + 3.0, random(&shape));
            let [weight, bias] = [0; 2].map(|_| random(&[channels]));
            let by_libtorch = |kind| {
                let [xs, weight, bias] =
                    [&(&xs.to_kind(kind) + more.to_kind(kind)), &weight, &bias]
                        .map(|it| it.to_kind(kind));
                let normed = xs.layer_norm([channels], Some(&weight), Some(&bias), 1e-5, true);
                [xs, normed]
            };
            let ours = fused::layer_norm_of_sum(&xs, &more, [&weight, &bias], 1e-5);
            let ours = ours.map_or([None, None], |(sum, normed)| [Some(sum), Some(normed)]);
            let [exact, theirs] = [Kind::Double, kind].map(by_libtorch);
            let parts = ["sum before a layer norm", "layer norm of a sum"];
            for (((layer, ours), theirs), exact) in parts.iter().zip(ours).zip(theirs).zip(exact) {
                tell(layer, &shape, ours, theirs, &exact);
            }
        }
        attentions(kind, device, &mut tell);
    }
    Value::from(found)
}

/// Called with a layer's name, shape, result, libtorch's result, and the exact result.
type Tell<'a> = dyn FnMut(&str, &[i64], Option<Tensor>, Tensor, &Tensor) + 'a;

/// The attention probabilities that attention processors read.
fn attentions(kind: Kind, device: Device, tell: &mut Tell<'_>) {
    for shape @ &[_, queries, keys] in ATTENTIONS {
        let logits = (Tensor::randn(shape, (Kind::Float, device)) * 4.0).to_kind(kind);
        let before = Tensor::rand([queries, keys], (Kind::Float, device));
        let by_libtorch = |kind| {
            let probs = logits.softmax(-1, kind);
            let mean = probs.mean_dim([0i64].as_slice(), false, kind) + before.to_kind(kind);
            [mean, probs.narrow(2, 0, 1)]
        };
        let mut sum = before.copy();
        let mean = fused::add_mean_softmax(&logits, &mut sum).map(|()| sum);
        let [exact, theirs] = [Kind::Double, Kind::Float].map(by_libtorch);
        let layers = ["mean softmax of heads", "softmax of the first key"];
        let ours = [mean, fused::first_softmax(&logits)];
        for (((layer, ours), theirs), exact) in layers.iter().zip(ours).zip(theirs).zip(exact) {
            tell(layer, shape, ours, theirs, &exact);
        }
    }
}

fn plain_norm(xs: &Tensor, norm: &GroupNorm<'_>, kind: Kind) -> Tensor {
    let channels = norm.shift.channels.map(|it| it.to_kind(kind).view([1, -1, 1, 1]));
    let rows = norm.shift.rows.map(|it| it.to_kind(kind).unsqueeze(-1).unsqueeze(-1));
    let xs = channels.into_iter().chain(rows).fold(xs.to_kind(kind), |xs, it| xs + it);
    let (weight, bias) = (norm.weight.to_kind(kind), norm.bias.to_kind(kind));
    let xs = xs.group_norm(norm.groups, Some(&weight), Some(&bias), norm.eps, true);
    if norm.activation == Activation::Silu { xs.silu() } else { xs }
}
