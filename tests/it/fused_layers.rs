//! The CPU's fused bf16 group norm and sums against fp64, and against libtorch's separate layers on the same inputs.
#![expect(clippy::print_stderr, reason = "a run says what it skipped")]

use retouch::kernels::cpu::{
    flash_attention,
    fused::{
        self,
        norm::{Activation, GroupNorm, Shift},
    },
    onednn::{PackedConv2d, PackedLinear},
};
use tch::{Device, IndexOp, Kind, Tensor};

/// Epsilon of every norm.
const EPS: f64 = 1e-5;

/// Whether they run here, which need what attention needs; says so where they do not.
fn run_here() -> bool {
    let available = flash_attention::is_available();
    if !available {
        eprintln!("skipped: this processor has no AVX512-BF16");
    }
    available
}

fn random(shape: &[i64], seed: i64) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn bf16(tensor: &Tensor) -> Tensor {
    tensor.to_kind(Kind::BFloat16)
}

/// The same numbers, channels-last in memory.
fn channels_last(xs: &Tensor) -> Tensor {
    xs.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Norm of the difference over the norm of what is right.
fn relative_error(found: &Tensor, right: &Tensor) -> f64 {
    let distance = (found.to_kind(Kind::Double) - right).norm().double_value(&[]);
    distance / right.norm().double_value(&[]).max(1e-30)
}

/// Checks that a layer is at most as far from what is right as libtorch.
fn check(case: &str, ours: &Tensor, theirs: &Tensor, right: &Tensor) {
    assert_eq!(ours.size(), right.size(), "{case}");
    assert_eq!(ours.kind(), Kind::BFloat16, "{case}");
    let (ours, theirs) = (relative_error(ours, right), relative_error(theirs, right));
    // Where both round once, a sum in another order turns a few of few numbers the other way.
    assert!(ours <= theirs * 1.02 + 2e-5, "{case}: {ours:.3e}, libtorch {theirs:.3e}");
}

/// A norm's tensors, in bf16.
struct Norm {
    xs: Tensor,
    weight: Tensor,
    bias: Tensor,
    channels: Tensor,
    rows: Tensor,
}

impl Norm {
    fn new([n, c, h, w]: [i64; 4], mean: f64, deviation: f64) -> Self {
        let xs = channels_last(&bf16(&(random(&[n, c, h, w], c + h) * deviation + mean)));
        let weight = bf16(&(random(&[c], 1) * 0.2 + 1.0));
        let [bias, channels] = [2, 3].map(|seed| bf16(&random(&[c], seed)));
        Self { xs, weight, bias, channels, rows: bf16(&random(&[n, c], 4)) }
    }

    fn shift(&self) -> Shift<'_> {
        Shift { channels: Some(&self.channels), rows: Some(&self.rows) }
    }

    fn with<'a>(&'a self, groups: i64, shift: Shift<'a>, activation: Activation) -> GroupNorm<'a> {
        let Self { weight, bias, .. } = self;
        GroupNorm { groups, weight, bias, eps: EPS, shift, activation }
    }
}

/// A norm by libtorch, layer after layer.
fn by_libtorch(xs: &Tensor, norm: &GroupNorm<'_>, kind: Kind) -> Tensor {
    let [xs, weight, bias] = [xs, norm.weight, norm.bias].map(|it| it.to_kind(kind));
    let channels = norm.shift.channels.map(|it| it.to_kind(kind).view([1, -1, 1, 1]));
    let rows = norm.shift.rows.map(|it| it.to_kind(kind).unsqueeze(-1).unsqueeze(-1));
    let xs = [channels, rows].into_iter().flatten().fold(xs, |xs, shift| xs + shift);
    let normed = xs.group_norm(norm.groups, Some(&weight), Some(&bias), norm.eps, true);
    if norm.activation == Activation::Silu { normed.silu() } else { normed }
}

fn check_norm(norm: &Norm, groups: i64) {
    for shift in [Shift::default(), norm.shift()] {
        for activation in [Activation::None, Activation::Silu] {
            let layer = norm.with(groups, shift, activation);
            let size = norm.xs.size();
            let case = format!("{size:?} in {groups}, {activation:?}, shift {shift:?}");
            let ours = fused::group_norm(&norm.xs, &layer).expect("a tensor of the layer's kind");
            assert!(ours.permute([0, 2, 3, 1]).is_contiguous(), "{case}");
            let [theirs, right] =
                [Kind::BFloat16, Kind::Double].map(|kind| by_libtorch(&norm.xs, &layer, kind));
            check(&case, &ours, &theirs, &right);
        }
    }
}

#[test]
fn group_norm_is_as_exact_as_libtorchs_layers_at_every_size() {
    if !run_here() {
        return;
    }
    for channels in [32, 48, 320, 640, 960, 1920] {
        for groups in [4, 16, 32].into_iter().filter(|groups| channels % groups == 0) {
            for [n, h, w] in [[1, 1, 1], [3, 1, 1], [1, 7, 5], [3, 7, 5], [1, 16, 17]] {
                check_norm(&Norm::new([n, channels, h, w], 0.5, 2.0), groups);
            }
        }
    }
    for channels in [320, 960] {
        check_norm(&Norm::new([3, channels, 64, 64], 0.5, 2.0), 32);
    }
    // Neither channels nor a group's share of them fill registers.
    for (channels, groups) in [(7, 7), (36, 6), (33, 1), (95, 5)] {
        check_norm(&Norm::new([2, channels, 5, 3], -1.0, 1.0), groups);
    }
}

