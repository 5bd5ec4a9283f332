//! Masks, boxes and clusters on the command line, and the pixels outside them.

use std::fs;

use image::{GrayImage, Luma, RgbImage};
use predicates::{prelude::*, str::contains};

use super::{Desk, INSTRUCTION, scene, source};

/// Pixels that differ from the scene's.
fn changed(edited: &RgbImage) -> Vec<(u32, u32)> {
    let source = source();
    let differs = |&(x, y): &(u32, u32)| edited.get_pixel(x, y) != source.get_pixel(x, y);
    (0..64).flat_map(|y| (0..64).map(move |x| (x, y))).filter(differs).collect()
}

#[test]
fn outside_the_mask_every_pixel_is_the_inputs() {
    let desk = Desk::new();
    desk.edit(["-o", "out.png", "--maps", "maps"]).assert().success();
    let mask = image::open(desk.path("maps/mask.png")).unwrap().to_luma8();
    let changed = changed(&desk.picture("out.png"));
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|&(x, y)| mask.get_pixel(x, y)[0] == 255));
}

#[test]
fn a_box_needs_no_localization_and_bounds_the_edit() {
    let desk = Desk::new();
    for (name, given) in [("pixels.png", "8,16,24,48"), ("percent.png", "12.5%,25%,37.5%,75%")] {
        let run = desk.edit(["-o", name, "--box", given, "--seed", "7"]).assert().success();
        let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(!said.contains("localize: step"), "{said}");
        let changed = changed(&desk.picture(name));
        assert!(!changed.is_empty());
        assert!(changed.iter().all(|&(x, y)| (8..24).contains(&x) && (16..48).contains(&y)));
    }
    assert_eq!(desk.picture("pixels.png"), desk.picture("percent.png"));
}

#[test]
fn a_plain_edit_keeps_to_a_mask_that_is_given() {
    let desk = Desk::new();
    let plain = |args: &[&str]| {
        let args = [&["--method", "instruct-pix2pix", "--seed", "7", "--force"], args].concat();
        desk.edit(args.into_iter().chain(["-o", "out.png"])).assert().success();
        desk.picture("out.png")
    };
    let boxed = plain(&["--box", "8,16,24,48"]);
    let inside = |&(x, y): &(u32, u32)| (8..24).contains(&x) && (16..48).contains(&y);
    assert!(!changed(&boxed).is_empty() && changed(&boxed).iter().all(inside));
    let whole = plain(&[]);
    assert!(changed(&whole).iter().any(|it| !inside(it)));
    assert_eq!(plain(&["--box", "8,16,24,48", "--preserve", "none"]), whole);
    // Kept in the latents, the inside takes what is around it into account.
    assert_ne!(plain(&["--box", "8,16,24,48", "--preserve", "latent"]), whole);
}

#[test]
fn boxes_and_masks_are_one_mask_which_can_be_inverted_and_grown() {
    let desk = Desk::new();
    let painted = GrayImage::from_fn(64, 64, |x, _| Luma([if x < 4 { 200 } else { 100 }]));
    painted.save(desk.path("left.png")).unwrap();
    let localize = |name: &str, args: &[&str]| {
        let mut command = desk.retouch(["localize"]);
        command.arg(scene()).args([INSTRUCTION, "--localize-steps", "1", "-o", name]).args(args);
        command.assert().success();
        image::open(desk.path(name)).unwrap().to_luma8()
    };
    let both = ["--mask", "left.png", "--box", "60,0,64,64"];
    let mask = localize("union.png", &both);
    let white = |it: &GrayImage| it.pixels().filter(|pixel| pixel[0] == 255).count();
    assert_eq!(white(&mask), 8 * 64);
    let inverted = localize("inverted.png", &[&both[..], &["--invert-mask"]].concat());
    assert_eq!(white(&inverted), 56 * 64);
    let grown = localize("grown.png", &[&both[..], &["--dilate", "2"]].concat());
    assert_eq!(white(&grown), 12 * 64);
}

#[test]
fn clusters_are_chosen_by_number_on_a_saved_localization() {
    let desk = Desk::new();
    let mut localize = desk.retouch(["localize"]);
    localize.arg(scene()).args([INSTRUCTION, "--localize-steps", "2", "-o", "mask.png"]);
    localize.args(["--save", "found.json"]).assert().success();
    let given = ["--localization", "found.json", "--clusters", "2,3"];
    desk.edit(["-o", "out.png", "--maps", "maps"].into_iter().chain(given)).assert().success();
    let mask = image::open(desk.path("maps/mask.png")).unwrap().to_luma8();
    let changed = changed(&desk.picture("out.png"));
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|&(x, y)| mask.get_pixel(x, y)[0] == 255));
    assert_ne!(mask, image::open(desk.path("mask.png")).unwrap().to_luma8());
}

