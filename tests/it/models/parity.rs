//! Outputs of each stage of the networks.

use retouch::{
    attention::{
        processor::{AttnProcessor, Unwatched},
        qkv::{Attended, Qkv},
        role::Role,
        site::{AttnSite, Span},
    },
    models::stable_diffusion::{attention::AttnContext, unet_2d_condition::UNet2DConditionModel},
};
use tch::{Kind, Tensor};

use super::{Record, SIZES, SNAPSHOTS, error, relative_l2, unet, unet_with, vae};

/// fp32, up to 70 layers deep: six times the largest error seen, 1.6e-6.
const TOLERANCE: f64 = 1e-5;
/// Of a recorded stage, every fifth value is kept (`STAGE_STRIDE` of the recording script).
const STAGE_STRIDE: i64 = 5;

#[test]
fn unet_matches_diffusers_stage_by_stage() {
    for (name, size) in SNAPSHOTS.iter().flat_map(|name| SIZES.map(|size| (name, size))) {
        let record = Record::of(name);
        let unet = unet(name, Kind::Float);
        let levels = unet.config().levels();
        let check = |key: &str, found: &Tensor| {
            let strided = found.flatten(0, -1).slice(0, None, None, STAGE_STRIDE);
            let error = error(&strided, record.get(size, &format!("stages.{key}")));
            assert!(error < TOLERANCE, "{name} {size} {key}: {error:e}");
        };
        let mut guest = Unwatched;
        let mut context = AttnContext {
            encoder_hidden_states: record.prompts(),
            roles: &Role::TRIPLE,
            processor: &mut guest,
        };

        let mut state = unet.pre_process(record.get(size, "sample"), record.get(size, "timesteps"));
        check("conv_in", &state.sample);
        for block in 0..levels {
            let before = state.residuals.len();
            state = unet.down(block, state, &mut context);
            check(&format!("down_blocks.{block}"), &state.sample);
            for (index, residual) in state.residuals[before..].iter().enumerate() {
                check(&format!("down_blocks.{block}.residuals.{index}"), residual);
            }
        }
        state = unet.mid(state, &mut context);
        check("mid_block", &state.sample);
        for block in 0..levels {
            state = unet.up(block, state, &mut context);
            check(&format!("up_blocks.{block}"), &state.sample);
        }
        assert!(state.residuals.is_empty());
        let stages =
            record.0.keys().filter(|key| key.starts_with(&format!("{size}.stages."))).count();
        let residuals = unet.config().layers_per_block.iter().map(|layers| layers + 1).sum::<i64>()
            as usize
            - 1;
        assert_eq!(
            stages,
            2 + 2 * levels + residuals,
            "{name} {size}: a recorded stage was not looked at"
        );
    }
}

#[test]
fn unet_matches_diffusers() {
    for (name, size) in SNAPSHOTS.iter().flat_map(|name| SIZES.map(|size| (name, size))) {
        let record = Record::of(name);
        let found = forward(&unet(name, Kind::Float), &record, size, &mut Unwatched);
        let error = error(&found, record.get(size, "noise_pred"));
        assert!(error < TOLERANCE, "{name} {size}: {error:e}");
    }
}

#[test]
fn autoencoder_matches_diffusers_both_ways() {
    for (name, size) in SNAPSHOTS.iter().flat_map(|name| SIZES.map(|size| (name, size))) {
        let record = Record::of(name);
        let vae = vae(name, Kind::Float);
        let expected = record.get(size, "vae.latents");
        let encoded = error(&vae.encode(record.get(size, "vae.images")), expected);
        let decoded = error(&vae.decode(expected), record.get(size, "vae.decoded"));
        assert!(
            encoded < TOLERANCE && decoded < TOLERANCE,
            "{name} {size}: {encoded:e}, {decoded:e}"
        );
    }
}

#[test]
fn half_precision_stays_near_full_precision() {
    // Relative L2 distance to fp32: twice the largest seen, 0.029 in bf16 and 0.0043 in fp16, which has three bits
    // more.
    for (kind, tolerance) in [(Kind::BFloat16, 0.06), (Kind::Half, 0.009)] {
        for (name, size) in SNAPSHOTS.iter().flat_map(|name| SIZES.map(|size| (name, size))) {
            let record = Record::of(name);
            let unet = unet(name, kind);
            let vae = vae(name, kind);
            let noise_pred = unet.forward(
                &record.get(size, "sample").to_kind(kind),
                record.get(size, "timesteps"),
                &record.prompts().to_kind(kind),
                &Role::TRIPLE,
                &mut Unwatched,
            );
            let latents = record.get(size, "vae.latents");
            let distances = [
                (noise_pred, record.get(size, "noise_pred")),
                (vae.encode(&record.get(size, "vae.images").to_kind(kind)), latents),
                (vae.decode(&latents.to_kind(kind)), record.get(size, "vae.decoded")),
            ]
            .map(|(found, expected)| {
                assert_eq!(found.kind(), kind);
                relative_l2(&found, expected)
            });
            assert!(
                distances.iter().all(|it| *it < tolerance),
                "{name} {size} {kind:?}: {distances:?}"
            );
        }
    }
}

