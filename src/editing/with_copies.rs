//! An attention processor beside one that only looks on, where cells copy from.

use crate::attention::{
    processor::{Attempt, AttnProcessor, CallShape, Replayable},
    qkv::{Attended, Qkv},
    site::AttnSite,
};
use crate::editing::copy_field::CopyStore;

/// A processor, and after it one that sums where cells copy from.
pub(super) struct WithCopies {
    /// What the method does to attention.
    pub(super) method: Box<dyn AttnProcessor>,
    /// What looks on.
    pub(super) copies: CopyStore,
}

impl AttnProcessor for WithCopies {
    fn begin(&mut self, attempt: Attempt) {
        self.method.begin(attempt);
        self.copies.begin(attempt);
    }

    fn watches(&self, site: &AttnSite) -> bool {
        self.method.watches(site) || self.copies.watches(site)
    }

    fn reads_unrotated(&self, site: &AttnSite) -> bool {
        self.method.watches(site) && self.method.reads_unrotated(site)
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
        if self.method.watches(site) {
            self.method.visit(site, qkv, attended);
        }
        if self.copies.watches(site) {
            self.copies.visit(site, qkv, attended);
        }
    }

    /// The method's own, in calls where nothing is summed.
    fn replayable(&mut self, call: &CallShape<'_>) -> Option<&mut dyn Replayable> {
        if self.copies.sums_now() { None } else { self.method.replayable(call) }
    }
}
