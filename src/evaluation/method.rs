//! The methods of an evaluation: an editing method, optionally given the true object or mask (oracle).
//!
//! With the true object, remaining errors are the localizer's; with the true mask, they are pass 2's. The difference
//! from the plain run is the loss due to the parser, or to the localizer.

use crate::edit::{choices::MethodKind, edit_mask::MaskChoice, request::EditRequest};
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
}

/// All methods; others are compared with the first.
pub const METHODS: [Method; 4] = [
    Method {
        name: "instruct-pix2pix",
        title: "InstructPix2Pix",
        about: "the plain backbone: no mask, the decoded picture as it is",
        kind: MethodKind::InstructPix2Pix,
        object: Origin::Found,
        mask: Origin::Found,
    },
    Method {
        name: "iam-edit",
        title: "IAM-Edit",
        about: "object read from the instruction, mask found by pass 1",
        kind: MethodKind::IamEdit,
        object: Origin::Found,
        mask: Origin::Found,
    },
    Method {
        name: "iam-edit:true-object",
        title: "IAM-Edit, true object",
        about: "object and action from the manifest, mask found by pass 1",
        kind: MethodKind::IamEdit,
        object: Origin::Given,
        mask: Origin::Found,
    },
    Method {
        name: "iam-edit:true-mask",
        title: "IAM-Edit, true mask",
        about: "mask from the manifest: what pass 2 could do at best",
        kind: MethodKind::IamEdit,
        object: Origin::Found,
        mask: Origin::Given,
    },
];

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
