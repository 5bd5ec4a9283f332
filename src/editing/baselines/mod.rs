//! Baselines that IAM-Edit is compared with, and other sources of masks, one file each.

pub mod attention_threshold;
pub mod copying;
pub mod diffedit;
pub mod instruct_pix2pix;
pub mod predicted_change;
pub mod watch_your_steps;
