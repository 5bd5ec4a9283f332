//! Baselines that IAM-Edit is compared with, one file each.

pub mod attention_threshold;
pub mod diffedit;
pub mod instruct_pix2pix;
pub mod watch_your_steps;
