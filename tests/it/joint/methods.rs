//! A method and a mask source of one's own: an editor runs what its registry holds.

use std::ops::ControlFlow;

use retouch::{
    attention::processor::Unwatched,
    edit::{
        choices::{MethodKind, Preserve},
        edit_mask::EditMask,
        event::{EditEvent, EventSink, Pass},
        grid::{Field, Grid},
        localization::Localization,
        localization_instruction::LocalizationInstruction,
        localizer::Localizer,
    },
    editing::{
        EditError,
        editor::Editor,
        method::{MaskSource, Method},
        methods::Methods,
        session::{Course, EditSession},
    },
    pipelines::guidance::Guidance,
};
use tch::Tensor;

use super::{Deaf, SIZE, edit, model::Joint, request};
use crate::support::psnr;

/// Edits as if no instruction were given, inside a mask alone.
#[derive(Debug)]
struct Unmoved;

impl Method for Unmoved {
    fn kind(&self) -> MethodKind {
        MethodKind::IamEdit
    }

    fn check(&self, session: &EditSession<'_>) -> Result<(), EditError> {
        if session.pipeline.guidance().is_distilled() {
            return Err(EditError::Distilled { what: "a test" });
        }
        Ok(())
    }

    fn edit(
        &self,
        session: &EditSession<'_>,
        mask: Option<&EditMask>,
        sink: &mut dyn EventSink,
    ) -> Result<Tensor, EditError> {
        assert!(mask.is_some(), "the mask source finds one");
        let run = session.run(Pass::Edit, session.told())?;
        let deaf = Deaf(session.pipeline);
        let course = Course { predictor: &deaf, ..session.course(Pass::Edit, &run) };
        session.denoise(&course, &run, Box::new(Unwatched), sink, &|_, latents| latents)
    }
}

/// The left half, whatever the instruction.
#[derive(Debug)]
struct LeftHalf;

impl MaskSource for LeftHalf {
    fn localizer(&self) -> Localizer {
        Localizer::Attention
    }

    fn localize(
        &self,
        session: &EditSession<'_>,
        _instruction: &LocalizationInstruction,
        _sink: &mut dyn EventSink,
    ) -> Result<Localization, EditError> {
        let grid = Grid { height: SIZE.height, width: SIZE.width };
        let is_left = |cell: i64| f32::from(2 * (cell % grid.width) < grid.width);
        let values = (0..grid.height * grid.width).map(is_left).collect();
        let field = Field { grid, values };
        Ok(Localization::from_threshold(session.told(), &field, 0.5, vec![]))
    }
}

const SCRIPTED: Methods = Methods { methods: &[&Unmoved], mask_sources: &[&LeftHalf] };

#[test]
fn an_editor_runs_the_methods_and_mask_sources_of_its_registry() {
    let mut sink = |_: EditEvent| ControlFlow::Continue(());
    let mut request = request();
    request.settings.localizer = Localizer::Attention;
    request.settings.preserve = Preserve::None;
    let editor = Editor::new(Box::new(Joint(Guidance::Cfg)), None).with_methods(SCRIPTED);
    let edited = editor.edit(&request, &mut sink).unwrap();
    assert!((edited.mask.unwrap().area() - 0.5).abs() < 1e-6);

    // What the predictor does not hear, no picture shows.
    let other = "change the red circle to a green tree".to_owned();
    let other = retouch::edit::request::EditRequest { instruction: other, ..request.clone() };
    let unmoved = editor.edit(&other, &mut sink).unwrap();
    assert_eq!(unmoved.image, edited.image);
    request.method = MethodKind::InstructPix2Pix;
    let moved = edit(Box::new(Joint(Guidance::Cfg)), &request).unwrap();
    assert!(psnr(&moved, &edited.image) < 50.0);
}

#[test]
fn what_a_method_can_not_do_with_a_model_is_refused_before_any_pass() {
    let editor = Editor::new(Box::new(Joint(Guidance::Distilled)), None).with_methods(SCRIPTED);
    let mut told = 0;
    let refused = editor.edit(&request(), &mut |_: EditEvent| {
        told += 1;
        ControlFlow::Continue(())
    });
    assert!(matches!(refused, Err(EditError::Distilled { what: "a test" })));
    assert_eq!(told, 0);
}
