//! Pictures made by a server are reproduced locally, and the other way round.

use std::{fs, path::Path};

use predicates::str::contains;
use retouch::picture::settings::read_settings;
use serde_json::Value;

use super::Office;
use crate::cli::{Desk, scene};

fn record(desk: &Desk, name: &str) -> Value {
    let bytes = fs::read(desk.path(name)).unwrap();
    serde_json::from_str(&read_settings(name, &bytes).unwrap().unwrap()).unwrap()
}

/// `retouch edit --params-from`, here or at a server.
fn again(office: &Office, of: &str, out: &str, server: bool) {
    let mut edit = office.desk.retouch(["edit", "--params-from", of, "-o", out]);
    edit.arg(scene());
    if server {
        edit.args(["--server", &office.site.url()]);
    }
    edit.assert().success().stderr(contains(format!("again: every pixel of {of}")));
    assert_eq!(office.desk.picture(of), office.desk.picture(out), "{of}");
}

#[test]
fn records_are_the_same_here_and_there_and_serve_both_ways() {
    let office = Office::new();
    let cases: &[(&str, &[&str])] = &[
        ("found", &["--tau", "0.05"]),
        ("boxed", &["--box", "8,16,24,48", "--box", "40,0,64,10", "--dilate", "2"]),
        ("chosen", &["--clusters", "1,3", "--feather", "2", "--localize-seed", "3"]),
        ("plain", &["--method", "instruct-pix2pix", "--negative-prompt", "blur"]),
        ("paper", &["--preset", "paper", "--localize-steps", "2"]),
    ];
    for (name, args) in cases {
        let (here, there) = (format!("{name}-here.png"), format!("{name}-there.png"));
        office.local(&["-o", &here]).args(*args).assert().success();
        office.remote(&["-o", &there]).args(*args).assert().success();
        let [mut a, mut b] = [&here, &there].map(|it| record(&office.desk, it));
        // The server of the tests says so.
        for record in [&mut a, &mut b] {
            record.as_object_mut().unwrap().remove("libtorch");
        }
        assert_eq!(a, b, "{name}");
        again(&office, &here, &format!("{name}-there-again.png"), true);
        again(&office, &there, &format!("{name}-here-again.png"), false);
    }
    // What the model is told is recorded, here and there.
    for (name, args) in [("told", &[][..]), ("typed", &["--verbatim"])] {
        let (here, there) = (format!("{name}-here.png"), format!("{name}-there.png"));
        for (out, server) in [(&here, false), (&there, true)] {
            let mut edit = office.desk.retouch(["edit"]);
            edit.arg(scene()).args(["could you dye the red star blue?", "--steps", "2"]).args(args);
            edit.args(["--seed", "7", "-o", out]);
            if server {
                edit.args(["--server", &office.site.url()]);
            } else {
                edit.args(["--dtype", "fp32"]);
            }
            let said = if args.is_empty() { "make the red" } else { "could you dye the red" };
            let said = format!("told the model: {said} star blue");
            edit.assert().success().stderr(contains(said));
        }
        let told = |of| record(&office.desk, of).get("told").cloned();
        assert_eq!(told(&here), args.is_empty().then(|| "make the red star blue".into()));
        assert_eq!(told(&there), told(&here));
        assert_eq!(office.desk.picture(&here), office.desk.picture(&there), "{name}");
        again(&office, &here, &format!("{name}-there-again.png"), true);
        again(&office, &there, &format!("{name}-here-again.png"), false);
    }
    let lossy = office.remote(&["-o", "lossy.jpg", "--quality", "70"]).assert().success();
    drop(lossy);
    again(&office, "lossy.jpg", "lossy-here.jpg", false);
    again(&office, "lossy.jpg", "lossy-there.jpg", true);
}

#[test]
fn a_variant_of_a_server_is_made_again_on_this_machine_and_there() {
    let office = Office::new();
    office.remote(&["-o", "v.png", "-n", "2"]).assert().success();
    let second = record(&office.desk, "v-2.png");
    assert_eq!((&second["seed"], &second["localize_seed"]), (&8.into(), &7.into()));
    again(&office, "v-2.png", "here.png", false);
    again(&office, "v-2.png", "there.png", true);
}

#[test]
fn what_a_server_cannot_make_again_is_refused_before_a_job_is_made() {
    let office = Office::new();
    let mut localize = office.desk.retouch(["localize", "--localize-steps", "2", "-o", "m.png"]);
    localize.arg(scene()).args(["make the red star blue", "--save", "found.json"]);
    localize.assert().success();
    office.local(&["-o", "out.png", "--localization", "found.json"]).assert().success();
    office.local(&["-o", "boxed.png", "--box", "8,16,24,48"]).assert().success();
    let url = office.site.url();
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/heldout/image/recolor-065.png");
    let replay = |of: &str, image: &Path| {
        let args = ["edit", "--params-from", of, "-o", "no.png", "--server", &url];
        office.desk.retouch(args).arg(image).assert().code(3)
    };
    replay("out.png", &scene()).stderr(contains("a server does not take"));
    replay("boxed.png", &other).stderr(contains("IMAGE is not the picture"));
    assert!(office.site.jobs().is_empty() && !office.desk.path("no.png").exists());
}
