//! Localized, instruction-based image editing: IAM-Edit, in two passes over InstructPix2Pix.
//!
//! # Use
//! An [`Editor`](editing::editor::Editor) over a loaded model takes a [request](edit::request::EditRequest), emits
//! events while it runs, and returns the edited picture:
//!
//! ```
//! use std::{ops::ControlFlow, path::Path, sync::Arc};
//!
//! use retouch::{
//!     edit::{
//!         choices::{MethodKind, PreviewDecode, Unparsed},
//!         edit_mask::MaskChoice,
//!         event::EditEvent,
//!         request::EditRequest,
//!         settings::EditSettings,
//!     },
//!     editing::editor::Editor,
//!     models::snapshot::Snapshot,
//!     picture::decode::{self, InputLimits},
//!     pipelines::load,
//! };
//! use tch::{Device, Kind};
//!
//! # let root = Path::new(env!("CARGO_MANIFEST_DIR"));
//! # std::env::set_current_dir(root)?;
//! // 1. A model, and the settings that it recommends.
//! let snapshot = Snapshot::open(Path::new("assets/demo-model"))?;
//! let mut settings = EditSettings::recommended(snapshot.retouch_json().unwrap_or("{}"))?;
//! settings.localize_steps = 8.try_into()?;
//! settings.steps = 8.try_into()?;
//! let editor = Editor::new(load::load(&snapshot, Kind::Float, Device::Cpu)?, None);
//!
//! // 2. A picture and an instruction.
//! let input = decode::read(Path::new("assets/example.png"), InputLimits::default())?;
//! let request = EditRequest {
//!     image: Arc::clone(&input.picture.rgb),
//!     instruction: "change the black tree to blue".to_owned(),
//!     negative_prompt: String::new(),
//!     method: MethodKind::IamEdit,
//!     object: None,
//!     action: None,
//!     verbatim: false,
//!     unparsed: Unparsed::PlainEdit,
//!     seed: 7,
//!     settings,
//!     mask: MaskChoice::default(),
//!     preview_every: 0,
//!     preview_decode: PreviewDecode::Linear,
//! };
//!
//! // 3. The edit. What pass 1 learned is typed data: clusters, scores, a map for each word.
//! let edited = editor.edit(&request, &mut |event| {
//!     if let EditEvent::Localized(localization, _) = event {
//!         println!("clusters {:?} are edited", localization.selected());
//!     }
//!     ControlFlow::Continue(())
//! })?;
//!
//! // Outside the mask, every pixel is the input's.
//! let mask = edited.mask.expect("an object was named").full().as_image().clone();
//! for (x, y, pixel) in edited.image.enumerate_pixels() {
//!     assert!(mask.get_pixel(x, y)[0] > 0 || pixel == input.picture.rgb.get_pixel(x, y));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout, lowest layer first
//! A top-level module (*room*) may import only certain lower ones; `tests/architecture.rs` lists and checks them.
//!
//! | room | what it is |
//! |---|---|
//! | [`address`] | addresses as people write them: where to listen, whom to call; secrets masked |
//! | [`config_json`] | a model's JSON configurations, read key by key |
//! | [`panics`] | classification of panics, which libtorch reports its errors through |
//! | [`kernels`] | CPU and GPU kernels, and what reaches into libtorch itself; the only room with `unsafe` |
//! | [`attention`] | attention layers: sites, roles of rows in guidance, Q, K, V, and the hook that sees and changes them |
//! | [`choice`] | enums whose values have names on the command line and in files |
//! | [`sampling`] | parameters of a denoising run, validated: steps, guidance scales, sampler, sizes; no tensors |
//! | [`cluster`] | k-means++ over rows of a tensor, seeded |
//! | [`picture`] | image files in and out: limits, orientation, profiles, sizes, masks, metadata |
//! | [`drawing`] | pictures for people: cluster maps, heat maps, overlays, contact sheets |
//! | [`measures`] | metrics of an edit: pictures and masks in, figures out |
//! | [`instruction`] | the parser of English edit instructions; no model |
//! | [`edit`] | what an edit *is*, as data without tensors: request, settings, events, mask, localization |
//! | [`models`] | the networks under diffusers' names, a folder per family, and their weights |
//! | [`schedulers`] | samplers, as pure step functions |
//! | [`pipelines`] | a loaded model behind one trait, guidance, and the denoising loop |
//! | [`executor`] | how calls of a model run: several jobs' calls as one batch, or replayed from recordings |
//! | [`editing`] | the editing methods over a model: IAM-Edit and those that it is compared with |
//! | [`evaluation`] | a data set times methods: scores, tables, a report |
//! | [`wire`] | the gRPC schema, and conversions between its messages and `edit` |
//! | [`client`] | the client library of the service: connect, call, retry, follow; without libtorch |
//! | [`journal`] | jobs and files on disk, durable |
//! | [`nats`] | the same on NATS JetStream, for several processes |
//! | [`jobs`] | jobs that wait, run, are decided on and followed |
//! | [`server`] | the gRPC server around the jobs, and what every door has: limits, keys, TLS, telemetry |
//! | [`studio`] | the page that the server gives to browsers |
//! | [`http_api`] | OpenAI's images API over HTTP, on the same jobs and port |
//! | [`serving`] | composition of the running server: model, jobs, ports |
//! | [`cli`] | the command line, which joins all of it |
//!
//! Good starting points: [`editing::iam_edit`] beside the paper's figure, [`pipelines::denoise`] for the loop that both
//! passes run, [`models::stable_diffusion::unet_2d_condition`] beside diffusers' file of the same name, [`attention`]
//! for the hook through which a method reads and changes attention.
//!
//! # Sources
//! - The method: S. Mao, H. Cheng, Z. Qian, Y. Ding, S. Luo and Y. Fang, "IAM-Edit: Localized Image Editing via Instruction
//!   Attention Maps", The European Journal on Artificial Intelligence ([`editing::iam_edit`]).
//! - The model and its guidance with two scales: InstructPix2Pix, [arXiv 2211.09800](https://arxiv.org/abs/2211.09800)
//!   ([`pipelines::guidance`], [`editing::baselines::instruct_pix2pix`]); its networks and samplers follow diffusers.
//! - Clusters of self-attention, scored by cross-attention: Local Prompt Mixing,
//!   [arXiv 2303.11306](https://arxiv.org/abs/2303.11306) ([`editing::iam_edit::segmentation`], [`edit::selection`]).
//! - Masks from what the instruction changes in the predicted noise: Watch Your Steps,
//!   [arXiv 2308.08947](https://arxiv.org/abs/2308.08947) ([`editing::baselines::watch_your_steps`]), and `DiffEdit`,
//!   [arXiv 2210.11427](https://arxiv.org/abs/2210.11427) ([`editing::baselines::diffedit`]); and from where the predicted
//!   picture leaves the source: `RegionE`, [arXiv 2510.25590](https://arxiv.org/abs/2510.25590)
//!   ([`editing::baselines::predicted_change`]).
//!
//! Where the code departs from its source, its documentation says so after the word "Differs:".
//!
//! # Invariants
//! - One denoising loop for all methods: they control it by an [`attention::processor::AttnProcessor`] and a callback per
//!   step.
//! - Methods see a model through [`pipelines::EditPipeline`] alone; they run on a scripted one in tests.
//! - Nothing is kept per step or per layer: attention maps are running sums, so memory does not grow with steps.
//! - Noise is drawn on the CPU beforehand, in diffusers' order: one seed, one picture, whatever the dtype or device.
//! - Latents, guidance and the samplers' arithmetic stay in fp32; the networks alone run in the chosen dtype.
//! - Pixels outside the mask are copied from the input, never recomputed, where they are to be preserved.
//! - Bad input ends in a typed error that names the thing and the remedy; nothing is written before everything is done.

