//! What an edit keeps of its input picture: size, pixels outside the mask, alpha, metadata.

use image::{GrayImage, RgbImage, Rgba, RgbaImage, imageops, imageops::FilterType};
use predicates::str::contains;

use super::{Desk, INSTRUCTION, source};

/// Sides that the model's multiple does not divide, tiny and long ones among them.
const ODD: [(u32, u32); 5] = [(65, 63), (17, 16), (19, 33), (16, 101), (64, 65)];

fn picture(desk: &Desk, (width, height): (u32, u32)) -> RgbImage {
    let picture = imageops::resize(&source(), width, height, FilterType::Triangle);
    picture.save(desk.path("in.png")).unwrap();
    picture
}

fn native(desk: &Desk, args: &[&str]) {
    let always = ["edit", "in.png", INSTRUCTION, "--steps", "2", "--seed", "7", "--size", "native"];
    desk.retouch(always).args(args).args(["--force"]).assert().success();
}

#[test]
fn a_native_edit_has_the_inputs_size_and_outside_the_mask_its_pixels() {
    let desk = Desk::new();
    for size in ODD {
        let before = picture(&desk, size);
        native(&desk, &["-o", "out.png", "--box", "50%,50%,100%,100%", "--maps", "maps"]);
        let after = desk.picture("out.png");
        assert_eq!(after.dimensions(), size);
        let mask = image::open(desk.path("maps/mask.png")).unwrap().to_luma8();
        assert_eq!(mask.dimensions(), size);
        for (x, y, pixel) in before.enumerate_pixels() {
            let outside = mask.get_pixel(x, y)[0] == 0;
            assert!(!outside || after.get_pixel(x, y) == pixel, "{size:?}: {x},{y}");
        }
        let corner = (size.0 - 1, size.1 - 1);
        assert_eq!(mask.get_pixel(corner.0, corner.1)[0], 255, "the mask reaches the last pixel");
        assert_ne!(before, after, "{size:?}");
        for preserve in ["none", "latent"] {
            native(&desk, &["-o", "out.png", "--preserve", preserve]);
            assert_eq!(desk.picture("out.png").dimensions(), size, "{preserve}");
        }
    }
}

#[test]
fn a_native_edit_makes_of_an_even_part_what_it_makes_of_it_alone() {
    let desk = Desk::new();
    // The padded picture as a picture of its own: the same noise, the same model, the same pixels.
    let odd = picture(&desk, (65, 63));
    native(&desk, &["-o", "odd.png", "--preserve", "none", "--method", "instruct-pix2pix"]);
    RgbImage::from_fn(66, 64, |x, y| *odd.get_pixel(x.min(64), y.min(62)))
        .save(desk.path("in.png"))
        .unwrap();
    native(&desk, &["-o", "even.png", "--preserve", "none", "--method", "instruct-pix2pix"]);
    let even = desk.picture("even.png");
    assert_eq!(imageops::crop_imm(&even, 0, 0, 65, 63).to_image(), desk.picture("odd.png"));
}

#[test]
fn a_native_localization_is_found_saved_and_used_at_the_inputs_size() {
    let desk = Desk::new();
    let before = picture(&desk, (65, 63));
    let args = ["localize", "in.png", INSTRUCTION, "--localize-steps", "2", "--size", "native"];
    let more = ["-o", "mask.png", "--save", "found.json", "--maps", "found", "--refine=false"];
    desk.retouch(args).args(more).args(["--grow", "0"]).assert().success();
    let mask = image::open(desk.path("mask.png")).unwrap().to_luma8();
    assert_eq!(mask.dimensions(), (65, 63));
    for map in ["clusters.png", "overlay.png"] {
        let map = image::open(desk.path("found").join(map)).unwrap();
        assert_eq!((map.width(), map.height()), (65, 63));
    }
    let used = ["--localization", "found.json", "--maps", "maps", "--refine=false", "--grow", "0"];
    let settled =
        |name: &str| -> GrayImage { image::open(desk.path("maps").join(name)).unwrap().to_luma8() };
    for size in ["native", "fit:64"] {
        let args = ["edit", "in.png", INSTRUCTION, "--steps", "2", "-o", "out.png", "--force"];
        desk.retouch(args).args(used).args(["--size", size]).assert().success();
        let after = desk.picture("out.png");
        let mask = settled("mask.png");
        for (x, y, pixel) in before.enumerate_pixels() {
            assert!(
                mask.get_pixel(x, y)[0] > 0 || after.get_pixel(x, y) == pixel,
                "{size}: {x},{y}"
            );
        }
    }
    let native = settled("mask.png");
    let apart = native.pixels().zip(mask.pixels()).filter(|(one, other)| one != other).count();
    assert_eq!(apart, 0, "the saved cells lie where they were found");
}

#[test]
fn alpha_keeps_its_size_at_an_odd_native_one() {
    let desk = Desk::new();
    let rgb = imageops::resize(&source(), 65, 63, FilterType::Triangle);
    let rgba = RgbaImage::from_fn(65, 63, |x, y| {
        let [r, g, b] = rgb.get_pixel(x, y).0;
        Rgba([r, g, b, (x * 3 + 1) as u8])
    });
    rgba.save(desk.path("in.png")).unwrap();
    native(&desk, &["-o", "out.png", "--box", "8,8,40,40", "--feather", "3"]);
    let edited = image::open(desk.path("out.png")).unwrap().to_rgba8();
    assert!(edited.enumerate_pixels().all(|(x, _, pixel)| pixel[3] == (x * 3 + 1) as u8));
    assert_eq!(edited.get_pixel(64, 62), rgba.get_pixel(64, 62));
}

