//! Localized, instruction-based image editing: IAM-Edit, in two passes over InstructPix2Pix.
//!
//! # Layout, from the ground up
//! A *room* is a top-level module; it may import only rooms below it (`tests/architecture.rs` holds the table).
//!
//! | room | what it is |
//! |---|---|
//! | [`attn_processor`] | what U-Net and method both say: sites, branches, Q, K, V, the hook |
//! | [`sampling`] | the knobs of a denoising run, validated; no tensors |
//! | [`cluster`] | seeded k-means++ over rows |
//! | [`picture`] | image files in and out: limits, orientation, profiles, sizes, metadata |
//! | [`drawing`] | pictures for people: cluster maps, heat maps, overlays, contact sheets |
//! | [`kernels`] | what reaches into libtorch itself; the only room with `unsafe` |
//! | [`models`] | the networks, under diffusers' names, and their weights |
//! | [`schedulers`] | the samplers, pure step functions |
//! | [`pipelines`] | a loaded model behind one trait, and the denoising loop |
//! | [`metrics`] | what is measured: pictures and masks in, figures out |
//! | [`editing`] | the methods: what the paper says |
//! | [`evaluation`] | a data set times methods: scores, tables, a report |
//! | [`wire`] | the gRPC schema |
//! | [`cli`] | the command line, which joins all of it |

pub mod attn_processor;
pub mod cli;
pub mod cluster;
pub mod drawing;
pub mod editing;
pub mod evaluation;
pub mod kernels;
pub mod metrics;
pub mod models;
pub mod picture;
pub mod pipelines;
pub mod sampling;
pub mod schedulers;
pub mod wire;
