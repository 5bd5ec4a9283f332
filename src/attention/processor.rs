//! The hook in the attention layers, and what makes it replayable from a recorded call.
//!
//! The hook's shape is diffusers' `AttnProcessor`. Differs: it does not compute the layer but sees its Q, K, V and output,
//! which it may change in place. So a processor is a few lines, every layer is one fused call whoever watches, and rows of
//! several jobs can share a batch.

use std::fmt;

use tch::{Device, Tensor};

use crate::attention::{
    qkv::{Attended, Qkv},
    site::AttnSite,
};

/// Whether a call is made for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It is.
    First,
    /// It failed, and is made again from its start.
    Again,
}

/// A guest in the attention layers of one U-Net call (diffusers: `AttnProcessor`).
pub trait AttnProcessor: Send {
    /// A call of the U-Net begins; what was seen of it at an attempt that failed must not count twice.
    fn begin(&mut self, _attempt: Attempt) {}

    /// Whether it wants to see this site.
    fn watches(&self, site: &AttnSite) -> bool;

    /// Sees what a layer attended with and what came of it, whose output it may change in place.
    fn visit(&mut self, site: &AttnSite, qkv: &Qkv, attended: &Attended);

    /// This guest for the call that has begun, if a recording can stand for it; `None` if it must be asked at each site.
    fn replayable(&mut self, _call: &CallShape) -> Option<&mut dyn Replayable> {
        None
    }
}

/// A call before it runs.
#[derive(Debug, Clone, Copy)]
pub struct CallShape<'a> {
    /// All its attention layers.
    pub sites: &'a [AttnSite],
    /// Tokens of a prompt.
    pub tokens: i64,
    /// Where it runs.
    pub device: Device,
}

/// A guest that asks the same of the device at every call whose sites it watches, so that a call can be recorded once and
/// played for any guest like it.
///
/// Its [`visit`](AttnProcessor::visit) must work on the device alone: it may not wait for it, nor bring numbers to it.
pub trait Replayable {
    /// Names what it does at a site: guests of one name differ in the sites that they watch and in the numbers of their tensors.
    fn work(&self) -> &'static str;

    /// Its tensors, on the device of the call.
    fn tensors(&self) -> GuestTensors;

    /// A guest that does the same at every call, to other tensors of the same shapes.
    fn over(&self, tensors: GuestTensors) -> Box<dyn AttnProcessor>;

    /// The call was played: its tensors hold what visiting these sites would have left.
    fn replayed(&mut self, visited: &[AttnSite]);
}

/// What a guest works on.
#[derive(Debug, Default)]
pub struct GuestTensors {
    /// Tensors that it reads.
    pub read: Vec<Tensor>,
    /// Tensors that it reads and changes in place.
    pub changed: Vec<Tensor>,
}

/// Several guests in one call, each of whom sees rows of its own.
pub struct RowGuests<'a> {
    /// In the order of the rows, each with how many it has.
    pub guests: Vec<(&'a mut dyn AttnProcessor, usize)>,
}

impl AttnProcessor for RowGuests<'_> {
    fn watches(&self, site: &AttnSite) -> bool {
        self.guests.iter().any(|(guest, _)| guest.watches(site))
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv, attended: &Attended) {
        let mut start = 0;
        for (guest, rows) in &mut self.guests {
            if guest.watches(site) {
                guest.visit(site, &qkv.rows(start, *rows), &attended.rows(start, *rows));
            }
            start += *rows;
        }
    }
}

/// The guest that watches nothing: the plain U-Net.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl AttnProcessor for Unwatched {
    fn watches(&self, _site: &AttnSite) -> bool {
        false
    }

    fn visit(&mut self, _site: &AttnSite, _qkv: &Qkv, _attended: &Attended) {}
}

// === impl RowGuests ===

impl fmt::Debug for RowGuests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowGuests").field("guests", &self.guests.len()).finish()
    }
}
