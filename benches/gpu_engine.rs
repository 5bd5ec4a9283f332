//! Benchmark engine for the whole pipeline on a GPU: runs the cases that `benches/gpu.py` requests, one line of JSON
//! each.
//!
//! Unlike `benches/engine` it runs the pipeline with CUDA graphs, as the service does, and a time is the mean of many
//! calls with one synchronization at the end.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod gpu_checks;
mod guests;

use std::{
    env,
    io::{BufRead, stdin},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use image::RgbImage;
use retouch::{
    attention::{processor::Unwatched, role::Role},
    executor::captured::Captured,
    kernels::gpu::{
        cuda,
        library::{fused, graph::CudaRecorder},
    },
    models::snapshot::Snapshot,
    pipelines::{
        BatchPipeline, NoiseCall,
        conditioning::{Conditioning, LatentSize},
        denoise::{DenoisePlan, StepDone, denoise},
        load,
        rows::RowModel,
    },
    sampling::GuidanceScales,
    schedulers::noise::NoiseTape,
    wire::v1::{self, edit_event::Event, edit_service_client::EditServiceClient, image::Source},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor, no_grad};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use guests::Guest;

#[derive(Deserialize)]
#[serde(tag = "run", rename_all = "snake_case")]
enum Request {
    /// A number of successive U-Net calls for the three rows of one sample, each on the output of the one before.
    Steps { pixels: i64, guest: Guest, count: usize },
    /// The noise for each case of a file, written to another: `latents` and `pictures` (cases, 1, 4, h, w), `prompts`
    /// and `negatives` (cases, 1, T, C), `timesteps` (cases,).
    Noise { input: PathBuf, output: PathBuf },
    /// The denoising loop of a plain edit, without encoding and decoding.
    Edit { pixels: i64, steps: u32 },
    /// The same edit on a server, with previews at each step for a number of watchers.
    Service { url: String, image: PathBuf, steps: u32, watchers: usize },
    /// A number of edits on a server without previews, all at once or one after the other.
    Jobs { url: String, image: PathBuf, steps: u32, jobs: usize, at_once: bool },
    /// Errors of the fused layers relative to fp64.
    FusedLayers,
}

struct Engine {
    pipeline: Box<dyn BatchPipeline>,
    device: Device,
    kind: Kind,
}

impl Engine {
    fn random(&self, shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, self.device)).to_kind(self.kind)
    }

    fn answer(&self, request: &Request) -> Value {
        match request {
            Request::Steps { pixels, guest, count } => {
                let (conditioning, side) = self.conditioning(*pixels);
                let mut latents = self.random(&[1, 4, side, side]).to_kind(Kind::Float);
                let sites = self.pipeline.sites(LatentSize { height: side, width: side });
                let mut guest = guest.processor(&sites, *pixels, self.device);
                self.wait();
                let start = Instant::now();
                for _ in 0..*count {
                    let call = NoiseCall::new(&latents, 500.0, &conditioning, guest);
                    let (prediction, given_back) = self.pipeline.predict_alone(call);
                    (latents, guest) = (prediction.unwrap().text(), given_back);
                }
                self.wait();
                json!({ "seconds": start.elapsed().as_secs_f64() / *count as f64 })
            }
            Request::Noise { input, output } => {
                let tensors = Tensor::read_safetensors(input).unwrap();
                let find = |name: &str| &tensors.iter().find(|(it, _)| it == name).unwrap().1;
                let noise = (0..find("latents").size()[0]).map(|case| {
                    let of = |name| {
                        let tensor = find(name).select(0, case);
                        tensor.to_device(self.device).to_kind(self.kind)
                    };
                    let conditioning =
                        conditioning(&of("prompts"), &of("negatives"), &of("pictures"));
                    let latents = find("latents").select(0, case);
                    let timestep = find("timesteps").double_value(&[case]);
                    let call =
                        NoiseCall::new(&latents, timestep, &conditioning, Box::new(Unwatched));
                    let noise = self.pipeline.predict_alone(call).0.unwrap();
                    Tensor::cat(&Role::TRIPLE.map(|it| noise.of(it).unwrap()), 0)
                });
                let noise: Vec<Tensor> = noise.map(|it| it.to_device(Device::Cpu)).collect();
                let noise = Tensor::stack(&noise, 0).contiguous();
                Tensor::write_safetensors(&[("noise", noise)], output).unwrap();
                json!({})
            }
            Request::Edit { pixels, steps } => json!({ "seconds": self.edit(*pixels, *steps) }),
            Request::Service { url, image, steps, watchers } => {
                let runtime = Runtime::new().unwrap();
                let seconds = runtime.block_on(service(url, image, *steps, *watchers));
                json!({ "seconds": seconds })
            }
            Request::Jobs { url, image, steps, jobs, at_once } => {
                let runtime = Runtime::new().unwrap();
                let seconds = runtime.block_on(edits(url, image, *steps, *jobs, *at_once));
                json!({ "seconds": seconds })
            }
            Request::FusedLayers => {
                json!({ "layers": gpu_checks::fused_layers(self.device) })
            }
        }
    }

    /// Conditioning on a random picture, and the side of its latents.
    fn conditioning(&self, pixels: i64) -> (Conditioning, i64) {
        let side = pixels / i64::from(self.pipeline.geometry().vae_scale_factor);
        let picture = RgbImage::new(pixels as u32, pixels as u32);
        let given = self.pipeline.condition("a red circle", "", &picture, &[Role::Text]).unwrap();
        let picture = self.random(&[1, 4, side, side]);
        (conditioning(given.prompts(), given.prompts(), &picture), side)
    }

    /// Seconds per step.
    fn edit(&self, pixels: i64, steps: u32) -> f64 {
        let (conditioning, side) = self.conditioning(pixels);
        let size = conditioning.latent_size();
        let scheduler = self.pipeline.scheduler(None, steps.try_into().unwrap(), size).unwrap();
        let tape = NoiseTape::draw(1, &[1, 4, side, side], scheduler.as_ref());
        let guidance =
            GuidanceScales { text: 7.5.try_into().unwrap(), image: 1.5.try_into().unwrap() };
        let tape = tape.to_device(self.device);
        let (model, scheduler) = (self.pipeline.as_ref(), scheduler.as_ref());
        let plan = DenoisePlan::whole(model, scheduler, &conditioning, guidance, &tape);
        self.wait();
        let start = Instant::now();
        let mut on_step = |_: &StepDone<'_>, latents| ControlFlow::Continue(latents);
        let _ = denoise(&plan, Box::new(Unwatched), &mut on_step).unwrap();
        self.wait();
        start.elapsed().as_secs_f64() / f64::from(steps)
    }

    fn wait(&self) {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
    }
}

