//! The systems that IAM-Edit is compared with, one file each.

pub mod instruct_pix2pix;
