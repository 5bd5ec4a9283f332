//! Benchmark engine of this crate: loads a model, then runs the cases that `benches/compare.py` requests, one line of
//! JSON each.
//!
//! Engines of other libraries, with the same protocol, are in `benches/peers.py`. An answer has seconds, and the
//! numeric outputs where they are to be compared.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../guests/mod.rs"]
mod guests;
mod peak;

use std::{
    env, fs,
    io::{BufRead, stdin},
    path::{Path, PathBuf},
    time::Instant,
};

use retouch::{
    attention::{
        processor::{AttnProcessor, Unwatched},
        role::Role,
    },
    kernels::cpu::flash_attention,
    models::{
        snapshot::{Snapshot, part::Part},
        stable_diffusion::{
            autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
            unet_2d_condition::UNet2DConditionModel,
            unet_2d_condition_config::UNet2DConditionConfig,
        },
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

use guests::Guest;

#[derive(Deserialize)]
#[serde(tag = "run", rename_all = "snake_case")]
enum Request {
    /// One U-Net call on three rows.
    Step { pixels: i64, guest: Guest },
    /// Runs the U-Net on the tensors `sample`, `timesteps` and `prompts` of a file, and writes its output to another.
    Forward { input: PathBuf, output: PathBuf },
    /// VAE encoding.
    Encode { pixels: i64 },
    /// VAE decoding.
    Decode { pixels: i64 },
    /// One attention layer with three rows and eight heads, by libtorch's kernel and, if the CPU supports it, by this
    /// crate's.
    Attention { queries: i64, keys: i64, dim: i64 },
    /// Peak multiply-add throughput.
    Peak,
}

struct Engine {
    unet: UNet2DConditionModel,
    vae: AutoencoderKl,
    kind: Kind,
}

impl Engine {
    fn load(model: &Path, kind: Kind) -> Self {
        let snapshot = Snapshot::open(model).unwrap();
        let config =
            UNet2DConditionConfig::from_json(&snapshot.config("unet").to_string()).unwrap();
        let weights = snapshot.weights(Part::UNet).unwrap();
        let unet = UNet2DConditionModel::new(&weights.root(kind, Device::Cpu), &config);
        weights.finish().unwrap();
        let config = AutoencoderKlConfig::from_json(&snapshot.config("vae").to_string()).unwrap();
        let weights = snapshot.weights(Part::Vae).unwrap();
        let vae = AutoencoderKl::new(&weights.root(kind, Device::Cpu), &config);
        weights.finish().unwrap();
        Self { unet, vae, kind }
    }

    fn random(&self, shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(self.kind)
    }

    fn answer(&self, request: &Request) -> Value {
        match request {
            Request::Step { pixels, guest } => {
                let side = pixels / 8;
                let config = self.unet.config();
                let sample = self.random(&[3, config.in_channels, side, side]);
                let prompts = self.random(&[3, 77, config.cross_attention_dim]);
                let mut guest = guest.processor(&self.unet.sites(side, side), *pixels, Device::Cpu);
                let seconds = timed(|| self.forward(&sample, 500.0, &prompts, guest.as_mut()));
                json!({ "seconds": seconds })
            }
            Request::Forward { input, output } => {
                let tensors = Tensor::read_safetensors(input).unwrap();
                let find = |name: &str| &tensors.iter().find(|(it, _)| it == name).unwrap().1;
                let [samples, prompts] =
                    ["sample", "prompts"].map(|name| find(name).to_kind(self.kind)); // (cases, 3, 8, h, w)
                // bf16 would round 981 to 980.
                let timesteps = find("timesteps");
                let noise: Vec<Tensor> = (0..samples.size()[0])
                    .map(|case| {
                        let timestep = timesteps.double_value(&[case]);
                        let prompts = prompts.select(0, case);
                        self.forward(&samples.select(0, case), timestep, &prompts, &mut Unwatched)
                    })
                    .collect();
                let noise = Tensor::stack(&noise, 0).to_kind(Kind::Float).contiguous();
                Tensor::write_safetensors(&[("noise", noise)], output).unwrap();
                json!({})
            }
            Request::Encode { pixels } => {
                let image = self.random(&[1, 3, *pixels, *pixels]);
                json!({ "seconds": timed(|| no_grad(|| self.vae.encode(&image))) })
            }
            Request::Decode { pixels } => {
                let channels = self.vae.config().latent_channels;
                let latents = self.random(&[1, channels, pixels / 8, pixels / 8]);
                json!({ "seconds": timed(|| no_grad(|| self.vae.decode(&latents))) })
            }
            Request::Attention { queries, keys, dim } => {
                let [query, key, value] =
                    [queries, keys, keys].map(|length| self.random(&[3, 8, *length, *dim]));
                let scale = (*dim as f64).powf(-0.5);
                let none = None::<Tensor>;
                let mut attended = None;
                let seconds =
                    timed(|| attended = flash_attention::attend(&query, &key, &value, scale));
                let own = attended.map(|_| seconds);
                let libtorch = timed(|| {
                    Tensor::scaled_dot_product_attention(
                        &query, &key, &value, none, 0.0, false, scale, false,
                    )
                });
                let operations = 4 * 3 * 8 * queries * keys * dim;
                json!({ "own": own, "libtorch": libtorch, "operations": operations })
            }
            Request::Peak => json!({ "gflops": peak::products(self.kind) }),
        }
    }

    fn forward(
        &self,
        sample: &Tensor,
        timestep: f64,
        prompts: &Tensor,
        guest: &mut dyn AttnProcessor,
    ) -> Tensor {
        let timesteps = Tensor::full([3], timestep, (Kind::Float, Device::Cpu));
        self.unet.forward(sample, &timesteps, prompts, &Role::TRIPLE, guest)
    }
}

fn timed<T>(run: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let made = run();
    let seconds = start.elapsed().as_secs_f64();
    drop(made);
    seconds
}

/// Resident memory now and at its highest, in MiB.
fn memory() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mib = |key: &str| {
        let line = status.lines().find(|it| it.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    json!({ "now": mib("VmRSS:"), "highest": mib("VmHWM:") })
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let [model, dtype] = <[String; 2]>::try_from(arguments).unwrap_or_else(|_| {
        eprintln!("usage: engine MODEL fp32|bf16, then requests on stdin; see benches/compare.py");
        std::process::exit(2);
    });
    let kind = if dtype == "bf16" { Kind::BFloat16 } else { Kind::Float };
    let start = Instant::now();
    let engine = Engine::load(Path::new(&model), kind);
    println!("{}", json!({ "load": start.elapsed().as_secs_f64(), "memory": memory() }));
    for line in stdin().lock().lines() {
        let request = serde_json::from_str(&line.unwrap()).unwrap();
        let mut answer = engine.answer(&request);
        answer["memory"] = memory();
        println!("{answer}");
    }
}
