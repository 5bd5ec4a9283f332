//! Decoded inputs of waiting jobs, within a budget of bytes, so that workers needn't decode them again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::picture::{Picture, decode::Decoded};

/// Most bytes of pixels that are kept over all waiting jobs.
const BUDGET: usize = 256 << 20;

/// Decoded inputs of waiting jobs. Those beyond the budget are not kept; the worker decodes them again.
#[derive(Debug)]
pub(super) struct DecodedInputs {
    held: Mutex<Held>,
    budget: usize,
}

#[derive(Debug, Default)]
struct Held {
    inputs: HashMap<Uuid, Decoded>,
    bytes: usize,
}

impl Default for DecodedInputs {
    fn default() -> Self {
        Self { held: Mutex::default(), budget: BUDGET }
    }
}

impl DecodedInputs {
    /// Keeps a job's input, if it fits.
    pub(super) fn keep(&self, job: Uuid, input: Decoded) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = bytes(&input.picture);
        if held.bytes + bytes <= self.budget {
            held.bytes += bytes;
            held.inputs.insert(job, input);
        }
    }

    /// Removes and returns a job's input, if it is kept.
    pub(super) fn take(&self, job: Uuid) -> Option<Decoded> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let input = held.inputs.remove(&job)?;
        held.bytes -= bytes(&input.picture);
        Some(input)
    }
}

/// The bytes of a picture's pixels.
fn bytes(picture: &Picture) -> usize {
    picture.rgb.as_raw().len() + picture.alpha.as_ref().map_or(0, |it| it.as_raw().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{format::FileFormat, metadata::Metadata};

    fn input() -> Decoded {
        Decoded {
            picture: Picture::opaque(image::RgbImage::new(20, 10)),
            format: FileFormat::Png,
            metadata: Metadata::default(),
            notes: vec![],
        }
    }

    #[test]
    fn the_budget_holds_and_what_is_taken_makes_room() {
        let inputs = DecodedInputs { held: Mutex::default(), budget: 1300 };
        let [first, second, third] = [(); 3].map(|()| Uuid::now_v7());
        for job in [first, second, third] {
            inputs.keep(job, input());
        }
        assert!(inputs.take(third).is_none(), "600 bytes each, and 1300 in all");
        assert_eq!(inputs.take(first), Some(input()));
        assert!(inputs.take(first).is_none());
        inputs.keep(third, input());
        assert!(inputs.take(second).is_some() && inputs.take(third).is_some());
        assert_eq!(inputs.held.into_inner().unwrap().bytes, 0);
    }
}
