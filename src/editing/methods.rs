//! The registry: every method and mask source that an editor can run.

use crate::edit::{choices::MethodKind, localizer::Localizer};
use crate::editing::{
    baselines::{
        attention_threshold::AttentionThreshold, copying::Copying, diffedit::DiffEdit,
        instruct_pix2pix::InstructPix2Pix, predicted_change::PredictedChange,
        watch_your_steps::WatchYourSteps,
    },
    iam_edit::IamEdit,
    method::{MaskSource, Method},
};

/// Methods and mask sources by the names that requests use.
#[derive(Debug, Clone, Copy)]
pub struct Methods {
    /// One for each kind that requests may ask for.
    pub methods: &'static [&'static dyn Method],
    /// One for each localizer that requests may ask for.
    pub mask_sources: &'static [&'static dyn MaskSource],
}

impl Methods {
    /// All that are built in.
    pub const BUILT_IN: Self = Self {
        methods: &[&IamEdit, &InstructPix2Pix],
        mask_sources: &[
            &IamEdit,
            &AttentionThreshold,
            &WatchYourSteps,
            &DiffEdit,
            &PredictedChange,
            &Copying,
        ],
    };

    /// The method of a kind.
    ///
    /// # Panics
    /// If the registry does not have it.
    pub fn method(self, kind: MethodKind) -> &'static dyn Method {
        let found = self.methods.iter().find(|it| it.kind() == kind);
        *found.expect("an editor is asked for the methods of its registry")
    }

    /// The mask source of a localizer.
    ///
    /// # Panics
    /// If the registry does not have it.
    pub fn mask_source(self, localizer: Localizer) -> &'static dyn MaskSource {
        let found = self.mask_sources.iter().find(|it| it.localizer() == localizer);
        *found.expect("an editor is asked for the mask sources of its registry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_a_request_may_use_is_built_in() {
        for kind in MethodKind::ALL {
            assert_eq!(Methods::BUILT_IN.method(kind).kind(), kind);
        }
        for localizer in Localizer::ALL {
            assert_eq!(Methods::BUILT_IN.mask_source(localizer).localizer(), localizer);
        }
    }
}
