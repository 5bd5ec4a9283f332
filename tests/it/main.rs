//! All integration tests except `tests/architecture.rs`, in one binary, so that libtorch is linked once.
#![allow(missing_docs, clippy::unwrap_used)]

// How the build comes by libtorch, and how binaries find it.
mod libtorch;
// The command line, as a person types it.
mod cli;
// The same against a server, and jobs and batches there.
mod client;
// Every setting under each of its names.
mod knobs;
// The parser of instructions against a table of phrasings.
mod instruction;
mod phrasings;
mod steps;
// Image files in and out.
mod picture;
// Samplers against recorded diffusers trajectories.
mod schedulers;
// U-Net and VAE against recorded diffusers tensors.
mod models;
// LoRAs against what diffusers merges.
mod loras;
// Tiny autoencoders against theirs.
mod tiny;
// Weights in every layout that users have, and in broken ones.
mod weights;
mod wording;
// What loading costs.
mod loading_memory;
// Model folders and single files, and what is wrong with them.
mod flux2_files;
mod snapshot;
// Folders that Python saved, or that were put together from several models.
mod folders;
// Tokenizer and text encoder against transformers.
mod clip;
mod contact_sheet;
mod qwen3;
// Drawn pictures.
mod drawing;
// The colors they are drawn in.
mod palette;
// The pipeline and IAM-Edit against what diffusers gave.
mod method;
// What is not computed, because nothing would come of it or it was computed before.
mod savings;
// Data sets, figures, reports.
mod evaluation;
// The edit that they are about.
mod evaluated_edit;
mod flash_attention;
// The CPU's own group norm, and sums that products take in before they round.
mod fused_layers;
// Averaged attention: pictures of any proportions, visits that fail.
mod attn_store;
// Where an edit is: localizers, scores of clusters, masks at the picture's edges.
mod localizers;
// What a model is told of an instruction.
mod told;
// Edits that did nothing.
mod no_change;
// Several edits in one instruction.
mod parts;
// Scenes that came out wrong once.
mod scenes;
// Other programs on the same cores.
mod neighbours;
// Jobs that share a model.
mod batcher;
// Calls that are recorded once and played again.
mod captured;
// A model of another kind than InstructPix2Pix, from end to end.
mod joint;
// FLUX.2-klein, from its networks to whole edits.
mod klein;
// Localizations that are kept for the next edit.
mod localization_cache;
// What an earlier version left.
mod earlier;
// What keeps jobs, on a disk and elsewhere.
mod ledger;
// The same on NATS, for several processes.
mod cluster;
// The gRPC service: jobs, streams, masks, restarts.
mod service;
// The images API over HTTP.
mod http_api;
// What is around the service: configuration, keys, the gate, TLS, the ops port, traces.
mod server_edges;
mod studio;
// What is missing to build.
mod needs;
// Which of these run quickly.
mod quick;
// Fixtures and measures that several of these share.
mod support;