/// All three rows of prompts, (1, T, C) each, and a picture's latents, (1, 4, h, w).
fn conditioning(prompt: &Tensor, negative: &Tensor, picture: &Tensor) -> Conditioning {
    Conditioning::new(
        &Role::TRIPLE,
        LatentSize::of(picture),
        Tensor::cat(&[prompt, negative, negative], 0),
        Tensor::cat(&[picture, picture, &picture.zeros_like()], 0),
    )
}

/// Seconds of a step of an edit at a server, as its first watcher sees them.
async fn service(url: &str, image: &Path, steps: u32, watchers: usize) -> f64 {
    let mut client = client(url).await;
    let asked = edit_of(image, steps, 1, 1);
    let name = client.create_edit_job(asked).await.unwrap().into_inner().name;
    let watching: Vec<_> =
        (0..watchers).map(|_| tokio::spawn(watched(client.clone(), name.clone()))).collect();
    let mut seen = vec![];
    for watcher in watching {
        seen.push(watcher.await.unwrap());
    }
    // The latest event wins, so that some steps may not have been seen.
    let [first, .., last] = seen[0].as_slice() else { panic!("no two steps were seen") };
    (last.0 - first.0).as_secs_f64() / f64::from(last.1 - first.1)
}

/// Seconds per edit, for edits requested at once or one after the other.
async fn edits(url: &str, image: &Path, steps: u32, jobs: usize, at_once: bool) -> f64 {
    let client = client(url).await;
    let edit = |seed: usize| {
        let (mut client, asked) = (client.clone(), edit_of(image, steps, seed as u64, 0));
        tokio::spawn(async move {
            let name = client.create_edit_job(asked).await.unwrap().into_inner().name;
            watched(client, name).await;
        })
    };
    let start = Instant::now();
    if at_once {
        let running: Vec<_> = (0..jobs).map(edit).collect();
        for job in running {
            job.await.unwrap();
        }
    } else {
        for job in 0..jobs {
            edit(job).await.unwrap();
        }
    }
    start.elapsed().as_secs_f64() / jobs as f64
}

