//! The localization cache: which requests share an entry, which do not, and its capacity.

use std::{ops::ControlFlow, sync::Arc};

use image::RgbImage;
use retouch::{
    edit::{
        choices::{MethodKind, Preserve, PreviewDecode, Unparsed},
        edit_mask::MaskChoice,
        event::{EditEvent, LocalizationSource, Pass},
        knobs::Confidence,
        localization::Localization,
        localization_instruction::LocalizationInstruction,
        localizer::ClusterScore,
        request::EditRequest,
        settings::{EditSettings, Modulation},
    },
    editing::{
        editor::Editor,
        localization_cache::{Key, LocalizationCache},
        session::EditSession,
    },
    sampling::SchedulerKind,
};
use tch::Kind;

use crate::support::{fixtures, load_pipeline};

fn editor() -> Editor {
    let pipeline = load_pipeline(&fixtures().join("models/sd1"), Kind::Float);
    Editor::new(Box::new(pipeline), None)
}

fn picture(blue: u8) -> Arc<RgbImage> {
    let pixel = |x, y| image::Rgb([x as u8 * 3, y as u8 * 3, blue]);
    Arc::new(RgbImage::from_fn(64, 64, pixel))
}

fn request() -> EditRequest {
    let mut settings = EditSettings::paper();
    settings.localize_steps = 2.try_into().unwrap();
    settings.steps = 1.try_into().unwrap();
    EditRequest {
        image: picture(90),
        instruction: "turn the red circle blue".to_owned(),
        negative_prompt: String::new(),
        method: MethodKind::IamEdit,
        object: None,
        action: None,
        verbatim: false,
        unparsed: Unparsed::Refuse,
        seed: 5,
        // Models of random weights are sure of nothing.
        settings: EditSettings { min_confidence: Confidence::try_from(0.0).unwrap(), ..settings },
        mask: MaskChoice::default(),
        preview_every: 0,
        preview_decode: PreviewDecode::Linear,
    }
}

/// What an edit localized, where that came from, and how many steps were made for it.
fn edit(editor: &Editor, request: &EditRequest) -> (Arc<Localization>, LocalizationSource, usize) {
    let (mut found, mut steps) = (None, 0);
    let edited = editor.edit(request, &mut |event| {
        match event {
            EditEvent::StepDone(report) if report.pass == Pass::Localize => steps += 1,
            EditEvent::Localized(localization, source) => found = Some((localization, source)),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    edited.unwrap();
    let (localization, source) = found.unwrap();
    (localization, source, steps)
}

#[test]
fn a_second_edit_of_the_object_makes_no_localization_step() {
    let editor = editor();
    let (first, source, steps) = edit(&editor, &request());
    assert_eq!((source, steps), (LocalizationSource::Pass, 2));
    let mut second = EditRequest { instruction: "remove the red circle".to_owned(), ..request() };
    second.settings.steps = 2.try_into().unwrap();
    second.settings.modulation = Modulation::Mask;
    second.settings.preserve = Preserve::None;
    second.settings.grow = 0.1.try_into().unwrap();
    second.mask.dilate = 3.try_into().unwrap();
    let (kept, source, steps) = edit(&editor, &second);
    assert_eq!((source, steps), (LocalizationSource::Cache, 0));
    assert!(Arc::ptr_eq(&kept, &first));
}

#[test]
fn whatever_a_localization_depends_on_makes_it_another() {
    let editor = editor();
    edit(&editor, &request());
    let change: [fn(&mut EditRequest); 9] = [
        |it| it.image = picture(91),
        |it| it.instruction = "remove the blue square".to_owned(),
        |it| it.instruction = "add a red circle".to_owned(),
        |it| it.seed = 6,
        |it| it.negative_prompt = "blur".to_owned(),
        |it| it.settings.localize_steps = 3.try_into().unwrap(),
        |it| it.settings.scheduler = Some(SchedulerKind::Ddim),
        |it| it.settings.guidance.text = 5.0.try_into().unwrap(),
        |it| it.settings.tau = 0.5.try_into().unwrap(),
    ];
    for (number, change) in change.iter().enumerate() {
        let mut request = request();
        change(&mut request);
        let (_, source, steps) = edit(&editor, &request);
        assert!(source == LocalizationSource::Pass && steps >= 2, "change {number}");
    }
    // Another model has another editor, and so a cache of its own.
    let (_, source, _) = edit(&self::editor(), &request());
    assert_eq!(source, LocalizationSource::Pass);
}

#[test]
fn editors_that_share_a_cache_localize_an_object_once() {
    let shared = Arc::<LocalizationCache>::default();
    let [first, second] = [(); 2].map(|()| editor().sharing(Arc::clone(&shared)));
    assert_eq!(edit(&first, &request()).1, LocalizationSource::Pass);
    let (_, source, steps) = edit(&second, &request());
    assert_eq!((source, steps), (LocalizationSource::Cache, 0));
}

#[test]
fn what_the_noise_difference_scored_serves_its_own_instruction_alone() {
    let editor = editor();
    let mut request = request();
    request.settings.score = ClusterScore::NoiseDifference;
    edit(&editor, &request);
    assert_eq!(edit(&editor, &request).1, LocalizationSource::Cache);
    request.instruction = "remove the red circle".to_owned();
    assert_eq!(edit(&editor, &request).1, LocalizationSource::Pass);
}

#[test]
fn the_bound_holds_and_new_localizations_are_kept() {
    let editor = editor();
    let (found, ..) = edit(&editor, &request());
    let instruction = LocalizationInstruction {
        text: found.instruction.clone(),
        object_spans: vec![],
        said: vec![],
        stands: true,
    };
    let key = |seed| {
        let request = EditRequest { seed, ..request() };
        Key::of(&EditSession::new(editor.pipeline(), request.clone()), &instruction)
    };
    let one = LocalizationCache::bounded(u64::MAX >> 1);
    one.insert(key(0), "", &found);
    assert!(one.bytes() as usize > found.labels.len(), "{} bytes", one.bytes());
    let cache = LocalizationCache::bounded(10 * one.bytes());
    for seed in 0..100 {
        cache.insert(key(seed), "", &found);
        assert!(cache.bytes() <= 10 * one.bytes());
    }
    let kept = (0..100).filter(|&seed| cache.get(&key(seed), "").is_some()).count();
    assert!((8..=10).contains(&kept), "{kept} of 10 are kept");
}