#![cfg_attr(
    not(feature = "engine"),
    allow(
        dead_code,
        reason = "a client has no use for some of what a command shares with local edits"
    )
)]

pub mod address;
#[cfg(feature = "engine")]
pub mod attention;
pub mod choice;
pub mod cli;
pub mod client;
#[cfg(feature = "engine")]
pub mod cluster;
#[cfg(feature = "engine")]
pub mod config_json;
pub mod drawing;
pub mod edit;
#[cfg(feature = "engine")]
pub mod editing;
#[cfg(feature = "engine")]
pub mod evaluation;
#[cfg(feature = "engine")]
pub mod executor;
#[cfg(feature = "engine")]
pub mod http_api;
pub mod instruction;
#[cfg(feature = "engine")]
pub mod jobs;
#[cfg(feature = "engine")]
pub mod journal;
pub mod kernels;
#[cfg(feature = "engine")]
pub mod measures;
#[cfg(feature = "engine")]
pub mod models;
#[cfg(feature = "engine")]
pub mod nats;
pub mod panics;
pub mod picture;
#[cfg(feature = "engine")]
pub mod pipelines;
pub mod sampling;
#[cfg(feature = "engine")]
pub mod schedulers;
#[cfg(feature = "engine")]
pub mod server;
#[cfg(feature = "engine")]
pub mod serving;
#[cfg(feature = "engine")]
pub mod studio;
pub mod wire;
