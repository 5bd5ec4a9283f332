//! Contact sheets with any content: the result is the largest picture, nothing runs over, texts stay in their places.

use image::{GrayImage, Luma, Rgb, RgbImage, imageops};
use retouch::drawing::{
    Fact,
    clusters::DrawnClusters,
    contact_sheet::{Preview, Sheet, WordField, contact_sheet},
    heat::ScalarField,
};

use crate::drawing::gradient;
use crate::palette::luminance;

#[test]
fn contact_sheet_draws_pictures_of_any_shape() {
    for (width, height) in [(64, 64), (1, 1), (512, 384), (3000, 200), (200, 3000), (1920, 1080)] {
        let source = gradient(width, height);
        let labels: Vec<u8> = (0..32).collect();
        let scores: Vec<f32> = (0..32).map(|i| i as f32 / 31.0).collect();
        let mask = GrayImage::from_fn(8, 4, |x, _| Luma([x as u8 * 36]));
        let small = gradient(1, 1);
        let word = WordField { words: "sky", field: ScalarField::new(&[1.0], (1, 1)) };
        let whole = Sheet {
            reading: vec![Fact::new("Understood", "recolor the sky to red")],
            clusters: Some(DrawnClusters::new(&labels, (8, 4), &scores, &[true; 32])),
            object_map: Some(word),
            word_maps: vec![word],
            mask: Some(&mask),
            result: Some(&source),
            comparison: Some(("plain", &small)),
            variants: vec![("variant 2".to_owned(), &small)],
            localization_previews: vec![Preview { step: 1, image: &small }],
            edit_previews: (1..=100).map(|step| Preview { step, image: &small }).collect(),
            ..Sheet::new("make the sky red", &source)
        };
        let sheets = [
            Sheet { comparison: None, ..whole.clone() },
            Sheet { object_map: None, word_maps: vec![], clusters: None, ..whole.clone() },
            Sheet { result: None, comparison: None, ..whole.clone() },
            Sheet { mask: None, comparison: None, object_map: None, ..whole.clone() },
            whole,
        ];
        for (index, sheet) in sheets.iter().enumerate() {
            let drawn = contact_sheet(sheet);
            assert_eq!(drawn.width(), 1800);
            assert!(margins_are_empty(&drawn), "{width}×{height}, {index}: beyond the margins");
        }
    }
}

#[test]
fn contact_sheet_of_one_cell_and_one_cluster_is_drawn() {
    let source = gradient(64, 64);
    let mut sheet = Sheet::new("", &source);
    sheet.clusters = Some(DrawnClusters::new(&[0], (1, 1), &[f32::NAN], &[false]));
    assert!(margins_are_empty(&contact_sheet(&sheet)));
}

#[test]
fn the_result_is_the_largest_picture_of_a_sheet() {
    let purple = Rgb([0x80, 0x10, 0x90]);
    let teal = Rgb([0x10, 0x80, 0x90]);
    for (width, height) in [(64, 64), (30, 45), (64, 20)] {
        let source = RgbImage::from_pixel(width, height, Rgb([0x30, 0x40, 0x20]));
        let result = RgbImage::from_pixel(width, height, purple);
        let other = RgbImage::from_pixel(width, height, teal);
        let mask = GrayImage::from_pixel(width, height, Luma([0]));
        let field = ScalarField::new(&[0.0, 1.0], (2, 1));
        let sheets = [
            Sheet { result: Some(&result), ..Sheet::new("x", &source) },
            Sheet { result: Some(&result), mask: Some(&mask), ..Sheet::new("x", &source) },
            Sheet {
                result: Some(&result),
                mask: Some(&mask),
                comparison: Some(("plain", &other)),
                object_map: Some(WordField { words: "it", field }),
                ..Sheet::new("x", &source)
            },
        ];
        for (index, sheet) in sheets.iter().enumerate() {
            let drawn = contact_sheet(sheet);
            let count = |color| drawn.pixels().filter(|&&it| it == color).count();
            let (ours, greatest) = (count(purple), count(teal).max(count(Rgb([0x30, 0x40, 0x20]))));
            assert!(ours > 2 * greatest, "{width}×{height}, {index}: {ours} and {greatest}");
        }
    }
}