#[test]
fn rows_of_a_batch_do_not_touch_each_other() {
    let record = Record::of("sd1");
    let unet = unet("sd1", Kind::Float);
    let together = forward(&unet, &record, "odd", &mut Unwatched);
    for row in 0..3 {
        let alone = unet.forward(
            &record.get("odd", "sample").narrow(0, row, 1),
            &record.get("odd", "timesteps").narrow(0, row, 1),
            &record.prompts().narrow(0, row, 1),
            &Role::TRIPLE[row as usize..][..1],
            &mut Unwatched,
        );
        let error = error(&alone, &together.narrow(0, row, 1));
        assert!(error < TOLERANCE, "row {row}: {error:e}");
    }
}

#[test]
fn whole_timesteps_are_the_same_as_fractional_ones() {
    let record = Record::of("sd1");
    let unet = unet("sd1", Kind::Float);
    let sample = record.get("odd", "sample");
    let [float, int] = [Kind::Double, Kind::Int64].map(|kind| {
        let timesteps = Tensor::from_slice(&[999_i64, 500, 0]).to_kind(kind);
        unet.forward(sample, &timesteps, record.prompts(), &Role::TRIPLE, &mut Unwatched)
    });
    assert_eq!(float, int);
}

#[test]
fn a_centered_sample_is_taken_from_zero_to_one_to_plus_minus_one() {
    let record = Record::of("sd1");
    let centering = unet_with("sd1", Kind::Float, |config| config.center_input_sample = true);
    let sample = record.get("even", "sample");
    let found = centering.forward(
        &((sample + 1.0) / 2.0),
        record.get("even", "timesteps"),
        record.prompts(),
        &Role::TRIPLE,
        &mut Unwatched,
    );
    let error = error(&found, record.get("even", "noise_pred"));
    assert!(error < TOLERANCE, "{error:e}");
}

/// Watches every site, and computes its attention from probabilities, a few queries at a time.
struct Explicit;

impl AttnProcessor for Explicit {
    fn watches(&self, _site: &AttnSite) -> bool {
        true
    }

    fn visit(&mut self, _site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
        const CHUNK: i64 = 7;
        let queries = qkv.query.size()[2];
        let rows = (0..qkv.query.size()[0]).map(|row| {
            let chunks: Vec<_> = (0..queries)
                .step_by(CHUNK as usize)
                .map(|start| {
                    let probs = qkv.probs(row, Span { start, length: CHUNK.min(queries - start) });
                    probs.matmul(&qkv.value.select(0, row)) // (H, q, D)
                })
                .collect();
            Tensor::cat(&chunks, 1)
        });
        let rows = Tensor::stack(&rows.collect::<Vec<_>>(), 0);
        attended.output.shallow_clone().copy_(&rows);
    }
}

#[test]
fn attention_from_probabilities_equals_fused_attention() {
    for (name, size) in SNAPSHOTS.iter().flat_map(|name| SIZES.map(|size| (name, size))) {
        let record = Record::of(name);
        let found = forward(&unet(name, Kind::Float), &record, size, &mut Explicit);
        let error = error(&found, record.get(size, "noise_pred"));
        assert!(error < TOLERANCE, "{name} {size}: {error:e}");
    }
}

fn forward(
    unet: &UNet2DConditionModel,
    record: &Record,
    size: &str,
    guest: &mut dyn AttnProcessor,
) -> Tensor {
    let (sample, timesteps) = (record.get(size, "sample"), record.get(size, "timesteps"));
    unet.forward(sample, timesteps, record.prompts(), &Role::TRIPLE, guest)
}

#[test]
fn prompts_that_change_between_calls_are_seen() {
    let record = Record::of("sd1");
    let unet = unet("sd1", Kind::Float);
    let predict = |prompts: &Tensor| {
        let (sample, timesteps) = (record.get("even", "sample"), record.get("even", "timesteps"));
        unet.forward(sample, timesteps, prompts, &Role::TRIPLE, &mut Unwatched)
    };
    let first = record.prompts();
    let expected = predict(first);
    // Another prompt, and the same words for other rows: a view that begins where the first one does.
    for other in [first * -1.0, first.narrow(0, 0, 1).expand([3, -1, -1], false)] {
        let found = predict(&other);
        let fresh = predict(&other.copy());
        assert!(error(&found, &expected) > TOLERANCE);
        assert!(error(&found, &fresh) < TOLERANCE);
    }
    assert_eq!(predict(first), expected);
}
