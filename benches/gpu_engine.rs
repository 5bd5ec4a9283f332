//! The whole pipeline on a device, to be timed: runs what `benches/gpu.py` asks for, a line of JSON each.
//!
//! Differs from `benches/engine`: it is a pipeline with its recordings, as the service has one, and a time is that of many calls
//! after which the device is waited for once.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod guests;

use std::{
    env,
    io::{BufRead, stdin},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use retouch::{
    attn_processor::Unwatched,
    kernels::{cuda, cuda_graph::CudaRecorder},
    models::snapshot::Snapshot,
    pipelines::{
        BatchPipeline, Conditioning, EditPipeline, LatentSize, NoiseCall,
        captured::CapturedCalls,
        denoise::{DenoisePlan, StepDone, denoise},
        instruct_pix2pix::InstructPix2PixPipeline,
        load,
    },
    sampling::GuidanceScales,
    schedulers::noise::NoiseTape,
    wire::v1::{self, edit_event::Event, edit_service_client::EditServiceClient, image::Source},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};
use tokio::runtime::Runtime;
use tonic::transport::Endpoint;

use guests::Guest;

#[derive(Deserialize)]
#[serde(tag = "run", rename_all = "snake_case")]
enum Request {
    /// So many U-Net calls for the three rows of one sample, each of which takes what the one before gave.
    Steps { pixels: i64, guest: Guest, count: usize },
    /// The noise of the cases of a file, one after the other, written to another: `latents` and `pictures` (cases, 1, 4, h, w),
    /// `prompts` and `negatives` (cases, 1, T, C), `timesteps` (cases,).
    Noise { input: PathBuf, output: PathBuf },
    /// A plain edit's loop, without a picture before or after it.
    Edit { pixels: i64, steps: u32 },
    /// The same edit at a server, with previews at each step for so many watchers.
    Service { url: String, image: PathBuf, steps: u32, watchers: usize },
}

struct Engine {
    pipeline: InstructPix2PixPipeline,
}

impl Engine {
    fn random(&self, shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, self.pipeline.device)).to_kind(self.pipeline.kind)
    }

    fn answer(&self, request: &Request) -> Value {
        match request {
            Request::Steps { pixels, guest, count } => {
                let (conditioning, side) = self.conditioning(*pixels);
                let mut latents = self.random(&[1, 4, side, side]).to_kind(Kind::Float);
                let sites = self.pipeline.sites(LatentSize { height: side, width: side });
                let mut guest = guest.processor(&sites, *pixels, self.pipeline.device);
                self.wait();
                let start = Instant::now();
                for _ in 0..*count {
                    let call = NoiseCall::new(&latents, 500.0, &conditioning, guest);
                    let (prediction, given_back) = self.pipeline.predict_alone(call);
                    (latents, guest) = (prediction.unwrap().text, given_back);
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
                        tensor.to_device(self.pipeline.device).to_kind(self.pipeline.kind)
                    };
                    let conditioning =
                        Conditioning::new(&of("prompts"), &of("negatives"), &of("pictures"));
                    let latents = find("latents").select(0, case);
                    let timestep = find("timesteps").double_value(&[case]);
                    let call =
                        NoiseCall::new(&latents, timestep, &conditioning, Box::new(Unwatched));
                    let noise = self.pipeline.predict_alone(call).0.unwrap();
                    Tensor::cat(&[noise.text, noise.image.unwrap(), noise.uncond.unwrap()], 0)
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
        }
    }

    /// Of a random picture, and the side of its latents.
    fn conditioning(&self, pixels: i64) -> (Conditioning, i64) {
        let side = pixels / i64::from(self.pipeline.geometry().vae_scale_factor);
        let prompt = self.pipeline.encode_prompt(&self.pipeline.tokenize("a red circle").unwrap());
        let picture = self.random(&[1, 4, side, side]);
        (Conditioning::new(&prompt, &prompt, &picture), side)
    }

    /// Seconds of a step.
    fn edit(&self, pixels: i64, steps: u32) -> f64 {
        let (conditioning, side) = self.conditioning(pixels);
        let scheduler = self.pipeline.scheduler(None, steps.try_into().unwrap()).unwrap();
        let tape = NoiseTape::draw(1, &[1, 4, side, side], scheduler.as_ref());
        let guidance =
            GuidanceScales { text: 7.5.try_into().unwrap(), image: 1.5.try_into().unwrap() };
        let tape = tape.to_device(self.pipeline.device);
        let plan = DenoisePlan::whole(scheduler.as_ref(), &conditioning, guidance, &tape);
        self.wait();
        let start = Instant::now();
        let mut on_step = |_: &StepDone<'_>, latents| ControlFlow::Continue(latents);
        let _ = denoise(&self.pipeline, &plan, Box::new(Unwatched), &mut on_step).unwrap();
        self.wait();
        start.elapsed().as_secs_f64() / f64::from(steps)
    }

    fn wait(&self) {
        if let Device::Cuda(index) = self.pipeline.device {
            tch::Cuda::synchronize(index as i64);
        }
    }
}

