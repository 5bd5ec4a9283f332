//! The CPU's own attention kernel against softmax in fp64 and against libtorch's kernel on the same inputs.
#![expect(clippy::float_cmp, reason = "exact zeros and infinities are promised")]
#![expect(clippy::print_stderr, reason = "a run says what it skipped")]

use retouch::{
    attention::{qkv::Qkv, role::Role, site::Span},
    kernels::cpu::flash_attention::{self, AttentionOutput},
};
use tch::{Device, IndexOp, Kind, Tensor};

/// Batch rows and heads of every case.
const ROWS: [i64; 2] = [2, 3];

/// Whether the kernel runs here; says so where it does not.
fn runs_here() -> bool {
    let available = flash_attention::is_available();
    if !available {
        eprintln!("skipped: this processor has no AVX512-BF16");
    }
    available
}

fn random(length: i64, dim: i64, seed: i64) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn([ROWS[0], ROWS[1], length, dim], (Kind::Float, Device::Cpu))
        .to_kind(Kind::BFloat16)
}

fn attend(query: &Tensor, key: &Tensor, value: &Tensor, scale: f64) -> AttentionOutput {
    flash_attention::attend(query, key, value, scale).expect("inputs of the kernel's kind")
}

/// libtorch's kernel in the inputs' dtype.
fn libtorch(query: &Tensor, key: &Tensor, value: &Tensor, scale: f64) -> Tensor {
    let none = None::<Tensor>;
    Tensor::scaled_dot_product_attention(query, key, value, none, 0.0, false, scale, false)
}

/// Output and log-sum-exp by their definitions, in float64.
fn exact(query: &Tensor, key: &Tensor, value: &Tensor, scale: f64) -> (Tensor, Tensor) {
    let [query, key, value] = [query, key, value].map(|it| it.to_kind(Kind::Double));
    let logits = query.matmul(&key.transpose(-1, -2)) * scale;
    let log_sum_exp = logits.logsumexp([-1i64].as_slice(), true);
    ((&logits - &log_sum_exp).exp().matmul(&value), log_sum_exp.squeeze_dim(-1))
}

/// Norm of the difference over the norm of what is right.
fn relative_error(found: &Tensor, right: &Tensor) -> f64 {
    let distance = (found.to_kind(Kind::Double) - right).norm().double_value(&[]);
    distance / right.norm().double_value(&[])
}

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

/// Checks a case against float64: at most libtorch's error, and the log-sum-exp to fp32's rounding.
fn check(query: &Tensor, key: &Tensor, value: &Tensor, scale: f64) {
    let case = format!("{:?} x {:?}, scale {scale}", query.size(), key.size());
    let found = attend(query, key, value, scale);
    let (output, log_sum_exp) = exact(query, key, value, scale);
    assert_eq!(found.output.size(), query.size(), "{case}");
    let (ours, theirs) = (
        relative_error(&found.output, &output),
        relative_error(&libtorch(query, key, value, scale), &output),
    );
    // Both round probabilities and output to bf16; 2 % is how far two orders of summation differ in that.
    assert!(ours <= theirs * 1.02 + 1e-9, "{case}: {ours:.3e}, libtorch {theirs:.3e}");
    let error = largest(&(&found.log_sum_exp.to_kind(Kind::Double) - &log_sum_exp));
    // fp32 sums of products of that size, rounded once more by 2^-24.
    let bound = 1e-5 + largest(&log_sum_exp) * 1e-6;
    assert!(error < bound, "{case}: log-sum-exp off by {error:.1e}");
}

#[test]
fn error_is_at_most_libtorchs_at_every_head_size_and_number_of_keys() {
    if !runs_here() {
        return;
    }
    for dim in [2, 8, 40, 64, 80, 96, 160] {
        for (queries, keys) in [(64, 1), (256, 77), (65, 97), (1, 6), (100, 1024)] {
            let case = [random(queries, dim, 1), random(keys, dim, 2), random(keys, dim, 3)];
            check(&case[0], &case[1], &case[2], (dim as f64).powf(-0.5));
        }
    }
}

