//! Micro-benchmarks of what runs at every step beside the networks: `cargo bench --bench micro`.
#![allow(missing_docs)]

use std::{path::Path, sync::Arc, time::Duration};

use divan::{Bencher, black_box, counter::ItemsCount};
use image::{Rgb, RgbImage};
use retouch::{
    cluster::KMeans,
    jobs::{
        clock::Clock,
        follow::Follower,
        job::Job,
        latest::Shot,
        queue::QueueLimits,
        store::{Limits, Store},
    },
    journal::{Journal, ledger::Revision, space::Space},
    kernels::cpu::{
        flash_attention,
        fused::{
            self,
            norm::{Activation, GroupNorm, Shift},
        },
    },
    models::{
        autoencoder_tiny::TinyDecoder,
        snapshot::Snapshot,
        stable_diffusion::autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
        weights::Checkpoint,
    },
    pipelines::{image_processor, load, preview::LatentPreview},
    wire::{
        journal::v1::JobRecord,
        pictures::LazyPreview,
        v1::{EditJob, Pass, StepProgress},
    },
};
use tch::{Device, Kind, Tensor};
use uuid::Uuid;

/// Queries, keys and head size of a layer of three rows and eight heads, as at 512 px.
const LAYERS: [(i64, i64, i64); 4] =
    [(4096, 4096, 40), (1024, 1024, 80), (256, 256, 160), (4096, 77, 40)];

fn main() {
    divan::main();
}

fn random(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
}

fn layer((queries, keys, dim): (i64, i64, i64)) -> [Tensor; 3] {
    [queries, keys, keys].map(|length| random(&[3, 8, length, dim], Kind::BFloat16))
}

/// Multiplications and additions of a layer.
fn operations((queries, keys, dim): (i64, i64, i64)) -> ItemsCount {
    ItemsCount::new((4 * 3 * 8 * queries * keys * dim) as u64)
}

#[divan::bench(args = LAYERS, sample_count = 10)]
fn attention(bencher: Bencher<'_, '_>, size: (i64, i64, i64)) {
    let [query, key, value] = layer(size);
    let scale = (size.2 as f64).powf(-0.5);
    if !flash_attention::is_available() {
        return; // libtorch does it on this processor
    }
    bencher
        .counter(operations(size))
        .bench_local(|| flash_attention::attend(black_box(&query), &key, &value, scale));
}

#[divan::bench(args = LAYERS, sample_count = 10)]
fn attention_of_libtorch(bencher: Bencher<'_, '_>, size: (i64, i64, i64)) {
    let [query, key, value] = layer(size);
    let scale = (size.2 as f64).powf(-0.5);
    let none = None::<Tensor>;
    bencher.counter(operations(size)).bench_local(|| {
        Tensor::scaled_dot_product_attention(
            black_box(&query),
            &key,
            &value,
            none.as_ref(),
            0.0,
            false,
            scale,
            false,
        )
    });
}

/// Channels and side of a grid of three rows: residual blocks' group norms at 256 px and, the last, at 512 px.
const NORMS: [(i64, i64); 4] = [(320, 32), (1280, 16), (2560, 8), (960, 64)];

/// Tensors of a group norm: input (channels-last), weight, bias, and the shift of its rows.
fn grid((channels, side): (i64, i64)) -> [Tensor; 4] {
    let shapes = [&[3, side, side, channels][..], &[channels], &[channels], &[3, channels]];
    let [xs, weight, bias, rows] = shapes.map(|shape| random(shape, Kind::BFloat16));
    [xs.permute([0, 3, 1, 2]), weight, bias, rows]
}

/// A group norm with the time embedding before it and `SiLU` after it.
#[divan::bench(args = NORMS, sample_count = 30)]
fn group_norm(bencher: Bencher<'_, '_>, size: (i64, i64)) {
    let [xs, weight, bias, rows] = grid(size);
    let (weight, bias) = (&weight, &bias);
    let shift = Shift { rows: Some(&rows), channels: None };
    let activation = Activation::Silu;
    let norm = GroupNorm { groups: 32, weight, bias, eps: 1e-5, shift, activation };
    if fused::group_norm(&xs, &norm).is_none() {
        return; // libtorch does it on this processor
    }
    bencher.bench_local(|| fused::group_norm(black_box(&xs), &norm));
}

