//! The editor, the entry point of the library: takes a request, emits events, returns the edited picture.

use std::{path::PathBuf, sync::Arc};

use image::RgbImage;

use crate::edit::{
    choices::Unparsed,
    drift::Drift,
    edit_mask::EditMask,
    event::{EditEvent, EventSink, LocalizationSource, WarningReason},
    localization::Localization,
    localization_instruction::{
        LocalizationInstruction, candidate_nouns, least_related, localization_instruction,
        needs_unrelated_word,
    },
    request::EditRequest,
    settings::LocalizationSettings,
    understood::Understood,
};
use crate::editing::{
    EditError, align,
    iam_edit::noun_embeddings::{self, NounEmbeddings},
    localization_cache::{Key, LocalizationCache},
    methods::Methods,
    no_change,
    reports::{announce, check_confidence, emit, fallback_message, flat_attention, named, warn},
    session::EditSession,
};
use crate::instruction::{Action, Instruction, ParseError, Phrase, told::Told};
use crate::pipelines::EditPipeline;

/// A model, with the editing methods that run on it.
#[derive(derive_more::Debug)]
pub struct Editor {
    #[debug(skip)]
    pipeline: Box<dyn EditPipeline>,
    cache: Option<PathBuf>,
    localizations: Arc<LocalizationCache>,
    methods: Methods,
}

/// Result of an edit.
#[derive(Debug)]
pub struct Edited {
    /// The edited picture, at the input's size.
    pub image: RgbImage,
    /// The mask, of several parts all of theirs; `None` for an edit of the whole picture.
    pub mask: Option<Arc<EditMask>>,
    /// How pass 2, of several parts the last one's, moved the whole picture, if that was told.
    pub drift: Option<Drift>,
}

/// What is edited.
#[derive(Debug)]
enum Target {
    /// An object, with the instruction that localizes it.
    Object(LocalizationInstruction),
    /// The whole picture.
    Whole,
}

impl Editor {
    /// An editor over a loaded model. Noun embeddings are cached in the folder `cache`, if given, and localizations in
    /// memory.
    pub fn new(pipeline: Box<dyn EditPipeline>, cache: Option<PathBuf>) -> Self {
        let (localizations, methods) = (Arc::default(), Methods::BUILT_IN);
        Self { pipeline, cache, localizations, methods }
    }

    /// Replaces the localization cache by one shared with other editors of the model.
    #[must_use]
    pub fn sharing(self, localizations: Arc<LocalizationCache>) -> Self {
        Self { localizations, ..self }
    }

    /// Replaces the registry of methods.
    #[must_use]
    pub fn with_methods(self, methods: Methods) -> Self {
        Self { methods, ..self }
    }

    /// The model.
    pub fn pipeline(&self) -> &dyn EditPipeline {
        self.pipeline.as_ref()
    }