#[test]
fn error_is_at_most_libtorchs_with_thousands_of_keys() {
    if !runs_here() {
        return;
    }
    for (queries, keys, dim) in [(130, 4096, 40), (70, 9216, 40), (66, 4096, 160)] {
        let case = [random(queries, dim, 4), random(keys, dim, 5), random(keys, dim, 6)];
        check(&case[0], &case[1], &case[2], (dim as f64).powf(-0.5));
    }
}

#[test]
fn logits_of_ten_thousand_neither_overflow_nor_lose_their_order() {
    if !runs_here() {
        return;
    }
    for amplitude in [1e2, 1e4] {
        let [query, key, value] = [7, 8, 9].map(|seed| random(200, 40, seed));
        let scale = amplitude / largest(&query.matmul(&key.transpose(-1, -2)));
        check(&query, &key, &value, scale);
    }
}

#[test]
fn strided_views_give_what_their_copies_give() {
    if !runs_here() {
        return;
    }
    // As the projections leave them: (N, L, 3·H·D), split into Q, K and V, then into heads.
    let [n, h] = ROWS;
    let dim = 40;
    tch::manual_seed(10);
    let joined = Tensor::randn([n, 150, 3 * h * dim], (Kind::BFloat16, Device::Cpu));
    let views = joined.chunk(3, 2);
    let views: Vec<Tensor> =
        views.iter().map(|it| it.unflatten(2, [h, dim]).transpose(1, 2)).collect();
    let copies: Vec<Tensor> = views.iter().map(Tensor::contiguous).collect();
    let [from_views, from_copies] =
        [&views, &copies].map(|it| attend(&it[0], &it[1], &it[2], 0.158));
    assert_eq!(from_views.output, from_copies.output);
    assert_eq!(from_views.log_sum_exp, from_copies.log_sum_exp);
    check(&views[0], &views[1], &views[2], 0.158);
    assert!(from_views.output.transpose(1, 2).is_contiguous(), "heads are joined without a copy");
}

#[test]
fn a_query_without_a_finite_logit_attends_to_nothing() {
    if !runs_here() {
        return;
    }
    let [query, key, value] = [11, 12, 13].map(|seed| random(70, 40, seed));
    // One channel is -inf in every key: where a query has a positive number there, all its logits are -inf.
    let _ = key.i((.., .., .., 0)).fill_(f64::NEG_INFINITY);
    let _ = query.i((.., .., .., 0)).fill_(0.5);
    let found = attend(&query, &key, &value, 0.2);
    assert_eq!(largest(&found.output.to_kind(Kind::Float)), 0.0);
    assert_eq!(found.log_sum_exp.max().double_value(&[]), f64::NEG_INFINITY);
    let mut sum = Tensor::zeros([70, 70], (Kind::Float, Device::Cpu));
    let [q, k, lse] = [&query, &key, &found.log_sum_exp].map(|it| it.select(0, 0));
    flash_attention::add_mean_probs(&q, &k, &lse, 0.2, &mut sum);
    assert_eq!(largest(&sum), 0.0);

    // Half of the keys as they were: the rest has the whole weight.
    let [query, key, value] = [11, 12, 13].map(|seed| random(70, 40, seed));
    let _ = query.i((.., .., .., 0)).fill_(0.5);
    let _ = key.i((.., .., 35.., 0)).fill_(f64::NEG_INFINITY);
    let half = [&key, &value].map(|it| it.narrow(2, 0, 35));
    let found = attend(&query, &key, &value, 0.2);
    assert_eq!(found.output, attend(&query, &half[0], &half[1], 0.2).output);
}