#[test]
fn a_feather_softens_inward_and_touches_nothing_outside() {
    let desk = Desk::new();
    let given = ["--box", "16,16,48,48", "--seed", "7"];
    desk.edit(["-o", "hard.png"].into_iter().chain(given)).assert().success();
    desk.edit(["-o", "soft.png", "--feather", "6"].into_iter().chain(given)).assert().success();
    let (hard, soft) = (desk.picture("hard.png"), desk.picture("soft.png"));
    let inside = |&(x, y): &(u32, u32)| (16..48).contains(&x) && (16..48).contains(&y);
    assert!(!changed(&soft).is_empty() && changed(&soft).iter().all(inside));
    assert_eq!(hard.get_pixel(32, 32), soft.get_pixel(32, 32), "the middle is fully edited");
    let source = source();
    let distance = |picture: &RgbImage| -> u32 {
        let edge = (16..48).map(|x| (x, 16));
        let difference = |(x, y)| {
            let (one, other) = (picture.get_pixel(x, y), source.get_pixel(x, y));
            (0..3).map(|it| u32::from(one[it].abs_diff(other[it]))).sum::<u32>()
        };
        edge.map(difference).sum()
    };
    assert!(distance(&soft) < distance(&hard));
}

#[test]
fn a_mask_of_another_size_is_taken_with_a_warning() {
    let desk = Desk::new();
    GrayImage::from_fn(128, 128, |x, _| Luma([if x < 32 { 255 } else { 0 }]))
        .save(desk.path("mask.png"))
        .unwrap();
    let run = desk.edit(["-o", "out.png", "--mask", "mask.png"]).assert().success();
    run.stderr(contains("warning: ").and(contains("128x128")));
    let changed = changed(&desk.picture("out.png"));
    assert!(!changed.is_empty() && changed.iter().all(|&(x, _)| x < 16));
}

#[test]
fn alpha_stays_as_it_was() {
    let desk = Desk::new();
    let mut picture = image::open(scene()).unwrap().to_rgba8();
    for (x, _, pixel) in picture.enumerate_pixels_mut() {
        pixel[3] = (x * 4) as u8;
    }
    picture.save(desk.path("alpha.png")).unwrap();
    let args = ["edit", "alpha.png", INSTRUCTION, "--steps", "1", "-o", "out.png"];
    desk.retouch(args).assert().success();
    let edited = image::open(desk.path("out.png")).unwrap().to_rgba8();
    assert!(edited.enumerate_pixels().all(|(x, _, pixel)| pixel[3] == (x * 4) as u8));
    assert_ne!(edited, picture, "nothing was edited");
}

#[test]
fn what_is_chosen_of_a_found_mask_needs_one() {
    let desk = Desk::new();
    for given in [["--clusters", "1"].as_slice(), &["--invert-mask"]] {
        let args = ["-o", "out.png", "--action", "global"];
        let run = desk.edit(args.iter().chain(given).copied()).assert().code(2);
        run.stderr(contains("the instruction edits the whole picture"));
        assert!(desk.files().is_empty());
    }
    let scene = scene();
    let localize = ["localize", scene.to_str().unwrap(), INSTRUCTION, "--action", "global"];
    let save = ["-o", "mask.png", "--save", "found.json"];
    let run = desk.retouch(localize.iter().chain(&save).copied()).assert().code(2);
    run.stderr(contains("there is nothing to --save"));
    assert!(desk.files().is_empty());
}

#[test]
fn maps_are_never_written_over_other_files_of_the_call() {
    let desk = Desk::new();
    for forced in [[].as_slice(), &["--force"]] {
        let args = ["-o", "mask.png", "--maps", "."];
        let run = desk.edit(args.iter().chain(forced).copied()).assert().code(2);
        run.stderr(contains("mask.png would be overwritten by a map"));
    }
    fs::create_dir(desk.path("maps")).unwrap();
    fs::write(desk.path("maps/overlay.png"), "kept").unwrap();
    let run = desk.edit(["-o", "out.png", "--maps", "maps"]).assert().code(7);
    run.stderr(contains("overlay.png exists already"));
    assert_eq!(fs::read(desk.path("maps/overlay.png")).unwrap(), b"kept");
    assert!(!desk.path("out.png").exists());
}

/// A name on a disk is bytes, which need not be UTF-8.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_stay_as_they_are() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let desk = Desk::new();
    let named = |bytes: &[u8]| desk.path("x").with_file_name(OsStr::from_bytes(bytes));
    fs::copy(scene(), named(b"b\xe9e.png")).unwrap();
    let mut edit = desk.retouch(["edit"]);
    edit.arg(named(b"b\xe9e.png")).args([INSTRUCTION, "--steps", "2", "-n", "2"]);
    edit.assert().success();
    assert!(named(b"b\xe9e.edited-1.png").exists() && named(b"b\xe9e.edited-2.png").exists());
}