#[test]
fn group_norm_keeps_small_differences_about_a_large_mean() {
    if !run_here() {
        return;
    }
    for shape in [[1, 32, 64, 64], [3, 320, 7, 5], [2, 48, 16, 16]] {
        let norm = Norm::new(shape, 100.0, 0.1);
        check_norm(&norm, 16);
        // libtorch's own is so far off here that it says little: 0.3 % is what the last rounding costs.
        let layer = norm.with(16, norm.shift(), Activation::None);
        let right = by_libtorch(&norm.xs, &layer, Kind::Double);
        let ours = fused::group_norm(&norm.xs, &layer).expect("a tensor of the layer's kind");
        let error = relative_error(&ours, &right);
        assert!(error < 3e-3, "{shape:?}: {error:.1e}");
    }
}

#[test]
fn a_number_that_is_none_spoils_its_group_and_no_other() {
    if !run_here() {
        return;
    }
    let norm = Norm::new([2, 64, 5, 4], 0.0, 1.0);
    let _ = norm.xs.i((1, 9, 2, 3)).fill_(f64::NAN);
    let layer = norm.with(8, norm.shift(), Activation::Silu);
    let normed = fused::group_norm(&norm.xs, &layer).expect("a tensor of the layer's kind");
    let none =
        normed.isnan().to_kind(Kind::Int64).sum_dim_intlist([2i64, 3].as_slice(), false, None);
    let mut expected = vec![0; 128];
    expected[64 + 8..64 + 16].fill(20); // the second row's second group of eight channels
    assert_eq!(Vec::<i64>::try_from(none.view(-1)).unwrap(), expected);
}

#[test]
fn products_take_a_residual_in_before_they_round() {
    if !run_here() {
        return;
    }
    for [n, c, out, h, w] in [[3, 320, 320, 16, 16], [1, 32, 48, 7, 5], [3, 64, 64, 1, 1]] {
        let case = format!("{c} to {out} channels, {n}x{h}x{w}");
        let xs = channels_last(&bf16(&random(&[n, c, h, w], 8)));
        let residual = channels_last(&bf16(&(random(&[n, out, h, w], 9) * 3.0)));
        let bias = bf16(&random(&[out], 10));
        let before = residual.copy();

        let weight = bf16(&(random(&[out, c, 3, 3], 11) * (1.0 / f64::from(3 * c as i32))));
        let convolved = |kind| {
            let [xs, weight, bias] = [&xs, &weight, &bias].map(|it| it.to_kind(kind));
            xs.conv2d(&weight, Some(&bias), [1], [1], [1], 1) + residual.to_kind(kind)
        };
        let packed = PackedConv2d::new(weight.shallow_clone(), 1, 1).expect("weights of a CPU");
        let ours = packed.forward_onto(&xs, &bias, &residual);
        check(
            &format!("{case}, convolved"),
            &ours,
            &convolved(Kind::BFloat16),
            &convolved(Kind::Double),
        );

        let weight = bf16(&(random(&[out, c], 12) * (1.0 / f64::from(c as i32))));
        let rows = |xs: &Tensor| xs.flatten(2, 3).transpose(1, 2);
        let mapped = |kind| {
            let [xs, weight, bias] = [&xs, &weight, &bias].map(|it| it.to_kind(kind));
            rows(&xs).linear(&weight, Some(&bias)) + rows(&residual).to_kind(kind)
        };
        let packed = PackedLinear::new(weight.shallow_clone()).expect("weights of a CPU");
        let ours = packed.forward_onto(&rows(&xs), Some(&bias), &rows(&residual));
        check(&format!("{case}, mapped"), &ours, &mapped(Kind::BFloat16), &mapped(Kind::Double));

        assert_eq!(residual, before, "{case}: a residual is somebody else's");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    if !run_here() {
        return;
    }
    let norm = Norm::new([3, 80, 23, 29], 3.0, 1.0);
    let layer = norm.with(16, norm.shift(), Activation::Silu);
    let threads = tch::get_num_threads();
    let results = [1, 2, 5].map(|threads| {
        tch::set_num_threads(threads);
        fused::group_norm(&norm.xs, &layer)
    });
    tch::set_num_threads(threads);
    assert!(results[0].is_some());
    assert!(results.iter().all(|it| *it == results[0]));
}

#[test]
fn other_tensors_are_left_to_libtorch() {
    let norm = Norm::new([2, 32, 5, 4], 0.0, 1.0);
    let plain = norm.with(4, Shift::default(), Activation::None);
    let none = |xs: &Tensor, norm: &GroupNorm<'_>| fused::group_norm(xs, norm).is_none();
    assert!(none(&norm.xs.to_kind(Kind::Float), &plain), "fp32");
    assert!(none(&norm.xs.contiguous(), &plain), "channels first");
    assert!(none(&norm.xs.i(0), &plain), "no batch");
    assert!(none(&norm.xs.narrow(0, 0, 0), &plain), "nothing");
    assert!(
        none(&norm.xs, &norm.with(5, Shift::default(), Activation::None)),
        "groups that do not fit"
    );
    assert!(none(&norm.xs, &norm.with(0, Shift::default(), Activation::None)), "no groups");
    let weight = norm.weight.to_kind(Kind::Float);
    assert!(none(&norm.xs, &GroupNorm { weight: &weight, ..plain }), "mixed kinds");
    let shift = Shift { rows: Some(&norm.channels), ..Shift::default() };
    assert!(none(&norm.xs, &GroupNorm { shift, ..plain }), "one shift for two rows");
}