/// Seconds of a step of an edit at a server, as its first watcher sees them.
async fn service(url: &str, image: &Path, steps: u32, watchers: usize) -> f64 {
    let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
    let mut client = EditServiceClient::new(channel);
    let picture = std::fs::read(image).unwrap();
    let spec = v1::EditSpec {
        image: Some(v1::Image { source: Some(Source::Data(picture.into())) }),
        instruction: "make it snow".to_owned(),
        method: v1::Method::InstructPix2pix.into(),
        seed: Some(1),
        steps: Some(steps),
        ..Default::default()
    };
    let asked = v1::CreateEditJobRequest { spec: Some(spec), ..Default::default() };
    let name = client.create_edit_job(asked).await.unwrap().into_inner().name;
    let watch = || {
        let (mut client, name) = (client.clone(), name.clone());
        tokio::spawn(async move {
            let request = v1::WatchEditJobRequest { name, ..Default::default() };
            let mut events = client.watch_edit_job(request).await.unwrap().into_inner();
            let mut seen = vec![];
            while let Some(event) = events.message().await.unwrap() {
                if let Some(Event::Step(it)) = event.event {
                    seen.push((Instant::now(), it.step));
                }
            }
            seen
        })
    };
    let watching: Vec<_> = (0..watchers).map(|_| watch()).collect();
    let mut seen = vec![];
    for watcher in watching {
        seen.push(watcher.await.unwrap());
    }
    // The latest event wins, so that some steps may not have been seen.
    let [first, .., last] = seen[0].as_slice() else { panic!("no two steps were seen") };
    (last.0 - first.0).as_secs_f64() / f64::from(last.1 - first.1)
}

/// Opens libtorch's CUDA half, which `LIBTORCH` may name, and the recorder beside this binary.
fn recorder() -> CudaRecorder {
    let libtorch = env::var_os("LIBTORCH").map(|it| Path::new(&it).join("lib"));
    cuda::open_cuda(&libtorch.into_iter().collect::<Vec<_>>()).unwrap();
    let exe = env::current_exe().unwrap();
    CudaRecorder::open(0, &[exe.parent().unwrap().to_owned()]).unwrap()
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let Ok([model, device, dtype, calls]) = <[String; 4]>::try_from(arguments) else {
        eprintln!(
            "usage: gpu_engine MODEL cpu|cuda fp32|fp16 launched|recorded, then requests on stdin"
        );
        std::process::exit(2);
    };
    let kind = if dtype == "fp16" { Kind::Half } else { Kind::Float };
    let recorder = (device == "cuda").then(recorder);
    let device = if device == "cuda" { Device::Cuda(0) } else { Device::Cpu };
    let start = Instant::now();
    let snapshot = Snapshot::open(Path::new(&model)).unwrap();
    let mut pipeline = load::load(&snapshot, kind, device).unwrap();
    if calls == "recorded" {
        pipeline.captured = recorder.map(|it| CapturedCalls::new(Box::new(it)));
    }
    let engine = Engine { pipeline };
    println!("{}", json!({ "load": start.elapsed().as_secs_f64() }));
    for line in stdin().lock().lines() {
        let request = serde_json::from_str(&line.unwrap()).unwrap();
        println!("{}", no_grad(|| engine.answer(&request)));
    }
}
