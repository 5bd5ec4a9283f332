//! Flags of what keeps jobs, and `retouch engine`, which prepares and checks it.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use crate::cli::{engine_error::EngineError, error::CliError, outputs};
use crate::nats::{
    Nats,
    error::NatsError,
    monitor::{self, Sync},
    options::Options,
    streams::Made,
};

/// What a server needs so that no acknowledged write is lost when the power is.
const ALWAYS: &str = "jetstream { sync_interval: always }";

#[derive(Debug, Default, Args)]
pub(crate) struct EngineArgs {
    /// What keeps jobs: embedded, in this process's data folder, or nats, which several processes share [default:
    /// embedded].
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
    /// What this process does where several share the jobs: all; api, which answers calls and runs none; or worker,
    /// which runs them and answers none [default: all].
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
}

#[derive(Debug, Default, Args)]
pub(crate) struct NatsArgs {
    /// NATS servers, with commas between them, such as `nats://localhost:4222`.
    #[arg(id = "nats_url", long = "nats-url", value_name = "URLS")]
    pub(crate) url: Option<String>,
    /// First word of all subjects and, in capitals, of the streams [default: rt].
    #[arg(id = "nats_prefix", long = "nats-prefix", value_name = "WORD")]
    pub(crate) prefix: Option<String>,
    /// NATS servers that hold each message: 1, 3 or 5 [default: 1].
    #[arg(id = "nats_replicas", long = "nats-replicas", value_name = "N")]
    pub(crate) replicas: Option<u32>,
    /// A file of NATS credentials (a JWT and its key).
    #[arg(id = "nats_credentials", long = "nats-credentials", value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
    /// A file of an nkey's seed.
    #[arg(id = "nats_nkey", long = "nats-nkey", value_name = "FILE")]
    pub(crate) nkey: Option<PathBuf>,
    /// Roots of the NATS servers' certificates, PEM; TLS is then needed.
    #[arg(id = "nats_tls_ca", long = "nats-tls-ca", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// A certificate to show to the NATS servers, PEM.
    #[arg(id = "nats_tls_cert", long = "nats-tls-cert", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// That certificate's private key, PEM.
    #[arg(id = "nats_tls_key", long = "nats-tls-key", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NatsCommand {
    /// Make the streams that are missing, and check those that are there.
    Init(NatsArgs),
    /// Check servers and streams, and change nothing.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    nats: NatsArgs,
    /// Monitoring ports of the NATS servers, with commas between them, such as `http://localhost:8222`; they tell
    /// whether each syncs every write.
    #[arg(long, value_name = "URLS")]
    monitor_url: Option<String>,
}

impl NatsArgs {
    fn options(&self) -> Result<Options, CliError> {
        let url = self.url.clone();
        let url = url.ok_or_else(|| CliError::Usage("give --nats-url URLS".to_owned()))?;
        let prefix = self.prefix.clone().unwrap_or_else(|| "rt".to_owned());
        Ok(Options {
            replicas: self.replicas.unwrap_or(1) as usize,
            credentials: self.credentials.clone(),
            nkey: self.nkey.clone(),
            tls_ca: self.tls_ca.clone(),
            tls_client: self.tls_cert.clone().zip(self.tls_key.clone()),
            ..Options::plain(url, prefix)
        })
    }
}

/// Runs `retouch engine`.
///
/// # Errors
/// [`CliError`] if the servers can't be reached, or a stream is missing or unfit.
pub(crate) fn run(command: &NatsCommand) -> Result<ExitCode, CliError> {
    match command {
        NatsCommand::Init(args) => {
            let made = Nats::init(&args.options()?).map_err(|error| refused(&error))?;
            let line = |(stream, made): (String, Made)| {
                let said = if made == Made::New { "made" } else { "there, and fit" };
                format!("{stream}: {said}\n")
            };
            outputs::print(made.into_iter().map(line).collect::<String>().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        NatsCommand::Check(args) => check(args),
    }
}

fn check(args: &CheckArgs) -> Result<ExitCode, CliError> {
    let options = args.nats.options()?;
    let engine = Nats::open(&options, false).map_err(|error| refused(&error))?;
    let version = engine.server_version();
    let mut lines = vec![format!("server {version}: the streams are there, and fit")];
    let urls = args.monitor_url.as_deref().unwrap_or_default();
    let mut is_safe = true;
    if urls.is_empty() {
        lines.push("sync_always: unknown; give --monitor-url URLS".to_owned());
    }
    for url in urls.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let sync = monitor::sync(url);
        is_safe &= sync == Sync::Always;
        lines.push(format!("{url}: sync_always: {sync}"));
    }
    if urls.is_empty() || !is_safe {
        lines.push(format!("each server's configuration needs: {ALWAYS}"));
    }
    outputs::print((lines.join("\n") + "\n").as_bytes())?;
    Ok(if is_safe { ExitCode::SUCCESS } else { ExitCode::from(9) })
}

fn refused(error: &NatsError) -> CliError {
    EngineError::Serve(error.to_string()).into()
}
