//! The methods of an evaluation: an editing method, optionally given the true object or mask (oracle).
//!
//! With the true object, remaining errors are the localizer's; with the true mask, they are pass 2's. The difference
//! from the plain run is the loss due to the parser, or to the localizer.

use crate::edit::{
    choices::MethodKind,
    edit_mask::MaskChoice,
    localizer::Localizer,
    request::EditRequest,
    settings::{EditSettings, LocalizationSettings},
};
use crate::evaluation::{
    EvaluationError,
    dataset::{Item, ItemAction, LoadedItem},
};
use crate::measures::placement;
use crate::picture::mask::Radius;

/// Source of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Determined by the method.
    Found,
    /// Given by the manifest (oracle).
    Given,
}

/// How a method localizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Localizing {
    /// As the settings say.
    AsSet,
    /// In the paper's own setting.
    AsInPaper,
    /// By another localizer.
    By(Localizer),
}

/// A method to evaluate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Name on the command line.
    pub name: &'static str,
    /// Title in reports.
    pub title: &'static str,
    /// Description of one sentence.
    pub about: &'static str,
    /// The editing method.
    pub kind: MethodKind,
    /// Source of object and action.
    pub object: Origin,
    /// Source of the mask.
    pub mask: Origin,
    /// How it localizes, where it does.
    pub localizing: Localizing,
}

/// All methods.
pub const METHODS: [Method; 10] = [
    Method {
        name: "instruct-pix2pix",
        title: "InstructPix2Pix",
        about: "the plain backbone: no mask, the decoded picture as it is",
        kind: MethodKind::InstructPix2Pix,
        object: Origin::Found,
        mask: Origin::Found,
        localizing: Localizing::AsSet,
    },
    FOUND,
    Method {
        name: "iam-edit:true-object",
        title: "IAM-Edit, true object",
        about: "object and action from the manifest, mask found by pass 1",
        kind: MethodKind::IamEdit,
        object: Origin::Given,
        mask: Origin::Found,
        localizing: Localizing::AsSet,
    },
    Method {
        name: "iam-edit:true-mask",
        title: "IAM-Edit, true mask",
        about: "mask from the manifest: what pass 2 could do at best",
        kind: MethodKind::IamEdit,
        object: Origin::Found,
        mask: Origin::Given,
        localizing: Localizing::AsSet,
    },
    Method {
        name: "iam-edit:paper",
        title: "IAM-Edit, localized as in the paper",
        about: "100 steps, 5 clusters, tau 0.3, the clusters' cells as they are",
        localizing: Localizing::AsInPaper,
        ..FOUND
    },
    Method {
        name: "iam-edit:attention",
        title: "IAM-Edit, attention alone",
        about: "a threshold on the attention to the object's words, without clusters",
        localizing: Localizing::By(Localizer::Attention),
        ..FOUND
    },
    Method {
        name: "iam-edit:noise-difference",
        title: "IAM-Edit, noise difference",
        about: "a threshold on what the instruction changes in one prediction (Watch Your Steps)",
        localizing: Localizing::By(Localizer::NoiseDifference),
        ..FOUND
    },
    Method {
        name: "iam-edit:diffedit",
        title: "IAM-Edit, DiffEdit",
        about: "a threshold on what it changes in ten predictions",
        localizing: Localizing::By(Localizer::DiffEdit),
        ..FOUND
    },
    Method {
        name: "iam-edit:predicted-change",
        title: "IAM-Edit, predicted change",
        about: "where the picture that the first calls head for leaves the source (RegionE)",
        localizing: Localizing::By(Localizer::PredictedChange),
        ..FOUND
    },
    Method {
        name: "iam-edit:copy",
        title: "IAM-Edit, copying",
        about: "where cells no longer copy their own place; of models that attend to the picture",
        localizing: Localizing::By(Localizer::Copy),
        ..FOUND
    },
];

/// IAM-Edit, whose mask pass 1 finds.
const FOUND: Method = Method {
    name: "iam-edit",
    title: "IAM-Edit",
    about: "object read from the instruction, mask found by pass 1",
    kind: MethodKind::IamEdit,
    object: Origin::Found,
    mask: Origin::Found,
    localizing: Localizing::AsSet,
};

impl Method {
    /// Looks up a method by name.
    ///
    /// # Errors
    /// [`EvaluationError::UnknownMethod`] lists all names.
    pub fn named(name: &str) -> Result<&'static Self, EvaluationError> {
        METHODS.iter().find(|method| method.name == name).ok_or_else(|| {
            let known: Vec<&str> = METHODS.iter().map(|it| it.name).collect();
            EvaluationError::UnknownMethod { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// Whether an item has the inputs that the method is given.
    pub fn applies_to(&self, item: &Item) -> bool {
        let has_object = item.object.is_some() || item.action.is_some();
        (self.object == Origin::Found || has_object)
            && (self.mask == Origin::Found || item.mask.is_some())
    }

    /// Whether the method localizes.
    pub fn localizes(&self) -> bool {
        self.kind.finds_mask() && self.mask == Origin::Found
    }

    /// Sets the method and its given inputs in a request.
    pub fn prepare(&self, request: &mut EditRequest, item: &Item, pictures: &LoadedItem) {
        request.method = self.kind;
        // A given mask's surroundings are put back where they are scored, so that one run gives both pictures.
        request.settings.preserve = self.kind.default_preserve(false);
        match self.localizing {
            Localizing::AsSet => {}
            Localizing::AsInPaper => localize_as_in_paper(&mut request.settings),
            Localizing::By(localizer) => request.settings.localizer = localizer,
        }
        if self.object == Origin::Given {
            request.object.clone_from(&item.object);
            request.action = item.action.map(ItemAction::action);
        }
        if self.mask == Origin::Given {
            let dilate = match item.action {
                // A mask of the target's outline would ask for that one place, which the words leave open.
                Some(ItemAction::Add) => Radius::of_share(placement::SHIFT, item.size),
                _ => Radius::default(),
            };
            let shapes = pictures.mask.clone();
            request.mask = MaskChoice { shapes, dilate, ..MaskChoice::default() };
        }
    }
}

/// The paper's values of everything that decides a mask, except for what is a part of the model.
fn localize_as_in_paper(settings: &mut EditSettings) {
    let paper = EditSettings::paper();
    let own = settings.clone();
    *settings = EditSettings {
        localize_steps: paper.localize_steps,
        clusters: paper.clusters,
        tau: paper.tau,
        rows: paper.rows,
        localizer: paper.localizer,
        score: paper.score,
        refine: paper.refine,
        grow: paper.grow,
        localization: LocalizationSettings {
            averaged: paper.localization.averaged,
            added_by: paper.localization.added_by,
            scheduler: paper.localization.scheduler,
            ..own.localization
        },
        ..own
    };
}
