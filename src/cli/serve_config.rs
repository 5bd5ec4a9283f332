//! Configuration of `retouch serve`, in increasing precedence: defaults, file, environment variables, flags.

use std::path::PathBuf;

use clap::Args;
use directories::ProjectDirs;
use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Env, Format, Serialized, Toml},
    util,
    value::{Dict, Map, Value},
};

use crate::address::masked;
use crate::cli::{engine_args::EngineArgs, error::CliError};
use crate::sampling::lora::LoraChoice;
use crate::server::config::Config;

/// Prefix of environment variables, as in `RETOUCH__SERVER__LISTEN`.
const PREFIX: &str = "RETOUCH__";
/// Keys whose values are strings even if they look like numbers.
const TEXTS: [&str; 19] = [
    "server.listen",
    "server.ops_listen",
    "tls.cert",
    "tls.key",
    "tls.client_ca",
    "auth.keys_file",
    "model.path",
    "model.preview_decoder",
    "model.devices",
    "jobs.data_dir",
    "engine.nats_url",
    "engine.nats_prefix",
    "engine.nats_credentials",
    "engine.nats_nkey",
    "engine.nats_tls_ca",
    "engine.nats_tls_cert",
    "engine.nats_tls_key",
    "log.level",
    "otlp.endpoint",
];

#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct ServeArgs {
    /// A TOML file with any of the configuration's keys (docs/operations.md).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where gRPC is served, HOST:PORT, such as localhost:50051, [::]:50051 or :50051 [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where probes, metrics and the log level are served [default: 127.0.0.1:9090].
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<String>,
    /// Where jobs and artifacts are kept [default: the user's data folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A diffusers folder of InstructPix2Pix or FLUX.2-klein, or a single .safetensors checkpoint [default: the demo
    /// model].
    #[arg(long, value_name = "PATH", env = "RETOUCH_MODEL")]
    model: Option<PathBuf>,
    /// A LoRA to merge into the model, and how strongly [default: 1]; repeatable.
    #[arg(long = "lora", value_name = "FILE[:WEIGHT]")]
    loras: Vec<LoraChoice>,
    /// A tiny decoder (TAESD), a folder or file, for previews [default: the model's own, if it has one].
    #[arg(long, value_name = "PATH")]
    preview_decoder: Option<PathBuf>,
    /// Where to compute: cpu, cuda for every GPU, or a list such as cuda:0,cuda:1; each holds the model [default: cpu].
    #[arg(long, visible_alias = "device", value_name = "DEVICES")]
    devices: Option<String>,
    /// Precision of the networks: auto, fp32, bf16 or fp16 [default: auto].
    #[arg(long, value_name = "DTYPE")]
    dtype: Option<String>,
    /// Threads of the networks [default: one per core, within the container's CPU limit].
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Jobs that run at once on a device and share the model's steps [default: 1 on a CPU, 8 on a GPU].
    #[arg(long, value_name = "N")]
    max_batch: Option<u32>,
    /// Keep FLUX.2-klein's text encoder in memory, which else is read anew for every job.
    #[arg(long)]
    keep_text_encoder: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Hashes of the keys that callers show; `retouch keys new` makes one.
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// The server's certificate and its chain, PEM.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Roots of client certificates, PEM; every client must show one.
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// How long running jobs may take to finish at the end, such as 25s [default: 25s].
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
    /// The log, for people or machines: text or json [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged, such as info or retouch=debug,info [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// An OTLP collector that speaks gRPC; traces and metrics go there.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Serve other machines without keys.
    #[arg(long)]
    allow_anonymous: bool,
    /// Serve no page for browsers (docs/studio.md).
    #[arg(long)]
    no_studio: bool,
    /// Print the whole configuration as TOML and end.
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Loads the configuration from all sources over `defaults`.
///
/// # Errors
/// [`CliError::Usage`], naming the invalid key and its source.
pub(crate) fn config(args: &ServeArgs, defaults: Config) -> Result<Config, CliError> {
    let mut figment = Figment::from(Serialized::defaults(defaults));
    if let Some(path) = &args.config {
        if !path.is_file() {
            let path = path.display();
            return Err(CliError::Usage(format!("--config {path}: there is no such file")));
        }
        figment = figment.merge(Toml::file_exact(path));
    }
    figment = figment.merge(Environment(Env::prefixed(PREFIX).split("__")));
    let config = flags(args)
        .into_iter()
        .fold(figment, |figment, (key, value)| figment.merge(Serialized::default(key, value)))
        .extract::<Config>();
    let mut config = config.map_err(|error| CliError::Usage(said(&error)))?;
    config.check().map_err(|error| CliError::Usage(error.to_string()))?;
    config.jobs.data_dir = config.jobs.data_dir.or_else(data_folder);
    Ok(config)
}

