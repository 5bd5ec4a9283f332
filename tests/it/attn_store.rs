//! Averaged attention maps: pictures of any aspect ratio, and U-Net calls that fail half way and are retried.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::PoisonError,
};

use image::RgbImage;
use retouch::{
    attention::{
        processor::{Attempt, AttnProcessor, CallShape},
        qkv::Qkv,
        role::Role,
        site::{AttnSite, Keys, Stage},
    },
    edit::{
        choices::Resize,
        edit_mask::EditMask,
        grid::{Field, Grid},
        localization::Localization,
        settings::EditSettings,
    },
    editing::{
        iam_edit::attn_store::{AttnStore, SharedMaps, WatchedLevels},
        session::EditSession,
    },
    pipelines::{EditPipeline, conditioning::LatentSize},
};
use tch::{Device, Kind, Tensor};

use crate::support::{edit_request, fixtures, load_pipeline};

/// One row of queries, keys and values at a site.
fn qkv(site: &AttnSite) -> Qkv<'static> {
    // Not by libtorch's generator, which other tests draw from.
    let cells = site.height * site.width;
    let waves = |frequency: f64| {
        let waves = Tensor::arange(2 * cells * 4, (Kind::Float, Device::Cpu)) * frequency;
        waves.sin().view([1, 2, cells, 4])
    };
    let [query, key, value] = [0.7, 1.3, 2.9].map(waves);
    Qkv { query, key, value, scale: 0.5, roles: &[Role::Text], unrotated: None }
}

/// The averaged self-attention, with its grid.
fn isam(maps: &SharedMaps) -> (Tensor, Grid) {
    let maps = maps.lock().unwrap_or_else(PoisonError::into_inner);
    let isam = maps.isam.as_ref().unwrap();
    (isam.mean(), isam.grid)
}

#[test]
fn a_picture_takes_its_own_localization_whatever_its_proportions() {
    let pipeline = load_pipeline(&fixtures().join("models/sd1"), Kind::Float);
    // A cell of half the latent's size.
    let cell = 2 * pipeline.geometry().vae_scale_factor;
    // Width and height in such cells, and on ISAM's grid.
    for ((width, height), expected) in [
        ((80_u32, 45_u32), (64, 36)),
        ((96, 43), (64, 29)),
        ((43, 96), (29, 64)),
        ((192, 20), (64, 7)),
        ((80, 80), (64, 64)),
        ((40, 30), (40, 30)),
    ] {
        let latent = LatentSize { height: 2 * i64::from(height), width: 2 * i64::from(width) };
        let sites = pipeline.sites(latent);
        let mut store = AttnStore::new(WatchedLevels::nearest(&sites, 1, 2).unwrap(), 0..1);
        let is_isam = |it: &&AttnSite| it.keys == Keys::Image && store.watches(it);
        let site = *sites.iter().find(is_isam).unwrap();
        assert_eq!((site.width, site.height), (i64::from(width), i64::from(height)));
        let qkv = qkv(&site);
        store.visit(&site, &qkv, &qkv.attend());
        let (mean, grid) = isam(&store.maps());
        assert_eq!((grid.width, grid.height), expected);
        assert_eq!(mean.size(), [grid.width * grid.height; 2]);

        // Its left half is edited.
        let image = RgbImage::new(width * cell, height * cell);
        let settings = EditSettings { resize: Resize::Native, ..EditSettings::paper() };
        let request = edit_request(&image, "change the red circle to a blue star", settings);
        let session = EditSession::new(&pipeline, request.clone());
        let is_left = |cell: i64| f32::from(2 * (cell % grid.width) < grid.width);
        let values = (0..grid.width * grid.height).map(is_left).collect();
        let found = Localization::from_threshold("", &Field { grid, values }, 0.5, vec![]);
        let mask = EditMask::settle(&session, Some(&found)).unwrap().unwrap();
        assert!((mask.area() - 0.5).abs() < 0.05, "{width}x{height}: {}", mask.area());
    }
}

#[test]
fn what_a_visit_added_before_it_failed_does_not_count_twice() {
    // Both are added in chunks; the second level is pooled.
    for (height, width) in [(40, 40), (45, 80)] {
        let (stage, keys) = (Stage::Up, Keys::Image);
        let site = AttnSite {
            stage,
            block: 0,
            attention: 0,
            transformer: 0,
            keys,
            level: Some(1),
            height,
            width,
        };
        let qkv = qkv(&site);
        let attended = qkv.attend();
        let store = || {
            let mut store = AttnStore::new(WatchedLevels { isam: Some(1), icam: Some(1) }, 0..1);
            store.begin(Attempt::First);
            store
        };
        let mut undisturbed = store();
        undisturbed.visit(&site, &qkv, &attended);
        let (expected, _) = isam(&undisturbed.maps());

        // Fewer queries than the site has cells: a chunk fails, and chunks before it were added.
        let fewer = Qkv {
            query: qkv.query.narrow(2, 0, 1400),
            key: qkv.key.shallow_clone(),
            value: qkv.value.shallow_clone(),
            unrotated: None,
            ..qkv
        };
        let mut failed = store();
        let visit = AssertUnwindSafe(|| failed.visit(&site, &fewer, &attended));
        assert!(panic::catch_unwind(visit).is_err());
        let (partly, _) = isam(&failed.maps());
        assert!(partly.max().double_value(&[]) > 0.0, "nothing was added");

        failed.begin(Attempt::Again);
        let call = CallShape { sites: &[site], tokens: 77, device: Device::Cpu };
        assert!(failed.replayable(&call).is_none(), "a recording adds all queries");
        failed.visit(&site, &qkv, &attended);
        let (mean, _) = isam(&failed.maps());
        assert!((mean - expected).abs().max().double_value(&[]) < 1e-7);
    }
}
