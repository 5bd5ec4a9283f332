//! Which blocks and cells maps are of, and what a model has no cells for.

use std::ops::ControlFlow;

use image::RgbImage;
use retouch::{
    attention::site::Keys,
    edit::{
        blocks::Blocks,
        choices::Align,
        event::EditEvent,
        localization_instruction::LocalizationInstruction,
        localizer::{AttentionSource, Localizer},
        settings::EditSettings,
    },
    editing::{
        EditError,
        iam_edit::{
            InstructionAttention,
            attn_store::{AttnStore, MapBlocks, WatchedLevels},
        },
        session::EditSession,
        watched_blocks::WatchedBlocks,
    },
    pipelines::{EditPipeline, guidance::Guidance},
};
use tch::{Kind, Tensor};

use super::{
    SIZE, edit,
    model::{Joint, TOKENS},
    probs, request, seen,
};
use crate::support::{edit_request, fixtures, load_pipeline, relative_error};

#[test]
fn what_a_model_that_does_not_attend_to_the_picture_lacks_is_named() {
    let refused = |change: &dyn Fn(&mut EditSettings)| {
        let pipeline = load_pipeline(&fixtures().join("models/linear"), Kind::Float);
        let side = pipeline.geometry().sample_size;
        let mut settings = EditSettings::paper();
        settings.localize_steps = 2.try_into().unwrap();
        change(&mut settings);
        let picture = RgbImage::from_fn(side, side, |x, y| image::Rgb([x as u8, y as u8, 90]));
        edit(Box::new(pipeline), &edit_request(&picture, "remove the red circle", settings))
    };
    let changes: [&dyn Fn(&mut EditSettings); 3] =
        [&|it| it.localizer = Localizer::Copy, &|it| it.align = Align::Auto, &|it| {
            it.localization.attention_source = AttentionSource::Reference
        }];
    for change in changes {
        let error = refused(change).unwrap_err();
        assert!(matches!(error, EditError::NoReferences { .. }), "{error}");
    }
    let chosen = |name: &str| Some(Blocks::parse(&[name.to_owned()]).unwrap());
    let mut request = request();
    request.settings.localization.icam_blocks = chosen("transformer_blocks.0-2");
    let error = edit(Box::new(Joint(Guidance::Cfg)), &request).unwrap_err();
    let EditError::NoBlock { block } = error else { panic!("{error}") };
    assert_eq!(block, "transformer_blocks.2");
}

#[test]
fn maps_are_those_of_the_chosen_blocks_and_cells_as_shares_of_the_texts_own_tokens() {
    let cells = SIZE.height * SIZE.width;
    let gathered = |source, blocks: Option<&str>| {
        let mut request = request();
        request.settings.localization.attention_source = source;
        let blocks = blocks.map(|it| Blocks::parse(&[it.to_owned()]).unwrap());
        request.settings.localization.isam_blocks = blocks.clone();
        request.settings.localization.icam_blocks = blocks;
        let model = Joint(Guidance::Cfg);
        let session = EditSession::new(&model, request);
        let text = "change the red circle to a sofa".to_owned();
        let instruction = LocalizationInstruction {
            text,
            object_spans: vec![11..21],
            said: vec![],
            stands: true,
        };
        let mut sink = |_: EditEvent| ControlFlow::Continue(());
        let found = InstructionAttention::gather(&session, &instruction, &mut sink).unwrap();
        let maps = found.maps();
        let own = model.tokenize(&instruction.text).unwrap();
        let own = (0i64..).zip(&own.offsets).filter(|it| it.1.is_some()).map(|it| it.0);
        let own = Tensor::from_slice(&own.collect::<Vec<_>>());
        let shares =
            maps.icam.index_select(1, &own).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        assert!((shares - 1.0).abs().max().double_value(&[]) < 1e-5);
        // Neither the first token nor pads.
        let all = maps.icam.sum(Kind::Float).double_value(&[]);
        assert!((all - cells as f64).abs() < 1e-3);
        let rows = maps.isam.sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        assert!((rows - 1.0).abs().max().double_value(&[]) < 1e-5);
        (maps.icam.copy(), maps.isam.copy())
    };
    let latents = gathered(AttentionSource::Latents, None);
    for (source, blocks) in [
        (AttentionSource::Reference, None),
        (AttentionSource::Latents, Some("single_transformer_blocks.0")),
        (AttentionSource::Reference, Some("transformer_blocks.0-1")),
    ] {
        let other = gathered(source, blocks);
        for (one, other) in [(&latents.0, &other.0), (&latents.1, &other.1)] {
            assert!(relative_error(other, one) > 1e-3, "{source:?} {blocks:?}");
        }
    }
}

#[test]
fn maps_of_the_picture_are_the_textbooks() {
    let model = Joint(Guidance::Cfg);
    let all = model.sites(SIZE);
    let levels = WatchedLevels::nearest(&all, 1, 2).unwrap();
    let chosen = |name: &str| {
        WatchedBlocks::of(Some(&Blocks::parse(&[name.to_owned()]).unwrap()), &all).unwrap()
    };
    let blocks = MapBlocks {
        isam: chosen("transformer_blocks.1"),
        icam: chosen("single_transformer_blocks.0"),
    };
    let store = AttnStore::new(levels, 0..1).watching(blocks, AttentionSource::Reference);
    let maps = store.maps();
    let seen = seen(Box::new(store));
    let cells = SIZE.height * SIZE.width;
    let mean = |index: usize, [start, length]: [i64; 2]| {
        let (site, [query, key, ..]) = &seen[index];
        assert!(matches!(site.keys, Keys::Joint { .. }));
        let rows = probs(query, key, 0, None).narrow(1, TOKENS + cells, cells);
        rows.narrow(2, start, length).mean_dim([0i64].as_slice(), false, Kind::Double)
    };
    let icam = mean(2, [0, TOKENS]);
    let isam = mean(1, [TOKENS + cells, cells]);
    let isam = &isam / isam.sum_dim_intlist([1i64].as_slice(), true, Kind::Double);
    let maps = maps.lock().unwrap();
    for (found, expected) in [(&maps.icam, icam), (&maps.isam, isam)] {
        let error = relative_error(&found.as_ref().unwrap().mean(), &expected);
        assert!(error < 1e-5, "{error:e}");
    }
}
