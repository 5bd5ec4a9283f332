//! The evaluation scores the same picture that `retouch edit` writes.

use std::{fs, ops::ControlFlow, path::Path, sync::Arc};

use retouch::{
    edit::{
        choices::{MethodKind, Preserve, PreviewDecode, Unparsed},
        edit_mask::MaskChoice,
        event::EditEvent,
        request::EditRequest,
        settings::EditSettings,
    },
    editing::editor::Editor,
    evaluation::{
        dataset::Dataset,
        method::Method,
        runner::{self, Plan},
    },
};
use tch::{Device, Kind};

use crate::support::load_pipeline;

const SEED: u64 = 5;

#[test]
fn an_edit_in_the_true_mask_is_that_of_a_person_who_gives_it() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let model = assets.join("demo-model");
    let recommended = fs::read_to_string(model.join("retouch.json")).unwrap();
    let mut settings = EditSettings::recommended(&recommended).unwrap();
    settings.steps = 4.try_into().unwrap();
    // Attention alone keeps the rest, until pixels are put back.
    settings.blend = false;
    let editor = Editor::new(Box::new(load_pipeline(&model, Kind::Float)), None);

    let mut dataset = Dataset::open(&assets.join("heldout/manifest.jsonl")).unwrap();
    dataset.items.retain(|item| item.id == "change-000");
    let item = dataset.items[0].clone();
    let pictures = item.load().unwrap();
    let plan = Plan {
        dataset,
        methods: vec![Method::named("iam-edit:true-mask").unwrap()],
        settings: settings.clone(),
        negative_prompt: String::new(),
        verbatim: false,
        seed: SEED,
    };
    let evaluation = runner::run(&editor, plan, &mut |_| ControlFlow::Continue(())).unwrap();
    let scored = evaluation.rows[0].pictures.result.as_ref().unwrap();
    let scored = image::load_from_memory(scored).unwrap().to_rgb8();

    let request = EditRequest {
        image: Arc::clone(&pictures.image),
        instruction: item.instruction.clone(),
        negative_prompt: String::new(),
        method: MethodKind::IamEdit,
        object: None,
        action: None,
        verbatim: false,
        unparsed: Unparsed::PlainEdit,
        seed: runner::item_seed(SEED, &item.id),
        settings: EditSettings { preserve: Preserve::Pixel, ..settings },
        mask: MaskChoice { shapes: pictures.mask.clone(), ..MaskChoice::default() },
        preview_every: 0,
        preview_decode: PreviewDecode::Linear,
    };
    let mut sink = |_: EditEvent| ControlFlow::Continue(());
    let edited = editor.edit(&request, &mut sink).unwrap();
    let mask = edited.mask.unwrap();
    let [gate, attended] = [mask.gate_tensor(Device::Cpu), mask.attended_tensor(Device::Cpu)];
    assert_ne!(gate, attended, "attention has room around the mask");
    assert!(scored == edited.image, "another picture is scored");

    // The picture that is scored as well, before the input's pixels were put back.
    let open = editor.open(request.clone());
    let before = open.edit_uncomposited(&mut sink).unwrap().image;
    assert!(before != edited.image, "nothing was put back");
    assert!(open.composite(&before, &mask).unwrap() == edited.image);
}
