//! Boxes in the syntax of `--box`.

use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::picture::{
    boxes::{BoxSpec, PixelBox},
    error::PictureError,
    size::Size,
};

use super::fault;

const SIZE: Size = Size { width: 640, height: 480 };

fn resolve(text: &str) -> Result<PixelBox, PictureError> {
    text.parse::<BoxSpec>()?.resolve(SIZE)
}

#[test]
fn pixels_and_percentages_name_the_same_box() {
    let cases = [
        ("0,0,640,480", [0, 0, 640, 480]),
        ("0%,0%,100%,100%", [0, 0, 640, 480]),
        ("64,96,384,432", [64, 96, 384, 432]),
        ("10%,20%,60%,90%", [64, 96, 384, 432]),
        (" 10 %, 20 %,60%, 90%", [64, 96, 384, 432]),
        ("0.1%,0.1%,0.3%,0.5%", [1, 0, 2, 2]), // 0.64, 0.48, 1.92 and 2.4 pixels
        ("639,479,640,480", [639, 479, 640, 480]),
    ];
    for (text, [x0, y0, x1, y1]) in cases {
        assert_eq!(resolve(text).unwrap(), PixelBox { x0, y0, x1, y1 }, "{text}");
    }
}

#[test]
fn bad_boxes_are_named_with_their_remedy() {
    let syntax =
        "is not x0,y0,x1,y1, in whole pixels or all four in percent, as in 10%,20%,60%,90%";
    let reversed = "is reversed, give the upper left corner first, then the lower right";
    let empty = "is empty, x1 must be greater than x0, and y1 greater than y0";
    let cases = [
        ("", syntax),
        ("1,2,3", syntax),
        ("1,2,3,4,5", syntax),
        ("1,2,3,", syntax),
        ("1.5,2,3,4", syntax),
        ("10%,20%,60,90", syntax),
        ("NaN%,0%,1%,1%", syntax),
        ("0%,0%,inf%,1%", syntax),
        ("a,b,c,d", syntax),
        ("30,0,20,10", reversed),
        ("0,30,20,10", reversed),
        ("60%,0%,20%,10%", reversed),
        ("5,0,5,10", empty),
        ("0,5%,5,10", syntax),
        ("0%,5%,50%,5%", empty),
        ("0.1%,0%,0.2%,50%", empty), // both edges are nearest to 1 pixel
        ("-5,0,5,10", "reaches outside the picture, stay between 0,0 and its size"),
        ("-5%,0%,5%,10%", "reaches outside the picture, stay between 0% and 100%"),
        ("0%,0%,101%,10%", "reaches outside the picture, stay between 0% and 100%"),
        ("0,0,641,480", "reaches outside the picture, stay between 0,0 and 640,480"),
        ("0,0,640,481", "reaches outside the picture, stay between 0,0 and 640,480"),
    ];
    for (text, expected) in cases {
        assert_eq!(fault(resolve(text)), format!("box `{text}` {expected}"));
    }
}

#[test]
fn any_text_gives_a_box_within_the_picture_or_an_error() {
    let mut random = StdRng::seed_from_u64(20);
    let edges =
        ["0", "9", "479", "640", "641", " 7 ", "5%", "60%", "100%", "-5", "1e2", "NaN%", "é", ""];
    let mut boxes = 0;
    for _ in 0..20_000 {
        let count = if random.random_bool(0.9) { 4 } else { random.random_range(0..7) };
        let edges: Vec<&str> =
            (0..count).map(|_| edges[random.random_range(0..edges.len())]).collect();
        let text = edges.join(",");
        if let Ok(it) = resolve(&text) {
            assert!(
                it.x0 < it.x1 && it.x1 <= 640 && it.y0 < it.y1 && it.y1 <= 480,
                "{text}: {it:?}"
            );
            boxes += 1;
        }
    }
    assert!(boxes > 0, "some of the texts are boxes");
}

#[test]
fn every_box_of_whole_pixels_means_itself() {
    let mut random = StdRng::seed_from_u64(21);
    for _ in 0..1000 {
        let mut edges = || {
            let (a, b) = (random.random_range(0..=480_u32), random.random_range(0..=480_u32));
            (a.min(b), a.max(b))
        };
        let ((x0, x1), (y0, y1)) = (edges(), edges());
        let found = resolve(&format!("{x0},{y0},{x1},{y1}"));
        if x0 == x1 || y0 == y1 {
            assert!(fault(found).contains("is empty"));
        } else {
            assert_eq!(found.unwrap(), PixelBox { x0, y0, x1, y1 });
        }
    }
}
