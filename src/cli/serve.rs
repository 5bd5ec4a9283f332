//! `retouch serve` and `retouch studio`: flags and signals around [`serve`](crate::serving::serve), and its exit codes.

use std::{process::ExitCode, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{
    args::ModelPathArg,
    engine_error::EngineError,
    error::{self, CliError},
    interrupt::is_ignored,
    load, outputs, panics,
    serve_config::{self, ServeArgs},
};
use crate::journal::error::JournalError;
use crate::server::config::Config;
use crate::serving::{
    error::ServeError,
    serve::{Outcome, serve},
};

/// Time that is left to threads that wait for silent clients or a slow disk.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Exit code after the loss of a device: a supervisor should restart the server.
const DEVICE_LOST: u8 = 70;
/// Exit code after a second SIGTERM or Ctrl-C: 128 + 15.
const AT_ONCE: i32 = 143;

/// Runs the server until it is told to stop.
///
/// # Errors
/// [`CliError`] if the server can't start.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, CliError> {
    let config = serve_config::config(args, Config::default())?;
    if args.print_config {
        let text = serve_config::printed(&config)?;
        outputs::print(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    until_told(&config, |_| {})
}

/// Serves as configured until told to stop; `listening` hears the service's URL once it can be called.
///
/// # Errors
/// [`CliError`] if the server can't start.
pub(crate) fn until_told(
    config: &Config,
    listening: impl FnOnce(&str),
) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| EngineError::Serve(error.to_string()))?;
    let outcome = runtime.block_on(async {
        let model = load::model_path(&ModelPathArg { model: config.model.path.clone() })?;
        let mut end = End::listen()?;
        Ok::<_, CliError>(
            serve(config, model, load::environment(), listening, async || end.wait().await).await,
        )
    });
    // libtorch's own exit handlers must not run while a step does.
    match &outcome {
        Ok(Ok(Outcome::AtOnce)) => signal_hook::low_level::exit(AT_ONCE),
        Ok(Ok(Outcome::StillRunning)) => signal_hook::low_level::exit(0),
        _ => runtime.shutdown_timeout(LAST_WORDS),
    }
    match outcome? {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(ServeError::DeviceLost) => Ok(ExitCode::from(DEVICE_LOST)),
        Err(error) => Err(serve_error(error)),
    }
}

/// The error of a server that can't start, with its remedy as a flag.
fn serve_error(error: ServeError) -> CliError {
    match error {
        ServeError::NoDataFolder => CliError::Usage(format!("{error}; give --data-dir DIR")),
        ServeError::Journal(JournalError::InUse { .. }) => {
            EngineError::Serve(format!("{error} with --data-dir DIR")).into()
        }
        ServeError::Model(error) => error.into(),
        ServeError::WarmUp(error) => error.into(),
        ServeError::Panicked => panics::last_error(),
        error => EngineError::Serve(error::in_one_line(&error)).into(),
    }
}

/// Signals that stop the server: SIGTERM and Ctrl-C, unless the process was started with them ignored.
struct End {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl End {
    fn listen() -> Result<Self, CliError> {
        let listen = |kind: SignalKind| {
            let heard = !is_ignored(kind.as_raw_value());
            heard
                .then(|| signal(kind).map_err(|error| EngineError::Serve(error.to_string())))
                .transpose()
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = heard(&mut self.terminate) => {}
            () = heard(&mut self.interrupt) => {}
        }
    }
}

/// Waits for a signal; forever if it is ignored.
async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