#[divan::bench(args = NORMS, sample_count = 30)]
fn group_norm_of_libtorch(bencher: Bencher<'_, '_>, size: (i64, i64)) {
    let [mut xs, weight, bias, rows] = grid(size);
    bencher.bench_local(|| {
        xs += rows.unsqueeze(-1).unsqueeze(-1);
        black_box(&xs).group_norm(32, Some(&weight), Some(&bias), 1e-5, true).silu_()
    });
}

/// The attention map of one watched layer, from its log-sum-exp.
#[divan::bench(args = [(1024, 1024, 80), (256, 77, 160)], sample_count = 10)]
fn watched_map(bencher: Bencher<'_, '_>, size: (i64, i64, i64)) {
    let [query, key, value] = layer(size);
    let scale = (size.2 as f64).powf(-0.5);
    let Some(attended) = flash_attention::attend(&query, &key, &value, scale) else { return };
    let [query, key, log_sum_exp] = [&query, &key, &attended.log_sum_exp].map(|it| it.select(0, 0));
    let mut sum = Tensor::zeros([size.0, size.1], (Kind::Float, Device::Cpu));
    bencher.bench_local(|| {
        flash_attention::add_mean_probs(&query, &key, &log_sum_exp, scale, &mut sum);
    });
}

/// k-means of a 512 px picture's self-attention map with the default number of clusters.
#[divan::bench(args = [256, 1024], sample_count = 10)]
fn clusters(bencher: Bencher<'_, '_>, cells: i64) {
    let rows = random(&[cells, cells], Kind::Float).softmax(-1, Kind::Float);
    bencher.bench_local(|| KMeans::new(12).labels(black_box(&rows)));
}

/// A preview of latents, as at each step with previews.
#[divan::bench(args = [32, 64])]
fn preview(bencher: Bencher<'_, '_>, side: u32) {
    let pixel = |x: u32, y: u32| Rgb([(x % 256) as u8, (y % 256) as u8, ((x * y) % 256) as u8]);
    let image = RgbImage::from_fn(8 * side, 8 * side, pixel);
    let latents = random(&[1, 4, i64::from(side), i64::from(side)], Kind::Float);
    let preview = LatentPreview::fit(&image, &latents);
    bencher.bench_local(|| preview.render(black_box(&latents)));
}

/// The same with the demo model's latents of 64 px, by its tiny decoder and its autoencoder.
#[divan::bench(args = ["linear", "tiny", "vae"])]
fn demo_preview(bencher: Bencher<'_, '_>, way: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    let snapshot = Snapshot::open(&path).unwrap_or_else(|error| panic!("{error}"));
    let model = load::load(&snapshot, Kind::Float, Device::Cpu);
    let model = model.unwrap_or_else(|error| panic!("{error}"));
    let latents = random(&[1, 4, 32, 32], Kind::Float);
    let map = LatentPreview::fit(&RgbImage::new(64, 64), &latents);
    bencher.bench_local(|| {
        let _no_grad = tch::no_grad_guard();
        match way {
            "linear" => drop(map.render(black_box(&latents))),
            "tiny" => drop(
                model.decode_tiny(black_box(&latents)).map(|it| image_processor::of_bytes(&it)),
            ),
            _ => drop(model.decode(black_box(&latents))),
        }
    });
}

/// The same by a tiny decoder of TAESD's size, at 256 and 512 px.
#[divan::bench(args = [32, 64], sample_count = 10)]
fn taesd_preview(bencher: Bencher<'_, '_>, side: i64) {
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile();
    let Ok(file) = file else { panic!("a benchmark needs a file") };
    let width = 64;
    let mut tensors =
        vec![("1.weight".to_owned(), vec![width, 4]), ("19.weight".to_owned(), vec![3, width])];
    tensors.extend([7, 12, 17].map(|it| (format!("{it}.weight"), vec![width, width])));
    for block in [3, 4, 5, 8, 9, 10, 13, 14, 15, 18] {
        tensors
            .extend([0, 2, 4].map(|it| (format!("{block}.conv.{it}.weight"), vec![width, width])));
    }
    let resampled = ["7.weight", "12.weight", "17.weight"];
    let weights = tensors.into_iter().flat_map(|(key, shape)| {
        let bias = (key.replace("weight", "bias"), random(&shape[..1], Kind::Float));
        let weight = random(&[&shape[..], &[3, 3]].concat(), Kind::Float) / 24.0;
        let bias = (!resampled.contains(&key.as_str())).then_some(bias);
        [Some((key, weight)), bias].into_iter().flatten()
    });
    let weights: Vec<(String, Tensor)> = weights.collect();
    Tensor::write_safetensors(&weights, file.path()).unwrap_or_else(|error| panic!("{error}"));
    let decoder = TinyDecoder::open(file.path(), Kind::Float, Device::Cpu);
    let decoder = decoder.unwrap_or_else(|error| panic!("{error}"));
    let latents = random(&[1, 4, side, side], Kind::Float);
    bencher.bench_local(|| decoder.decode(black_box(&latents)));
}

