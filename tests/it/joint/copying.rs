//! Where cells copy from: the localizer `copy`, and the drift of a whole edit, on attention that is scripted.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use image::RgbImage;
use retouch::{
    attention::{
        processor::{Attempt, AttnProcessor},
        qkv::Qkv,
        role::Role,
        site::AttnSite,
    },
    edit::{
        choices::{Align, Preserve, Resize},
        drift::Drift,
        edit_mask::MaskChoice,
        event::EditEvent,
        grid::Grid,
        knobs::StepShare,
        localization::Localization,
        localizer::{Localizer, ScoreSource},
        request::EditRequest,
        settings::EditSettings,
    },
    editing::{
        copy_field::{CopyStore, SharedCopyField},
        editor::Editor,
        watched_blocks::WatchedBlocks,
    },
    picture::{align::Displacement, mask::Mask, size::Size},
    pipelines::{
        EditPipeline, NoiseCall,
        conditioning::LatentSize,
        guidance::{Guidance, NoisePrediction},
    },
};
use tch::{Device, Kind, Tensor};

use super::{
    SIZE,
    model::{Joint, TOKENS},
    probs, seen,
};
use crate::support::{Spied, edit_request, relative_error};

/// Pixels of a cell of the latents.
const CELL: f64 = 16.0;

/// Width of what a cell attends to, in cells.
const SPREAD: f64 = 0.7;

