//! The methods that an evaluation can run: an editing method, and what of the truth it is given.
//!
//! Given the true object, what is left is the localizer's own failure; given the true mask, what is left is the second
//! pass's. The difference to the plain run is what the parser, or the localizer, lost.

use crate::edit::{choices::MethodKind, edit_mask::MaskChoice, request::EditRequest};
use crate::evaluation::{
    EvaluationError,
    dataset::{Item, ItemAction, Loaded},
};
use crate::measures::placement;
use crate::picture::mask::Radius;

/// Where a part of the edit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The method finds it.
    Found,
    /// The manifest gives it.
    Given,
}

/// A method as evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// As typed.
    pub name: &'static str,
    /// As titled.
    pub title: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// The editing method.
    pub kind: MethodKind,
    /// Where object and action come from.
    pub object: Origin,
    /// Where the mask comes from.
    pub mask: Origin,
}

/// All methods; the first is the one that others are compared with.
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
    /// The method of a name.
    ///
    /// # Errors
    /// [`EvaluationError::UnknownMethod`] lists all names.
    pub fn named(name: &str) -> Result<&'static Self, EvaluationError> {
        METHODS.iter().find(|method| method.name == name).ok_or_else(|| {
            let known: Vec<&str> = METHODS.iter().map(|it| it.name).collect();
            EvaluationError::UnknownMethod { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// Whether an item has what the method is given.
    pub fn applies_to(&self, item: &Item) -> bool {
        let has_object = item.object.is_some() || item.action.is_some();
        (self.object == Origin::Found || has_object)
            && (self.mask == Origin::Found || item.mask.is_some())
    }

    /// Whether it makes a mask of its own.
    pub fn localizes(&self) -> bool {
        self.kind == MethodKind::IamEdit && self.mask == Origin::Found
    }

    /// Writes into a request what this method is, and what it is given.
    pub fn prepare(&self, request: &mut EditRequest, item: &Item, pictures: &Loaded) {
        request.method = self.kind;
        request.settings.preserve = self.kind.default_preserve();
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