#[test]
fn half_a_picture_is_refused() {
    let desk = Desk::new();
    let mut bytes = std::io::Cursor::new(Vec::new());
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    source().write_with_encoder(encoder).unwrap();
    let mut bytes = bytes.into_inner();
    bytes.truncate(bytes.len() * 6 / 10);
    bytes.extend([0xFF, 0xD9]);
    std::fs::write(desk.path("half.jpg"), bytes).unwrap();
    let run = desk.retouch(["edit", "half.jpg", INSTRUCTION, "-o", "out.png"]).assert().code(3);
    run.stderr(contains("half.jpg is a JPEG image of which a part is missing"));
    assert_eq!(desk.files(), ["half.jpg"]);
}

#[test]
fn white_paint_on_transparent_ground_marks_what_is_painted() {
    let desk = Desk::new();
    let paint = |is_white: bool, alpha: u8| {
        RgbaImage::from_fn(64, 64, |x, y| {
            let painted = (4..30).contains(&x) && (8..32).contains(&y);
            let level = if painted || is_white { 255 } else { 0 };
            Rgba([level, level, level, if painted { 255 } else { alpha }])
        })
    };
    let mask = |name: &str| {
        let args = ["edit", "in.png", INSTRUCTION, "--steps", "1", "-o", "out.png", "--force"];
        let maps = ["--maps", "maps", "--grow", "0", "--mask", name];
        desk.retouch(args).args(maps).assert().success();
        image::open(desk.path("maps/mask.png")).unwrap().to_luma8()
    };
    picture(&desk, (64, 64));
    paint(true, 0).save(desk.path("transparent.png")).unwrap();
    paint(false, 255).save(desk.path("opaque.png")).unwrap();
    let (one, other) = (mask("transparent.png"), mask("opaque.png"));
    assert_eq!(one, other);
    assert_eq!(one.pixels().filter(|it| it[0] > 0).count(), 26 * 24);

    let hole = RgbaImage::from_fn(64, 64, |x, y| {
        let [r, g, b] = source().get_pixel(x, y).0;
        Rgba([r, g, b, if x < 20 { 0 } else { 255 }])
    });
    hole.save(desk.path("hole.png")).unwrap();
    let args = ["edit", "in.png", INSTRUCTION, "-o", "out.png", "--force", "--mask", "hole.png"];
    let run = desk.retouch(args).assert().code(3);
    run.stderr(contains(
        "hole.png is ambiguous: it has both transparency and dark paint or a picture",
    ));
}

/// The scene as a PNG with a gamma, a copyright and another program's prompt.
fn tagged(desk: &Desk) {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 64, 64);
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_text_chunk("Copyright".to_owned(), "2024 Ada".to_owned()).unwrap();
    let prompt = "a bee\nSteps: 20, Sampler: Euler, Seed: 7";
    encoder.add_text_chunk("parameters".to_owned(), prompt.to_owned()).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::gAMA, &100_000_u32.to_be_bytes()).unwrap();
    writer.write_image_data(source().as_raw()).unwrap();
    writer.finish().unwrap();
    std::fs::write(desk.path("tagged.png"), bytes).unwrap();
}

#[test]
fn metadata_is_kept_reduced_or_stripped_as_asked() {
    let desk = Desk::new();
    tagged(&desk);
    let edit = |name: &str, args: &[&str]| {
        let always = ["edit", "tagged.png", INSTRUCTION, "--steps", "1", "-o", name];
        let run = desk.retouch(always).args(args).assert().success();
        let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        (std::fs::read(desk.path(name)).unwrap(), said)
    };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    let source_type = "digitalsourcetype/compositeWithTrainedAlgorithmicMedia";

    let (kept, said) = edit("kept.png", &[]);
    assert!(has(&kept, "gAMA") && has(&kept, "2024 Ada") && has(&kept, INSTRUCTION));
    assert!(has(&kept, source_type) && !has(&kept, "Sampler"));
    assert!(said.contains("not kept: another program's prompt"), "{said}");
    let (color, said) = edit("color.png", &["--metadata", "color"]);
    assert!(has(&color, "gAMA") && !has(&color, "2024 Ada") && has(&color, INSTRUCTION));
    assert!(has(&color, source_type) && !said.contains("not kept"), "{said}");
    let (stripped, said) = edit("stripped.png", &["--metadata", "strip"]);
    assert!(!has(&stripped, "gAMA") && !has(&stripped, "Ada") && !has(&stripped, INSTRUCTION));
    assert!(has(&stripped, source_type) && !said.contains("not kept"), "{said}");
    let (jpeg, said) = edit("kept.jpg", &[]);
    assert!(has(&jpeg, "2024 Ada") && has(&jpeg, source_type));
    assert!(said.contains("its color information (gAMA), which JPEG can't store"), "{said}");
}
