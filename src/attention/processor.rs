//! The hook in the attention layers, and what makes it replayable from a recorded call.
//!
//! The hook's shape is diffusers' `AttnProcessor`. Differs: it does not compute the layer but is given its Q, K, V and
//! output, and may change the output in place. So a processor is a few lines, every layer stays one fused call, and
//! rows of several jobs can share a batch.

use std::fmt;

use tch::{Device, Tensor};

use crate::attention::{
    qkv::{Attended, Qkv},
    site::AttnSite,
};

/// Whether a U-Net call runs for the first time or is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It is.
    First,
    /// Retry from the start, after a failed attempt.
    Again,
}

/// An attention processor (hook) for one U-Net call (diffusers: `AttnProcessor`).
pub trait AttnProcessor: Send {
    /// Called before a U-Net call. On a retry, whatever was accumulated during the failed attempt must be discarded.
    fn begin(&mut self, _attempt: Attempt) {}

    /// Whether [`visit`](Self::visit) is to be called at this site.
    fn watches(&self, site: &AttnSite) -> bool;

    /// Whether a site that it watches is to tell queries and keys as they are before their rotary embedding
    /// ([`Qkv::unrotated`]), which takes memory.
    fn reads_unrotated(&self, _site: &AttnSite) -> bool {
        false
    }

    /// Called after a layer with its inputs and its output, which may be changed in place.
    fn visit(&mut self, site: &AttnSite, qkv: &Qkv, attended: &Attended);

    /// This processor in its recordable form for the call that has begun; `None` if it must be called at each site.
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

/// A processor that launches the same device work at every call, so that a call can be recorded once (a CUDA graph) and
/// replayed for any processor of its kind.
///
/// Its [`visit`](AttnProcessor::visit) must work on the device alone: it may neither synchronize nor copy to the CPU.
pub trait Replayable {
    /// Names the work done at a site. Processors of one name may differ only in the sites that they watch and in the
    /// values of their tensors.
    fn work(&self) -> &'static str;

    /// Its tensors, on the call's device.
    fn tensors(&self) -> GuestTensors;

    /// A processor that does the same work on other tensors of the same shapes.
    fn over(&self, tensors: GuestTensors) -> Box<dyn AttnProcessor>;

    /// Called after a replay: its tensors now hold what visiting these sites would have left.
    fn replayed(&mut self, visited: &[AttnSite]);
}

/// The tensors of an attention processor.
#[derive(Debug, Default)]
pub struct GuestTensors {
    /// Tensors that it reads.
    pub read: Vec<Tensor>,
    /// Read and changed in place.
    pub changed: Vec<Tensor>,
}

/// Several processors in one call, each of which sees its own rows of the batch.
pub struct RowGuests<'a> {
    /// In row order, each with its number of rows.
    pub guests: Vec<(&'a mut dyn AttnProcessor, usize)>,
}

impl AttnProcessor for RowGuests<'_> {
    fn watches(&self, site: &AttnSite) -> bool {
        self.guests.iter().any(|(guest, _)| guest.watches(site))
    }

    fn reads_unrotated(&self, site: &AttnSite) -> bool {
        self.guests.iter().any(|(guest, _)| guest.watches(site) && guest.reads_unrotated(site))
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

/// The processor that watches no site: the plain U-Net.
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