/// Queries, keys and values by which each cell attends to the picture around a place, as a bell; by row and column of
/// the cell, each in cells. Cells without a place attend to everything alike.
fn scripted(latent: LatentSize, from: &dyn Fn(f64, f64) -> Option<[f64; 2]>) -> [Tensor; 3] {
    let LatentSize { height, width } = latent;
    let middle = [(height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0];
    let places = (0..height).flat_map(|y| (0..width).map(move |x| [y as f64, x as f64]));
    let places: Vec<[f64; 2]> = places.collect();
    let cells = places.len() as i64;
    let queries = places.iter().flat_map(|&[y, x]| match from(y, x) {
        Some([y, x]) => [y - middle[0], x - middle[1], 1.0, 0.0],
        None => [0.0; 4],
    });
    let keys = places.iter().flat_map(|&[y, x]| {
        let [y, x] = [y - middle[0], x - middle[1]];
        [y, x, -(y * y + x * x) / 2.0, 0.0].map(|it| it / (SPREAD * SPREAD))
    });
    let of = |values: Vec<f64>| Tensor::from_slice(&values).to_kind(Kind::Float).view([cells, 4]);
    let (queries, keys) = (of(queries.collect()), of(keys.collect()));
    let nothing = |count: i64| Tensor::zeros([count, 4], (Kind::Float, Device::Cpu));
    let whole = |parts: [&Tensor; 3]| Tensor::cat(&parts, 0).repeat([1, 2, 1, 1]);
    let query = whole([&nothing(TOKENS), &queries, &nothing(cells)]);
    let key = whole([&nothing(TOKENS), &nothing(cells), &keys]);
    let value = key.copy();
    [query, key, value]
}

/// Lets a guest visit layers that attend so.
fn visit(
    guest: &mut dyn AttnProcessor,
    sites: &[AttnSite],
    latent: LatentSize,
    from: &dyn Fn(f64, f64) -> Option<[f64; 2]>,
) {
    let [query, key, value] = scripted(latent, from);
    let qkv = Qkv { query, key, value, scale: 1.0, roles: &[Role::Text] };
    let attended = qkv.attend();
    for site in sites.iter().filter(|it| guest.watches(it)).copied().collect::<Vec<_>>() {
        guest.visit(&site, &qkv, &attended);
    }
}

fn sites(latent: LatentSize) -> Vec<AttnSite> {
    Joint(Guidance::Distilled).sites(latent)
}

fn drift(field: &SharedCopyField, latent: LatentSize) -> Drift {
    let field = field.lock().unwrap();
    let LatentSize { height, width } = latent;
    let covered = Size::new(width as u32 * CELL as u32, height as u32 * CELL as u32);
    Drift::of(&field.as_ref().unwrap().offsets(), Grid { height, width }, covered).unwrap()
}

/// The place that a cell copies from where the result lies so beside the picture.
fn copied(by: Displacement, latent: LatentSize) -> impl Fn(f64, f64) -> Option<[f64; 2]> {
    move |y, x| {
        let along = |at: f64, cells: i64, moved: f64| {
            let middle = (cells as f64 - 1.0) / 2.0;
            middle + (at - middle - moved / CELL) / by.zoom
        };
        Some([along(y, latent.height, by.down), along(x, latent.width, by.right)])
    }
}

#[test]
fn a_shift_and_a_zoom_are_told_to_half_a_pixel() {
    let latent = LatentSize { height: 20, width: 32 };
    for (right, down, zoom) in
        [(0.0, 0.0, 1.0), (5.0, -3.0, 1.0), (-20.5, 11.25, 1.0), (0.0, 0.0, 1.04), (2.0, 1.0, 0.97)]
    {
        let moved = Displacement { right, down, zoom };
        let mut store = CopyStore::new(WatchedBlocks::default(), 0..1);
        let field = store.field();
        store.begin(Attempt::First);
        // A fifth of the picture is edited, and attends to everything.
        let from = copied(moved, latent);
        let from = |y: f64, x: f64| if x < 6.0 { None } else { from(y, x) };
        visit(&mut store, &sites(latent), latent, &from);
        let found = drift(&field, latent).displacement;
        let corner = (found.zoom - zoom) * 16.0 * CELL;
        let apart = [found.right - right, found.down - down, corner];
        println!("{moved:?}: apart {apart:?} pixels");
        assert!(apart.iter().all(|it| it.abs() < 0.5), "{moved:?}: {found:?}");
    }
}

#[test]
fn the_share_of_its_own_place_is_the_textbooks() {
    let mut store = CopyStore::new(WatchedBlocks::default(), 0..1);
    let field = store.field();
    store.begin(Attempt::First);
    let seen = seen(Box::new(store));
    let cells = SIZE.height * SIZE.width;
    let sum = seen.iter().map(|(_, [query, key, ..])| {
        let all =
            probs(query, key, 0, None).narrow(1, TOKENS, cells).narrow(2, TOKENS + cells, cells);
        all.mean_dim([0i64].as_slice(), false, Kind::Double)
    });
    let sum: Tensor = sum.sum();
    let shares = (0..cells).map(|cell| {
        let row = Vec::<f64>::try_from(sum.get(cell)).unwrap();
        let is_near = |other: i64| {
            let apart =
                |of: fn(i64, i64) -> i64| (of(cell, SIZE.width) - of(other, SIZE.width)).abs();
            apart(|a, b| a / b) <= 1 && apart(|a, b| a % b) <= 1
        };
        let near: f64 = (0..cells).filter(|&it| is_near(it)).map(|it| row[it as usize]).sum();
        near / row.iter().sum::<f64>()
    });
    let shares: Vec<f64> = shares.collect();
    let found = field.lock().unwrap().as_ref().unwrap().own_share();
    let error = relative_error(&Tensor::from_slice(&found.values), &Tensor::from_slice(&shares));
    assert!(error < 1e-5, "{error:e}");
}

#[test]
fn what_is_kept_does_not_grow_and_a_call_that_is_retried_counts_once() {
    let latent = LatentSize { height: 64, width: 64 };
    let one = |calls: usize, again: bool| {
        let mut store = CopyStore::new(WatchedBlocks::default(), 0..calls);
        let field = store.field();
        for _ in 0..calls {
            store.begin(Attempt::First);
            if again {
                visit(&mut store, &sites(latent)[..1], latent, &|y, x| Some([x, y]));
                store.begin(Attempt::Again);
            }
            visit(&mut store, &sites(latent), latent, &|y, x| Some([y, x]));
        }
        field
    };
    let bytes = |field: &SharedCopyField| field.lock().unwrap().as_ref().unwrap().bytes();
    let share =
        |field: &SharedCopyField| field.lock().unwrap().as_ref().unwrap().own_share().values;
    let (plain, retried) = (one(1, false), one(2, true));
    println!("{} bytes of a picture of 1024 × 1024 pixels", bytes(&plain));
    // What is kept, and a copy of it for a retry.
    assert!(2 * bytes(&plain) <= 8 << 20);
    assert_eq!(bytes(&plain), bytes(&retried));
    let (plain, retried) = (share(&plain), share(&retried));
    assert!(plain.iter().zip(&retried).all(|(a, b)| (a - b).abs() < 1e-5));
    assert!(plain[64 * 32 + 32] > 0.8);
}

/// A larger picture, of blocks that the model's autoencoder gives back as they are.
fn blocks(right: i64) -> RgbImage {
    RgbImage::from_fn(256, 256, |x, y| {
        let (x, y) = ((i64::from(x) - right).clamp(0, 255) / 8, i64::from(y) / 8);
        let level = |a: f64, b: f64| (127.0 + 90.0 * (x as f64 * a + y as f64 * b).sin()) as u8;
        image::Rgb([level(0.31, 0.17), level(-0.23, 0.29), level(0.13, -0.37)])
    })
}

/// A model that draws these latents in one go, and attends as scripted.
fn drawing(
    target: Tensor,
    from: impl Fn(f64, f64) -> Option<[f64; 2]> + Send + 'static,
    calls: Arc<AtomicUsize>,
) -> Spied<Joint> {
    Spied::new(Joint(Guidance::Distilled), move |model, samples: &mut [NoiseCall]| {
        calls.fetch_add(1, Ordering::SeqCst);
        let predicted = samples.iter_mut().map(|sample| {
            let latent = sample.size();
            sample.attn.begin(sample.attempt);
            visit(sample.attn.as_mut(), &model.sites(latent), latent, &from);
            let velocity = (&sample.latents - &target) / (sample.timestep / 1000.0);
            NoisePrediction::new(velocity, &[Role::Text])
        });
        Ok(predicted.collect())
    })
}

fn settings(localizer: Localizer) -> EditSettings {
    let mut settings = EditSettings::distilled();
    settings.localizer = localizer;
    settings.resize = Resize::Native;
    settings
}

fn localized(model: Spied<Joint>, settings: EditSettings) -> Arc<Localization> {
    let request = edit_request(&blocks(0), "change the red circle to a blue star", settings);
    let editor = Editor::new(Box::new(model), None);
    let mut sink = |_: EditEvent| ControlFlow::Continue(());
    editor.open(request).localize(&mut sink).unwrap().unwrap()
}

/// The cells of a localization that are edited, of 16 × 16.
fn chosen(found: &Localization) -> Vec<bool> {
    assert_eq!((found.grid.height, found.grid.width), (16, 16));
    let selected = found.selected();
    found.labels.iter().map(|it| selected.contains(it)).collect()
}

fn square(rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Vec<bool> {
    (0..256).map(|it| rows.contains(&(it / 16)) && columns.contains(&(it % 16))).collect()
}

#[test]
fn predicted_change_is_found_in_one_or_two_of_four_calls_where_the_model_draws() {
    let source = Joint(Guidance::Distilled).encode_image(&blocks(0)).unwrap();
    for (averaged, made) in [([0.0, 0.5], 2), ([0.0, 0.25], 1)] {
        let target = source.copy();
        let _ = target.narrow(2, 6, 4).narrow(3, 5, 4).neg_();
        let calls = Arc::<AtomicUsize>::default();
        let model = drawing(target, |y, x| Some([y, x]), Arc::clone(&calls));
        let mut settings = settings(Localizer::PredictedChange);
        settings.localization.averaged = StepShare::new("averaged", averaged).unwrap();
        let found = localized(model, settings);
        assert_eq!(calls.load(Ordering::SeqCst), made);
        assert_eq!(found.scored_by, ScoreSource::PredictedChange);
        // One row is eroded and two are grown.
        assert_eq!(chosen(&found), square(5..11, 4..10));
        let [map] = &found.words[..] else { panic!("one map") };
        assert_eq!((map.word.as_str(), map.is_object), ("predicted-change", false));
        assert!(map.values[7 * 16 + 6] > 0.9 && map.values[0] < 0.1);
    }
}

#[test]
fn copying_shows_the_cells_that_no_longer_look_at_their_own_place() {
    let source = Joint(Guidance::Distilled).encode_image(&blocks(0)).unwrap();
    let calls = Arc::<AtomicUsize>::default();
    let is_edited = |y: f64, x: f64| (6.0..11.0).contains(&y) && (3.0..9.0).contains(&x);
    let from = move |y: f64, x: f64| if is_edited(y, x) { None } else { Some([y, x]) };
    let model = drawing(source, from, Arc::clone(&calls));
    let found = localized(model, settings(Localizer::Copy));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(found.scored_by, ScoreSource::Copying);
    // The mean of a cell and its neighbors passes a half where the square is, without its corners.
    let mut expected = square(6..11, 3..9);
    for corner in [6 * 16 + 3, 6 * 16 + 8, 10 * 16 + 3, 10 * 16 + 8] {
        expected[corner] = false;
    }
    assert_eq!(chosen(&found), expected);
    let [map] = &found.words[..] else { panic!("one map") };
    assert!(map.word == "copy" && map.values[8 * 16 + 5] > 0.9 && map.values[0] < 0.3);
}

/// An edit with a box as its mask, and what was told of its drift.
fn boxed(model: Spied<Joint>, align: Align) -> (RgbImage, Option<Drift>) {
    let mut settings = settings(Localizer::Iam);
    settings.align = align;
    // What is put back at each step does not move.
    settings.blend = false;
    settings.preserve = Preserve::Pixel;
    let request = edit_request(&blocks(0), "change the red circle to a blue star", settings);
    let is_in = |at: u32| (64..192).contains(&at);
    let shapes = Mask::from_fn(Size::new(256, 256), |x, y| is_in(x) && is_in(y));
    let mask = MaskChoice { shapes: Some(shapes), ..MaskChoice::default() };
    let mut drift = None;
    let editor = Editor::new(Box::new(model), None);
    let edited = editor.edit(&EditRequest { mask, ..request }, &mut |event: EditEvent| {
        if let EditEvent::DriftTold(told) = event {
            drift = Some(told);
        }
        ControlFlow::Continue(())
    });
    let edited = edited.unwrap();
    assert_eq!(edited.drift, drift);
    (edited.image, drift)
}

#[test]
fn an_edit_that_moved_the_whole_picture_is_put_back_before_the_rest_is() {
    // The model draws the same picture half a cell farther right.
    let mut target = Joint(Guidance::Distilled).encode_image(&blocks(8)).unwrap();
    let latent = LatentSize::of(&target);
    let moved = Displacement { right: 8.0, down: 0.0, zoom: 1.0 };
    let run = |target: &Tensor, align| {
        boxed(drawing(target.copy(), copied(moved, latent), Arc::default()), align)
    };
    let apart = |image: &RgbImage| {
        let original = blocks(0);
        let pairs = image.enumerate_pixels().zip(original.pixels());
        let (mut outside, mut inside) = (0, 0_u64);
        for ((x, y, pixel), own) in pairs {
            let difference = pixel.0.iter().zip(own.0).map(|(a, b)| u64::from(a.abs_diff(b)));
            let is_in = (64..192).contains(&x) && (64..192).contains(&y);
            let sum: u64 = difference.sum();
            if is_in { inside += sum } else { outside += sum }
        }
        assert_eq!(outside, 0, "the rest is the input's, bit for bit");
        inside as f64 / (3.0 * 128.0 * 128.0)
    };
    let (left, drift) = run(&target, Align::Off);
    let drift = drift.unwrap();
    assert!((drift.displacement.right - 8.0).abs() < 0.5 && !drift.is_undone, "{drift:?}");
    let (back, drift) = run(&target, Align::Auto);
    assert!(drift.unwrap().is_undone);
    println!("mean difference inside: {} as it is, {} put back", apart(&left), apart(&back));
    assert!(apart(&left) > 5.0 && apart(&back) < 0.5);

    // A still picture is not resampled.
    target = Joint(Guidance::Distilled).encode_image(&blocks(0)).unwrap();
    let still = drawing(target, |y, x| Some([y, x]), Arc::default());
    let (same, drift) = boxed(still, Align::Auto);
    assert!(!drift.unwrap().is_undone);
    assert_eq!(same, blocks(0));
}