#[test]
fn contact_sheet_closes_up_where_parts_are_missing() {
    let source = gradient(64, 64);
    let bare = contact_sheet(&Sheet::new("make it snow", &source));
    let field = ScalarField::new(&[0.0, 1.0], (2, 1));
    let with_words = contact_sheet(&Sheet {
        word_maps: vec![WordField { words: "it", field }; 3],
        ..Sheet::new("make it snow", &source)
    });
    let with_frames = contact_sheet(&Sheet {
        edit_previews: vec![Preview { step: 1, image: &source }],
        ..Sheet::new("make it snow", &source)
    });
    assert!(with_words.height() > bare.height() + 398);
    assert!(with_frames.height() > bare.height() + 314);
    assert!(
        (60..80).contains(&(bare.height() - last_inked_row(&bare))),
        "only the margin is empty"
    );
}

#[test]
fn labels_stay_within_their_tile() {
    let source = gradient(64, 64);
    let draw = |label: &str| {
        contact_sheet(&Sheet {
            comparison: Some((label, &source)),
            result: Some(&source),
            ..Sheet::new("change the cat", &source)
        })
    };
    let (short, long) = (draw("x"), draw(&"Überlänge-ohne-Ende".repeat(40)));
    assert_eq!(short.dimensions(), long.dimensions());
    // The fourth of four columns: margin 71, width 398, gutter 22.
    let fourth = 71 + 3 * (398 + 22)..71 + 3 * (398 + 22) + 398;
    let changed: Vec<u32> = short
        .enumerate_pixels()
        .filter(|&(x, y, pixel)| long.get_pixel(x, y) != pixel)
        .map(|(x, _, _)| x)
        .collect();
    assert!(!changed.is_empty() && changed.iter().all(|x| fourth.contains(x)));
}

#[test]
fn long_texts_wrap_and_end_within_the_sheet() {
    let source = gradient(64, 64);
    let word = "Donaudampfschifffahrtsgesellschaft".repeat(20);
    let sentence = "turn the old house into a new one ".repeat(60);
    let bare = contact_sheet(&Sheet::new("", &source));
    for text in [word.as_str(), &sentence] {
        let sheet = Sheet {
            reading: vec![Fact::new("object", text), Fact::new(text, "value")],
            settings: vec![Fact::new("seed", "1"), Fact::new("model", text)],
            ..Sheet::new(text, &source)
        };
        let drawn = contact_sheet(&sheet);
        assert!(margins_are_empty(&drawn));
        let texts = drawn.height() - bare.height();
        assert!(texts < 790, "a text takes a few lines, not {texts} pixels");
    }
}

#[test]
fn characters_without_a_glyph_are_drawn_as_boxes() {
    let source = gradient(64, 64);
    let draw = |text: &str| contact_sheet(&Sheet::new(text, &source));
    let empty = draw("");
    for text in ["把红色的房子变成蓝色", "🏠", "\u{0}", "قط"] {
        let drawn = draw(text);
        assert!(drawn.height() > empty.height());
        assert!(
            (71..110).any(|x| (71..130).any(|y| luminance(*drawn.get_pixel(x, y)) < 0.1)),
            "{text:?}"
        );
    }
    // Letters that have a glyph are no boxes, and no two of them the same.
    let letters = ["é", "д", "σ", "把"].map(draw);
    for (index, letter) in letters.iter().enumerate() {
        assert!(letters[..index].iter().all(|other| other != letter), "letter {index}");
    }
    assert_eq!(draw("把"), draw("色"), "one box as another");
}

// === support ===

fn margins_are_empty(sheet: &RgbImage) -> bool {
    let (width, height) = sheet.dimensions();
    let paper = *sheet.get_pixel(0, 0);
    let empty = |x: u32, y: u32, w: u32, h: u32| {
        imageops::crop_imm(sheet, x, y, w, h).to_image().pixels().all(|&pixel| pixel == paper)
    };
    // Anti-aliased edges of letters may reach a pixel over.
    empty(0, 0, 69, height)
        && empty(width - 69, 0, 69, height)
        && empty(0, 0, width, 60)
        && empty(0, height - 40, width, 40)
}

fn last_inked_row(sheet: &RgbImage) -> u32 {
    let paper = *sheet.get_pixel(0, 0);
    sheet.enumerate_pixels().filter(|&(_, _, &it)| it != paper).map(|(_, y, _)| y).max().unwrap()
}
