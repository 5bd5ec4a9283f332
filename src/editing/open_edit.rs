//! An edit in progress: its picture is resized and encoded once, and both passes run on that.

use std::sync::Arc;

use image::RgbImage;

use crate::edit::{
    choices::{MethodKind, Preserve},
    edit_mask::{EditMask, MaskChoice},
    event::EventSink,
    localization::Localization,
    request::EditRequest,
};
use crate::editing::{
    EditError,
    editor::{Edited, Editor},
    reports,
    session::EditSession,
};
use crate::picture::blend::RoundTrip;

/// An edit in progress: the caller runs pass 1, may replace the mask, and runs pass 2 once per variant.
#[derive(Debug)]
pub struct OpenEdit<'m> {
    editor: &'m Editor,
    session: EditSession<'m>,
    localization: Option<Arc<Localization>>,
}

impl Editor {
    /// Opens an edit: its picture is resized and encoded once for both passes.
    pub fn open(&self, request: EditRequest) -> OpenEdit<'_> {
        let session = EditSession::new(self.pipeline(), request);
        OpenEdit { editor: self, session, localization: None }
    }

    /// Runs both passes: localization, unless the mask is given, and the edit.
    ///
    /// # Errors
    /// [`EditError`] names the fault of the request or the model.
    pub fn edit(
        &self,
        request: &EditRequest,
        sink: &mut dyn EventSink,
    ) -> Result<Edited, EditError> {
        self.open(request.clone()).run(sink)
    }
}

impl OpenEdit<'_> {
    /// The request, with the latest mask and seed.
    pub fn request(&self) -> &EditRequest {
        &self.session.request
    }

    /// The result of pass 1, run here or taken up.
    pub fn localization(&self) -> Option<&Arc<Localization>> {
        self.localization.as_ref()
    }

    /// The picture after the autoencoder's round trip, at the input's size: the result of a model that edits nothing.
    ///
    /// # Errors
    /// [`EditError::Pipeline`].
    pub fn reconstruction(&self) -> Result<&RgbImage, EditError> {
        self.session.reconstruction()
    }

    /// Runs pass 1; `None` if the instruction is about the whole picture.
    ///
    /// # Errors
    /// [`EditError`] names the fault of the request or the model.
    pub fn localize(
        &mut self,
        sink: &mut dyn EventSink,
    ) -> Result<Option<Arc<Localization>>, EditError> {
        self.localization = self.editor.localize_in(&self.session, sink)?;
        Ok(self.localization.clone())
    }

    /// Runs pass 1 of a request without pass 2, and gives the warnings of cut texts that pass 2 would give.
    ///
    /// # Errors
    /// As for [`Self::localize`].
    pub fn localize_only(
        &mut self,
        sink: &mut dyn EventSink,
    ) -> Result<Option<Arc<Localization>>, EditError> {
        self.editor.warn_of_cut_texts(&self.session, sink)?;
        self.localize(sink)
    }

    /// Uses the result of an earlier pass 1 on the same picture.
    pub fn take_up(&mut self, localization: Arc<Localization>) {
        self.localization = Some(localization);
    }

    /// Warns of a low confidence of the localization, if the mask depends on it; [`Self::localize`] does so by itself.
    ///
    /// # Errors
    /// [`EditError::LowConfidence`] if the caller is strict, [`EditError::Interrupted`] if the sink stops the run.
    pub fn check_confidence(&self, sink: &mut dyn EventSink) -> Result<(), EditError> {
        match &self.localization {
            Some(found) if self.request().needs_localization() => {
                reports::check_confidence(self.request(), found, sink)
            }
            _ => Ok(()),
        }
    }

    /// Sets the caller's part of the mask.
    pub fn settle(&mut self, mask: MaskChoice) {
        self.session.request.mask = mask;
    }

    /// The mask from the caller's part and the localization, or the whole picture if neither gives one.
    ///
    /// # Errors
    /// As for [`EditMask::settle`].
    pub fn mask(&self) -> Result<EditMask, EditError> {
        let mask = EditMask::settle(&self.session, self.localization.as_deref())?;
        Ok(mask.unwrap_or_else(|| EditMask::whole(&self.session)))
    }

    /// Sets the seed of the next pass 2.
    pub fn reseed(&mut self, seed: u64) {
        self.session.request.seed = seed;
    }

    /// Starts over with another method's defaults and without previews, for a comparison.
    pub fn switch(&mut self, method: MethodKind) {
        let request = &mut self.session.request;
        request.method = method;
        request.settings.preserve = method.default_preserve(request.mask.shapes.is_some());
        request.preview_every = 0;
        self.localization = None;
    }

    /// Runs both passes: localization, unless the mask is given, and the edit.
    ///
    /// # Errors
    /// [`EditError`] names the fault of the request or the model.
    pub fn run(&mut self, sink: &mut dyn EventSink) -> Result<Edited, EditError> {
        if self.request().needs_localization() {
            self.localize(sink)?;
        }
        self.edit(sink)
    }

    /// Runs pass 2.
    ///
    /// # Errors
    /// [`EditError`] names the fault of the request or the model.
    pub fn edit(&self, sink: &mut dyn EventSink) -> Result<Edited, EditError> {
        let edited = self.edit_uncomposited(sink)?;
        Ok(match &edited.mask {
            Some(mask) if self.request().settings.preserve == Preserve::Pixel => {
                let image = self.composite(&edited.image, mask)?;
                Edited { image, ..edited }
            }
            _ => edited,
        })
    }

    /// The final composite of [`Preserve::Pixel`]: what an edit changed inside the mask, and the input elsewhere.
    ///
    /// # Errors
    /// [`EditError::Pipeline`].
    pub fn composite(&self, edited: &RgbImage, mask: &EditMask) -> Result<RgbImage, EditError> {
        let unedited = self.session.reconstruction()?;
        let trip = RoundTrip { edited, unedited, cell: self.session.cell() };
        Ok(mask.composite(trip, &self.request().image))
    }

    /// [`Self::edit`] without the final composite of [`Preserve::Pixel`], for callers that need both pictures.
    ///
    /// # Errors
    /// [`EditError`] names the fault of the request or the model.
    pub fn edit_uncomposited(&self, sink: &mut dyn EventSink) -> Result<Edited, EditError> {
        self.editor.edit_in(&self.session, self.localization.as_deref(), sink)
    }
}