async fn client(url: &str) -> EditServiceClient<Channel> {
    let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
    EditServiceClient::new(channel)
}

/// A plain edit with a preview every so many steps, or none if 0.
fn edit_of(image: &Path, steps: u32, seed: u64, preview_every: u32) -> v1::CreateEditJobRequest {
    let picture = std::fs::read(image).unwrap();
    let events = v1::EventOptions { preview_every: Some(preview_every), ..Default::default() };
    let spec = v1::EditSpec {
        image: Some(v1::Image { source: Some(Source::Data(picture.into())) }),
        instruction: "make it snow".to_owned(),
        method: v1::Method::InstructPix2pix.into(),
        seed: Some(seed),
        steps: Some(steps),
        events: Some(events),
        ..Default::default()
    };
    v1::CreateEditJobRequest { spec: Some(spec), ..Default::default() }
}

/// Watches a job to its end; returns when each step was seen.
async fn watched(mut client: EditServiceClient<Channel>, name: String) -> Vec<(Instant, u32)> {
    let request = v1::WatchEditJobRequest { name, ..Default::default() };
    let mut events = client.watch_edit_job(request).await.unwrap().into_inner();
    let (mut seen, mut edited, mut last) = (vec![], false, None);
    while let Some(event) = events.message().await.unwrap() {
        match event.event {
            Some(Event::Step(it)) => seen.push((Instant::now(), it.step)),
            Some(Event::Result(_)) => edited = true,
            other => last = other,
        }
    }
    assert!(edited, "a job ended without a picture: {last:?}");
    seen
}

/// Loads libtorch's CUDA library, from `LIBTORCH` if set.
fn open_cuda() {
    let libtorch = env::var_os("LIBTORCH").map(|it| Path::new(&it).join("lib"));
    cuda::open_cuda(&libtorch.into_iter().collect::<Vec<_>>()).unwrap();
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let Ok([model, device, dtype, levers]) = <[String; 4]>::try_from(arguments) else {
        eprintln!(
            "usage: gpu_engine MODEL cpu|cuda fp32|fp16 [recorded],[fused],[searched], then requests on stdin"
        );
        std::process::exit(2);
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let kind = if dtype == "fp16" { Kind::Half } else { Kind::Float };
    let on_gpu = device == "cuda";
    let device = if on_gpu { Device::Cuda(0) } else { Device::Cpu };
    let lever = |name: &str| on_gpu && levers.split(',').any(|it| it == name);
    let exe = env::current_exe().unwrap();
    let beside = [exe.parent().unwrap().to_owned()];
    let mut start = Instant::now();
    let mut phases = Map::new();
    let mut done = |phase: &str| {
        phases.insert(phase.to_owned(), json!((start.elapsed().as_secs_f64() * 1e2).round() / 1e2));
        start = Instant::now();
    };
    if on_gpu {
        open_cuda();
    }
    done("open CUDA");
    drop(Tensor::zeros([1], (Kind::Float, device)));
    done("open the device");
    if lever("fused") {
        fused::open(0, &beside).unwrap();
    }
    done("compile fused layers");
    // cuDNN times its ways to convolve at each size that is new, instead of guessing.
    tch::Cuda::cudnn_set_benchmark(lever("searched"));
    let snapshot = Snapshot::open(Path::new(&model)).unwrap();
    let model: Box<dyn RowModel> = load::load(&snapshot, kind, device).unwrap();
    done("networks");
    let pipeline: Box<dyn BatchPipeline> = if lever("recorded") {
        let recorder = CudaRecorder::open(0, &beside).unwrap();
        Box::new(Captured::new(model, Box::new(recorder)))
    } else {
        model
    };
    let engine = Engine { pipeline, device, kind };
    done("recorder");
    println!("{}", Value::from(phases));
    for line in stdin().lock().lines() {
        let request = serde_json::from_str(&line.unwrap()).unwrap();
        println!("{}", no_grad(|| engine.answer(&request)));
    }
}