#[test]
fn what_is_not_a_number_stays_so_and_stays_in_its_query() {
    if !runs_here() {
        return;
    }
    let [query, key, value] = [14, 15, 16].map(|seed| random(70, 40, seed));
    let _ = query.i((0, 0, 3, 7)).fill_(f64::NAN);
    let output = attend(&query, &key, &value, 0.2).output.isnan();
    assert_eq!(output.sum(Kind::Int64).int64_value(&[]), 40);
    assert!(output.i((0, 0, 3)).all().int64_value(&[]) == 1);
}

#[test]
fn mean_probabilities_are_those_of_a_softmax() {
    if !runs_here() {
        return;
    }
    for (queries, keys, dim) in [(150, 77, 40), (1024, 1024, 80), (64, 6, 160)] {
        let (query, key) = (random(queries, dim, 17), random(keys, dim, 18));
        let scale = (dim as f64).powf(-0.5);
        let log_sum_exp = attend(&query, &key, &key, scale).log_sum_exp;
        let [q, k, lse] = [&query, &key, &log_sum_exp].map(|it| it.select(0, 1));
        let mut sum = Tensor::ones([queries, keys], (Kind::Float, Device::Cpu));
        flash_attention::add_mean_probs(&q, &k, &lse, scale, &mut sum);
        let [q, k] = [q, k].map(|it| it.to_kind(Kind::Double));
        let probs = (q.matmul(&k.transpose(-1, -2)) * scale).softmax(-1, Kind::Double);
        let right = probs.mean_dim([0i64].as_slice(), false, Kind::Double) + 1.0;
        // Seven roundings of numbers below 2 in fp32: the logit, its power of two, the sum.
        let error = largest(&(sum.to_kind(Kind::Double) - right));
        assert!(error < 4e-7, "{queries} x {keys} x {dim}: {error:.1e}");
    }
}

#[test]
fn guests_read_the_same_probabilities_from_either_kernel() {
    let [query, key, value] = [(96, 22), (77, 23), (77, 24)].map(|(n, seed)| random(n, 40, seed));
    let roles = [Role::Uncond, Role::Text];
    let layer = |kind: Kind| {
        let [query, key, value] = [&query, &key, &value].map(|it| it.to_kind(kind));
        let qkv = Qkv { query, key, value, scale: 0.158, roles: &roles, unrotated: None };
        let (attended, row) = (qkv.attend(), qkv.row_of(Role::Text));
        let mut mean = Tensor::zeros([50, 77], (Kind::Float, Device::Cpu));
        let parts = [Span { start: 9, length: 50 }, Span::first(77)];
        qkv.add_mean_probs(&attended, row, parts, &mut mean);
        (qkv.first_probs(&attended, row), mean)
    };
    let (own, libtorchs) = (layer(Kind::BFloat16), layer(Kind::Float));
    // The same numbers in fp32 from the same bf16 inputs, summed in another order.
    assert!(largest(&(own.0 - libtorchs.0)) < 1e-6);
    assert!(largest(&(own.1 - libtorchs.1)) < 1e-6);
}

#[test]
fn what_the_kernel_does_not_take_is_left_to_libtorch() {
    let [query, key, value] = [19, 20, 21].map(|seed| random(8, 4, seed));
    let left = |query: &Tensor, key: &Tensor, value: &Tensor, scale: f64| {
        flash_attention::attend(query, key, value, scale).is_none()
    };
    let [q, k, v] = [&query, &key, &value].map(|it| it.to_kind(Kind::Float));
    assert!(left(&q, &k, &v, 0.5), "fp32");
    let [q, k, v] = [&query, &key, &value].map(|it| it.narrow(3, 0, 3));
    assert!(left(&q, &k, &v, 0.5), "an odd head size");
    let [q, k, v] = [&query, &key, &value].map(|it| it.transpose(2, 3));
    assert!(left(&q, &k, &v, 0.5), "rows that are not contiguous");
    assert!(left(&query, &key.narrow(2, 0, 7), &value, 0.5), "keys without a value");
    assert!(left(&query, &key, &value, 0.0), "no scale");
    assert!(left(&query.narrow(2, 0, 0), &key, &value, 0.5), "no query");
}
