//! Which blocks of a model a localizer looks at.

use crate::attention::site::AttnSite;
use crate::edit::blocks::Blocks;
use crate::editing::EditError;

/// Some blocks of a model, or all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedBlocks(Option<Blocks>);

impl WatchedBlocks {
    /// Those that the settings name, of the layers that a call visits.
    ///
    /// # Errors
    /// [`EditError::NoBlock`] names one that the model does not have.
    pub fn of(blocks: Option<&Blocks>, sites: &[AttnSite]) -> Result<Self, EditError> {
        let names: Vec<String> = sites.iter().map(ToString::to_string).collect();
        let missing = |it: &Blocks| it.missing(names.iter().map(String::as_str));
        match blocks.and_then(missing) {
            Some(block) => Err(EditError::NoBlock { block }),
            None => Ok(Self(blocks.cloned())),
        }
    }

    /// Whether a layer is in one of them.
    pub fn holds(&self, site: &AttnSite) -> bool {
        self.0.as_ref().is_none_or(|it| it.hold(&site.to_string()))
    }
}
