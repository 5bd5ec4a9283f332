//! Edits that do nothing are told of, those that do something are not.

use std::{ops::ControlFlow, path::Path};

use retouch::{
    edit::{
        edit_mask::MaskChoice,
        event::{EditEvent, WarningReason},
        request::EditRequest,
        settings::EditSettings,
    },
    editing::editor::Editor,
    models::snapshot::Snapshot,
    picture::{mask::Mask, size::Size},
};
use tch::Kind;

use crate::support::{edit_request, fixtures, load_pipeline};

#[test]
fn an_edit_that_did_nothing_says_so() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    let snapshot = Snapshot::open(&model).unwrap();
    let settings = EditSettings::recommended(snapshot.retouch_json().unwrap()).unwrap();
    let editor = Editor::new(Box::new(load_pipeline(&model, Kind::Float)), None);
    let open = |name: &str| image::open(fixtures().join("scenes").join(name)).unwrap();
    let picture = open("polite-no-op.png").to_rgb8();
    let painted = open("polite-no-op.mask.png").to_luma8();
    let size = Size::new(painted.width(), painted.height());
    let mask = Mask::from_fn(size, |x, y| painted.get_pixel(x, y)[0] > 0);
    let said = |instruction: &str| {
        let request = EditRequest {
            verbatim: true,
            mask: MaskChoice { shapes: Some(mask.clone()), ..MaskChoice::default() },
            ..edit_request(&picture, instruction, settings.clone())
        };
        let mut said = Vec::new();
        let edited = editor.edit(&request, &mut |event| {
            if let EditEvent::Warning(it) = event {
                said.push(it.reason);
            }
            ControlFlow::Continue(())
        });
        edited.unwrap();
        said.contains(&WarningReason::NoChange)
    };
    // The model was taught commands alone.
    assert!(said("Could you please make the red star blue?"));
    assert!(said("blorf the red star"));
    assert!(!said("make the red star blue"));
}
