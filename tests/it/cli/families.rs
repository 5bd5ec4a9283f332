//! The commands with a model of another family: FLUX.2-klein, of random weights.

use image::RgbImage;
use predicates::str::contains;

use super::{Desk, said};
use crate::klein::snapshot;
use crate::service::process::Server;

const INSTRUCTION: &str = "change the red circle to a blue star";
/// Models of random weights are sure of nothing.
const UNSURE: [&str; 2] = ["--min-confidence", "0"];

/// A picture that is no whole number of the model's cells.
fn picture() -> RgbImage {
    RgbImage::from_fn(101, 75, |x, y| image::Rgb([x as u8 * 2, y as u8 * 3, (x ^ y) as u8]))
}

fn desk() -> Desk {
    let desk = Desk::new();
    picture().save(desk.path("in.png")).unwrap();
    desk
}

fn command(desk: &Desk, name: &str, model: &str, flags: &[&str]) -> assert_cmd::Command {
    let mut command = desk.retouch([name, "in.png", INSTRUCTION, "--model"]);
    command.arg(snapshot(model)).args(["--dtype", "fp32"]).args(UNSURE).args(flags);
    command
}

#[test]
fn a_picture_is_edited_in_a_mask_that_is_found_or_given() {
    let desk = desk();
    for model in ["klein", "klein_base"] {
        let few: &[&str] = if model == "klein" { &[] } else { &["--steps", "3"] };
        let flags =
            [&["-o", "found.png", "--force", "--seed", "7", "--maps", "maps"], few].concat();
        let told = said(&mut command(&desk, "edit", model, &flags));
        assert!(told.contains("understood: change the red circle"), "{told}");
        let found = desk.picture("found.png");
        assert_eq!(found.dimensions(), (101, 75));
        assert_ne!(found, picture());

        let flags = ["-o", "boxed.png", "--force", "--seed", "7", "--box", "20,20,40,30"];
        command(&desk, "edit", model, &[&flags, few].concat()).assert().success();
        let boxed = desk.picture("boxed.png");
        for (x, y, pixel) in boxed.enumerate_pixels() {
            let inside = (20..60).contains(&x) && (20..50).contains(&y);
            assert!(inside || pixel == picture().get_pixel(x, y), "{model}: {x}, {y}");
        }
        assert_ne!(boxed, picture());
    }
}

#[test]
fn an_edit_is_repeated_from_its_own_file_at_every_size() {
    let desk = desk();
    for size in ["fit", "native", "fit:96"] {
        let flags = ["-o", "out.png", "--force", "--seed", "3", "--size", size];
        command(&desk, "edit", "klein", &flags).assert().success();
        let mut again = desk.retouch(["edit", "in.png", "--params-from", "out.png", "--model"]);
        again.arg(snapshot("klein")).args(["--dtype", "fp32", "-o", "again.png", "--force"]);
        again.assert().success();
        assert_eq!(desk.picture("again.png"), desk.picture("out.png"), "{size}");
    }
}

#[test]
fn a_place_is_found_saved_and_taken_up() {
    let desk = desk();
    let flags = ["--save", "found.json", "--size", "native"];
    command(&desk, "localize", "klein", &flags).assert().success();
    let flags = ["--localization", "found.json", "-o", "out.png", "--size", "native"];
    command(&desk, "edit", "klein", &flags).assert().success();
    assert_eq!(desk.picture("out.png").dimensions(), (101, 75));
}

#[test]
fn what_the_model_does_not_have_is_refused_before_it_runs() {
    let desk = desk();
    for (model, flags, words) in [
        ("klein", ["--modulation", "null"], "distilled"),
        ("klein", ["--text-guidance", "3"], "distilled"),
        ("klein", ["--image-guidance", "2"], "distilled"),
        ("klein", ["--preset", "paper"], "distilled"),
        ("klein", ["--localizer", "diffedit"], "distilled"),
        ("klein", ["--scheduler", "ddim"], "flow-match-euler"),
        ("klein_base", ["--image-guidance", "2"], "one guidance scale"),
        ("klein_base", ["--scheduler", "euler"], "flow-match-euler"),
    ] {
        let refused = command(&desk, "edit", model, &flags).assert().code(5);
        // Once: what can be given instead is not said twice.
        refused.stderr(contains(words).count(1));
    }
    assert_eq!(desk.files(), ["in.png"]);
    // Nor does a model that predicts noise walk along a flow.
    let mut demo = desk.retouch(["edit", "in.png", INSTRUCTION, "--scheduler", "flow-match-euler"]);
    demo.assert().code(5).stderr(contains("another kind of diffusion model"));
}

#[test]
fn a_server_edits_with_it_what_a_local_command_does() {
    let desk = desk();
    let model = snapshot("klein");
    let data = desk.path("data");
    let flags = ["--model", model.to_str().unwrap(), "--keep-text-encoder", "--max-batch", "2"];
    let server = Server::start_with(&data, &flags);
    let url = format!("http://{}", server.address());
    for number in 0..2 {
        let name = format!("remote-{number}.png");
        let mut remote = desk.retouch(["edit", "in.png", INSTRUCTION, "--server", &url]);
        remote.args(["--seed", "7", "-o", &name]).args(UNSURE).assert().success();
    }
    assert_eq!(desk.picture("remote-0.png"), desk.picture("remote-1.png"));
    let flags = ["-o", "local.png", "--seed", "7", "--threads", "1"];
    command(&desk, "edit", "klein", &flags).assert().success();
    assert_eq!(desk.picture("local.png"), desk.picture("remote-0.png"));
    let mut refused = desk.retouch(["edit", "in.png", INSTRUCTION, "--server", &url]);
    let refused = refused.args(["--text-guidance", "3", "-o", "no.png"]).assert().failure();
    refused.stderr(contains("distilled"));
}