/// Default data folder.
pub(crate) fn data_folder() -> Option<PathBuf> {
    Some(ProjectDirs::from("", "", "retouch")?.data_local_dir().join("serve"))
}

/// Environment variables; string keys keep values that look like numbers, and empty variables count as unset.
struct Environment(Env);

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut data = Dict::new();
        for (key, text) in self.0.iter().filter(|(_, text)| !text.is_empty()) {
            let key = key.as_str();
            let value = if TEXTS.contains(&key) {
                Value::from(text)
            } else {
                let Ok(value) = text.parse();
                value
            };
            for (section, value) in util::nest(key, value).into_dict().unwrap_or_default() {
                match (data.get_mut(&section), value) {
                    (Some(Value::Dict(_, keys)), Value::Dict(_, more)) => keys.extend(more),
                    (_, value) => drop(data.insert(section, value)),
                }
            }
        }
        Ok(self.0.profile.collect(data))
    }
}

/// Keys set by flags.
fn flags(args: &ServeArgs) -> Vec<(&'static str, Value)> {
    let path = |it: &Option<PathBuf>| it.as_ref().map(|it| Value::from(it.display().to_string()));
    let text = |it: &Option<String>| it.as_ref().map(|it| Value::from(it.clone()));
    let all = [
        ("server.listen", text(&args.listen)),
        ("server.ops_listen", text(&args.ops_listen)),
        ("server.drain_timeout", text(&args.drain_timeout)),
        ("server.allow_anonymous", args.allow_anonymous.then(|| Value::from(true))),
        ("server.studio", args.no_studio.then(|| Value::from(false))),
        ("jobs.data_dir", path(&args.data_dir)),
        ("engine.kind", text(&args.engine.engine)),
        ("engine.role", text(&args.engine.role)),
        ("engine.nats_url", text(&args.engine.nats.url)),
        ("engine.nats_prefix", text(&args.engine.nats.prefix)),
        ("engine.nats_replicas", args.engine.nats.replicas.map(Value::from)),
        ("engine.nats_credentials", path(&args.engine.nats.credentials)),
        ("engine.nats_nkey", path(&args.engine.nats.nkey)),
        ("engine.nats_tls_ca", path(&args.engine.nats.tls_ca)),
        ("engine.nats_tls_cert", path(&args.engine.nats.tls_cert)),
        ("engine.nats_tls_key", path(&args.engine.nats.tls_key)),
        ("model.path", path(&args.model)),
        ("model.loras", loras(&args.loras)),
        ("model.preview_decoder", path(&args.preview_decoder)),
        ("model.devices", text(&args.devices)),
        ("model.dtype", text(&args.dtype)),
        ("model.threads", args.threads.map(Value::from)),
        ("model.max_batch", args.max_batch.map(Value::from)),
        ("model.keep_text_encoder", args.keep_text_encoder.then(|| Value::from(true))),
        ("auth.keys_file", path(&args.keys_file)),
        ("tls.cert", path(&args.tls_cert)),
        ("tls.key", path(&args.tls_key)),
        ("tls.client_ca", path(&args.tls_client_ca)),
        ("log.format", text(&args.log_format)),
        ("log.level", text(&args.log_level)),
        ("otlp.endpoint", text(&args.otlp_endpoint)),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// LoRAs given by flags, in the place of those of other sources.
fn loras(loras: &[LoraChoice]) -> Option<Value> {
    let texts: Vec<String> = loras.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| Value::from(texts))
}

/// The error in one line, with the key and its source.
fn said(error: &figment::Error) -> String {
    let first = error.clone().into_iter().next();
    let Some(first) = first else { return masked(&error.to_string()) };
    let key = first.path.join(".");
    // A flag has no source but the code that reads it.
    let named = first.metadata.as_ref().filter(|it| !it.name.starts_with("figment::"));
    let origin = named.map(|it| match &it.source {
        Some(source) => format!("{} {source}", it.name),
        None => it.name.to_string(),
    });
    let origin = origin.map(|it| format!(" (from {it})")).unwrap_or_default();
    let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
    // Of several values each stands in backticks, and all of them once more.
    let kind = first.kind.to_string().replace("`one of `", "one of `").replace("``", "`");
    format!("{key}{}{origin}", masked(&kind))
}

/// The configuration as TOML.
///
/// # Errors
/// [`CliError::Defect`], which no configuration causes.
pub(crate) fn printed(config: &Config) -> Result<String, CliError> {
    toml::to_string(config).map_err(|error| CliError::Defect(error.to_string()))
}
