//! Localized, instruction-based image editing: IAM-Edit, in two passes over InstructPix2Pix.
//!
//! # Use
//! An [`Editor`](editing::editor::Editor) over a loaded model takes a [request](editing::request::EditRequest), emits
//! events while it runs, and returns the edited picture:
//!
//! ```
//! use std::{ops::ControlFlow, path::Path, sync::Arc};
//!
//! use retouch::{
//!     editing::{
//!         edit_mask::MaskChoice,
//!         editor::Editor,
//!         event::EditEvent,
//!         request::{EditRequest, MethodKind, PreviewDecode, Unparsed},
//!         settings::EditSettings,
//!     },
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
//! let editor = Editor::new(Box::new(load::load(&snapshot, Kind::Float, Device::Cpu)?), None);
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
//! | [`wire`] | the gRPC schema, its values beside the core's |
//! | [`journal`] | jobs on disk |
//! | [`jobs`] | jobs that wait, run, are decided on and followed |
//! | [`cli`] | the command line, which joins all of it |
//!
//! Good starting points: [`editing::iam_edit`] beside the paper's figure, [`pipelines::denoise`] for the loop that both
//! passes run, [`models::unet_2d_condition`] beside diffusers' file of the same name, [`attn_processor`] for the hook
//! through which a method reads and changes attention.
//!
//! # Invariants
//! - One denoising loop for all methods: they control it by an [`attn_processor::AttnProcessor`] and a callback per
//!   step.
//! - Methods see a model through [`pipelines::EditPipeline`] alone; they run on a scripted one in tests.
//! - Nothing is kept per step or per layer: attention maps are running sums, so memory does not grow with steps.
//! - Noise is drawn on the CPU beforehand, in diffusers' order: one seed, one picture, whatever the dtype or device.
//! - Latents, guidance and the samplers' arithmetic stay in fp32; the networks alone run in the chosen dtype.
//! - Pixels outside the mask are copied from the input, never recomputed, where they are to be preserved.
//! - Bad input ends in a typed error that names the thing and the remedy; nothing is written before everything is done.

pub mod attn_processor;
pub mod cli;
pub mod cluster;
pub mod drawing;
pub mod editing;
pub mod evaluation;
pub mod jobs;
pub mod journal;
pub mod kernels;
pub mod metrics;
pub mod models;
pub mod picture;
pub mod pipelines;
pub mod sampling;
pub mod schedulers;
pub mod server;
pub mod wire;