/// The same by an autoencoder of Stable Diffusion's size, whose weights are zero, at 256 and 512 px.
#[divan::bench(args = [32, 64], sample_count = 3, sample_size = 1)]
fn stable_diffusion_preview(bencher: Bencher<'_, '_>, side: i64) {
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile();
    let Ok(file) = file else { panic!("a benchmark needs a file") };
    let none = [("none", Tensor::zeros([1], (Kind::Float, Device::Cpu)))];
    Tensor::write_safetensors(&none, file.path()).unwrap_or_else(|error| panic!("{error}"));
    // What a checkpoint lacks is zeros.
    let weights = Checkpoint::open(file.path()).unwrap_or_else(|error| panic!("{error}"));
    let config = AutoencoderKlConfig::from_json(
        r#"{"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
            "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
            "latent_channels": 4, "scaling_factor": 0.18215, "norm_num_groups": 32}"#,
    );
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let vae = AutoencoderKl::new(&weights.root(Kind::Float, Device::Cpu), &config);
    let latents = random(&[1, 4, side, side], Kind::Float);
    bencher.bench_local(|| {
        let _no_grad = tch::no_grad_guard();
        vae.decode(black_box(&latents))
    });
}

/// Limits that the benchmark never reaches.
fn limits() -> Limits {
    let hour = Duration::from_secs(3600);
    Limits {
        slots: 1,
        queue: QueueLimits { total: 1, tenant: 1 },
        tenant_awaiting: 1,
        queue_timeout: hour,
        run_timeout: hour,
        default_ttl: hour,
        max_ttl: hour,
        max_pixels: 1 << 24,
        max_artifact_bytes: 1 << 24,
        max_attempts: 1,
        lease: Duration::from_secs(30),
    }
}

/// Publishing a step's progress with preview to every follower: the service's cost per step.
#[divan::bench(args = [1, 10, 100, 1000], sample_count = 20)]
fn event_fan_out(bencher: Bencher<'_, '_>, followers: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let (Ok(runtime), Ok(folder)) = (runtime, tempfile::tempdir()) else {
        panic!("a benchmark needs a runtime and a folder");
    };
    let space = Space { quota: 1 << 30, min_free: 0 };
    let journal = Journal::open(folder.path(), space).unwrap_or_else(|error| panic!("{error}"));
    let store = Store::open(journal, limits()).unwrap_or_else(|error| panic!("{error}"));
    let job = EditJob { name: format!("jobs/{}", Uuid::now_v7()), ..EditJob::default() };
    let record = JobRecord { job: Some(job), ..JobRecord::default() };
    let job = Arc::new(Job::new(record, Revision::NONE, Clock::default()));
    let mut watching: Vec<Follower> =
        (0..followers).map(|_| Follower::new(&store, &job, 0, None)).collect();
    let picture = Arc::new(RgbImage::new(512, 512));
    bencher.counter(ItemsCount::new(2 * followers)).bench_local(|| {
        let picture = LazyPreview::new(Arc::clone(&picture), None);
        job.show_preview(Shot::new(Pass::Edit, 1, picture));
        job.show_step(StepProgress { step: 1, total: 20, ..StepProgress::default() });
        runtime.block_on(async {
            for follower in &mut watching {
                for _ in 0..2 {
                    let event = follower.next().await;
                    assert!(event.is_ok_and(|it| it.is_some()), "an event was shown");
                }
            }
        });
    });
}