    /// Warns if the instruction or the negative prompt exceeds the model's token limit.
    ///
    /// # Errors
    /// [`EditError::Pipeline`] if a text can't be tokenized, [`EditError::Interrupted`] if the sink stops the run.
    pub(super) fn warn_of_cut_texts(
        &self,
        session: &EditSession<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<(), EditError> {
        let (told, negative_prompt) = (session.told(), &session.negative_prompt);
        let reason = WarningReason::InstructionTruncated;
        self.warn_of_cut("the instruction", told, reason, sink)?;
        let reason = WarningReason::NegativePromptTruncated;
        self.warn_of_cut("the negative prompt", negative_prompt, reason, sink)
    }

    /// Runs pass 1; `None` if the instruction is about the whole picture.
    pub(super) fn localize_in(
        &self,
        session: &EditSession<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<Option<Arc<Localization>>, EditError> {
        self.methods.method(session.request.method).check(session)?;
        align::check(session)?;
        let Target::Object(instruction) = self.target(session, sink)? else {
            return Ok(None);
        };
        let (key, told) = (Key::of(session, &instruction), session.told());
        if instruction.text != told {
            let reason = WarningReason::LocalizationTruncated;
            self.warn_of_cut("the localization instruction", &instruction.text, reason, sink)?;
        }
        let (localization, source) = if let Some(kept) = self.localizations.get(&key, told) {
            (kept, LocalizationSource::Cache)
        } else {
            let source = self.methods.mask_source(session.request.settings.localizer);
            let found = source.localize(session, &instruction, sink)?;
            let (stands, covers) = (instruction.stands, session.covers());
            let found = Arc::new(Localization { stands, covers, ..found });
            self.localizations.insert(key, told, &found);
            (found, LocalizationSource::Pass)
        };
        if let Some(warning) = flat_attention(&localization, &session.request) {
            emit(sink, EditEvent::Warning(warning))?;
        }
        if let Some(fallback) = localization.fallback {
            warn(
                sink,
                WarningReason::MaskFallback,
                fallback_message(fallback, &localization, &session.request),
            )?;
        }
        emit(sink, EditEvent::Localized(Arc::clone(&localization), source))?;
        check_confidence(&session.request, &localization, sink)?;
        Ok(Some(localization))
    }

    /// Runs pass 2 without the final composite of `Preserve::Pixel`.
    pub(super) fn edit_in(
        &self,
        session: &EditSession<'_>,
        localization: Option<&Localization>,
        sink: &mut dyn EventSink,
    ) -> Result<Edited, EditError> {
        let method = self.methods.method(session.request.method);
        method.check(session)?;
        align::check(session)?;
        let is_told = session.is_announced.get() || session.request.needs_localization();
        if let Ok(instruction) = &session.understood.read
            && !is_told
        {
            announce(session, instruction, None, sink)?;
        }
        self.warn_of_cut_texts(session, sink)?;
        let mask = EditMask::settle(session, localization)?.map(Arc::new);
        if let Some(mask) = &mask {
            emit(sink, EditEvent::MaskSettled(Arc::clone(mask)))?;
        }
        let latents = method.edit(session, mask.as_deref(), sink)?;
        let drift = align::drift(session, mask.as_deref());
        if let Some(drift) = drift {
            emit(sink, EditEvent::DriftTold(drift))?;
        }
        let image = align::without(session, drift, self.pipeline.decode(&latents)?);
        let image = align::in_colors(session, mask.as_deref(), session.at_input(image))?;
        if let Some(fault) = no_change::fault(session, mask.as_deref(), &latents, &image)? {
            warn(sink, WarningReason::NoChange, fault)?;
        }
        Ok(Edited { image, mask, drift })
    }

    /// The edit's target by its instruction, which is emitted as an event.
    fn target(
        &self,
        session: &EditSession<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<Target, EditError> {
        let (request, Understood { read, told, .. }) = (&session.request, &session.understood);
        let instruction = match read {
            Ok(instruction) => instruction,
            Err(error) if must_refuse(error, request) => {
                return Err(EditError::NotParsed(error.clone()));
            }
            Err(error) => {
                let reason = match error {
                    ParseError::NotLatin(_) => WarningReason::NonLatinText,
                    _ => WarningReason::NotParsed,
                };
                warn(sink, reason, format!("{error}; the whole picture is edited"))?;
                return Ok(Target::Whole);
            }
        };
        let found = match instruction.action() {
            Action::Global => None,
            Action::Change | Action::Add | Action::Remove => {
                let named = session.understood.named().unwrap_or(instruction);
                Some(self.localization_instruction(named, told, request)?)
            }
        };
        announce(session, instruction, found.as_ref(), sink)?;
        Ok(found.map_or(Target::Whole, Target::Object))
    }

    /// The localization instruction, with the pool's noun that is least similar to the object.
    fn localization_instruction(
        &self,
        instruction: &Instruction,
        told: &Told,
        request: &EditRequest,
    ) -> Result<LocalizationInstruction, EditError> {
        let settings = &request.settings.localization;
        let word = if needs_unrelated_word(instruction) {
            self.unrelated_word(instruction, settings)?
        } else {
            String::new()
        };
        let found = localization_instruction(instruction, told, &word, &settings.template);
        Ok(found.expect("an instruction that is not global has a localization instruction"))
    }

    /// The pool's noun that is least similar to the objects.
    fn unrelated_word(
        &self,
        instruction: &Instruction,
        settings: &LocalizationSettings,
    ) -> Result<String, EditError> {
        let pool = NounEmbeddings::of(self.pipeline(), settings, self.cache.as_deref())?;
        let candidates = candidate_nouns(&settings.nouns, instruction);
        let names = instruction.objects().iter().map(Phrase::name);
        let embed = |name: &str| noun_embeddings::embed(self.pipeline(), settings, name);
        let objects = names.map(embed).collect::<Result<Vec<_>, _>>()?;
        let word = least_related(&pool.words, &candidates, &objects);
        let object = || named(instruction, Phrase::name);
        Ok(word.ok_or_else(|| EditError::NoUnrelatedWord { object: object() })?.to_owned())
    }

    fn warn_of_cut(
        &self,
        what: &str,
        text: &str,
        reason: WarningReason,
        sink: &mut dyn EventSink,
    ) -> Result<(), EditError> {
        if let Some(cut) = &self.pipeline.tokenize(text)?.truncated {
            let message =
                format!("{what} exceeds the model's token limit; ignored: `{}`", cut.dropped);
            warn(sink, reason, message)?;
        }
        Ok(())
    }
}

/// Whether a parse error is fatal: a text without words always is, others if the caller wants no plain edit.
fn must_refuse(error: &ParseError, request: &EditRequest) -> bool {
    request.unparsed == Unparsed::Refuse
        || matches!(error, ParseError::NotAnObject(_) | ParseError::Empty)
}
