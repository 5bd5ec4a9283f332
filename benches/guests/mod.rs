//! Attention processors that the benchmark engines time a step with.

use retouch::{
    attention::{
        processor::{AttnProcessor, Unwatched},
        site::AttnSite,
    },
    edit::settings::Modulation,
    editing::iam_edit::{
        attn_modulator::AttnModulator,
        attn_store::{AttnStore, WatchedLevels},
    },
};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

/// Which attention processor a benchmark uses.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Guest {
    None,
    Localize,
    Gate,
}

impl Guest {
    /// The processor for a call with these sites on a square picture of `pixels` a side, whose middle quarter is
    /// edited.
    pub(crate) fn processor(
        self,
        sites: &[AttnSite],
        pixels: i64,
        device: Device,
    ) -> Box<dyn AttnProcessor> {
        match self {
            Self::None => Box::new(Unwatched),
            Self::Localize => {
                let levels = WatchedLevels::nearest(sites, 1, 2).unwrap();
                Box::new(AttnStore::new(levels, 0..usize::MAX))
            }
            Self::Gate => {
                let mask = Tensor::zeros([1, 1, pixels, pixels], (Kind::Float, device));
                let half = pixels / 2;
                let _ = mask.narrow(2, half / 2, half).narrow(3, half / 2, half).fill_(1.0);
                Box::new(AttnModulator::new(Modulation::Gate, mask))
            }
        }
    }
}
