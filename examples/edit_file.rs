//! Edits a picture's file with the library, and writes the result with what its metadata should say.
//!
//! ```text
//! cargo run --release --example edit_file -- assets/example.png "change the black tree to blue" edited.png
//! ```
//!
//! `RETOUCH_MODEL` names a model; without it the demo model edits, which knows drawn scenes of 64×64 pixels alone.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    env,
    error::Error,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use retouch::{
    edit::{
        choices::{MethodKind, PreviewDecode, Unparsed},
        edit_mask::MaskChoice,
        event::EditEvent,
        request::EditRequest,
        settings::EditSettings,
    },
    editing::editor::Editor,
    models::snapshot::Snapshot,
    picture::{
        Picture,
        decode::{self, InputLimits},
        encode::{self, OutputFormat, Tags},
        format::FileFormat,
        metadata::Policy,
        write::{self, Overwrite},
    },
    pipelines::load,
    wire::edit_record::{EditRecord, Localized, MadePicture, RunEnvironment},
};
use tch::{Device, Kind};

const USAGE: &str = "usage: edit_file IMAGE INSTRUCTION OUTPUT";
const DEMO_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-model");

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [image, instruction, output] = args.as_slice() else { return Err(USAGE.into()) };
    let output = Path::new(output);

    // 1. What can be refused before any work: the output's type and place, and the picture.
    let format = OutputFormat::new(FileFormat::of_path(output)?, None)?;
    write::check_target(output, Overwrite::Refuse)?;
    let input = decode::read(Path::new(image), InputLimits::default())?;
    encode::check(&input.picture, format)?;
    for note in &input.notes {
        println!("{image}: {note}");
    }

    // 2. A model, and the settings that it recommends.
    let model = env::var_os("RETOUCH_MODEL").map_or_else(|| DEMO_MODEL.into(), PathBuf::from);
    let snapshot = Snapshot::open(&model)?;
    let settings = EditSettings::recommended(snapshot.retouch_json().unwrap_or("{}"))?;
    let editor = Editor::new(load::load(&snapshot, Kind::Float, Device::Cpu)?, None);

    // 3. What is asked. A mask of the caller's own would stand in `mask`.
    let request = EditRequest {
        image: Arc::clone(&input.picture.rgb),
        instruction: instruction.clone(),
        negative_prompt: String::new(),
        method: MethodKind::IamEdit,
        object: None,
        action: None,
        verbatim: false,
        unparsed: Unparsed::PlainEdit,
        seed: 7,
        settings,
        mask: MaskChoice::default(),
        preview_every: 0,
        preview_decode: PreviewDecode::Linear,
    };

    // 4. The edit. `ControlFlow::Break(Interrupted)` from the closure would stop it within a step.
    let mut found = None;
    let edited = editor.edit(&request, &mut |event: EditEvent| {
        tell(&event);
        if let EditEvent::Localized(localization, _) = event {
            found = Some(localization);
        }
        ControlFlow::Continue(())
    })?;

    // 5. The file: the input's profile, alpha and metadata, and a record from which it can be made again.
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    let made = MadePicture {
        origin: RunEnvironment {
            model: &name,
            model_digest: editor.pipeline().digest(),
            device: "cpu",
            dtype: "fp32",
            libtorch: "2.11.0",
            loras: &[],
        },
        preset: None,
        picture: &input.picture,
        format,
        localization: if found.is_some() { Localized::Here } else { Localized::No },
        confidence: found.as_ref().and_then(|it| it.confidence),
        drift: edited.drift,
        later_masks: vec![],
    };
    let record = EditRecord::of(&request, &made).to_json();
    let tags = Tags { record: &record, metadata: &input.metadata, policy: Policy::Keep };
    let picture = Picture { rgb: Arc::new(edited.image), ..input.picture.clone() };
    let bytes = encode::encode(&picture, format, &tags)?;
    write::write_atomically(output, &bytes, Overwrite::Refuse)?;
    println!("edited: {}", output.display());
    Ok(())
}

/// What happens, a line for each event.
fn tell(event: &EditEvent) {
    match event {
        EditEvent::PartStarted(it, _) => {
            println!("edit {} of {}: {}", it.number, it.of, it.instruction);
        }
        EditEvent::InstructionParsed(it) => println!("understood: {} {}", it.action, it.object),
        EditEvent::Warning(it) => println!("warning: {}", it.message),
        EditEvent::StepDone(it) => println!("{:?}: step {} of {}", it.pass, it.step, it.of),
        EditEvent::Localized(it, _) => {
            println!("clusters {:?} are edited, confidence {:?}", it.selected(), it.confidence);
        }
        EditEvent::MaskSettled(it) => println!("mask: {:.1} % of the picture", 100.0 * it.area()),
        EditEvent::DriftTold(it) => println!("the whole picture moved: {it:?}"),
    }
}
