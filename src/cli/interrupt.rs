//! Signal handling of commands: SIGINT, SIGTERM and SIGHUP.

use std::{
    fs,
    future::Future,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::cli::error::CliError;
use crate::sampling::Interrupted;

/// Interval at which a command that waits for a server checks for a signal.
const LOOK: Duration = Duration::from_millis(50);

/// Exit code of an interrupted command.
const STOPPED: i32 = 130;

/// Signals that interrupt a command.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Whether a command was interrupted.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    heard: Arc<AtomicBool>,
    /// Whether a signal ends the process at once.
    at_once: Arc<AtomicBool>,
}

impl Interrupt {
    /// Installs the handlers. Until [`Interrupt::stop_cleanly`] is called, while the command reads input or loads a
    /// model, the first signal ends the process; after that it stops the run within one denoising step, and the second
    /// signal ends the process.
    ///
    /// A signal that the parent process set to be ignored stays ignored, such as SIGHUP under `nohup`, or SIGINT for a
    /// script's background job.
    ///
    /// # Errors
    /// [`CliError::Defect`] if a handler can't be installed.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let heard = Arc::new(AtomicBool::new(false));
        let at_once = Arc::new(AtomicBool::new(true));
        for signal in SIGNALS.into_iter().filter(|it| !is_ignored(*it)) {
            // In this order: the signal that sets the flag still finds it unset.
            flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&at_once))
                .and_then(|_| {
                    flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&heard))
                })
                .and_then(|_| flag::register(signal, Arc::clone(&heard)))
                .map_err(|error| CliError::Defect(error.to_string()))?;
        }
        Ok(Self { heard, at_once })
    }

    /// From now on a signal stops the run cleanly instead of ending the process.
    pub(crate) fn stop_cleanly(&self) {
        self.at_once.store(false, Ordering::Relaxed);
    }

    /// Awaits a future, unless a signal arrives first.
    ///
    /// # Errors
    /// Those of the future, and [`CliError::Interrupted`].
    pub(crate) async fn or<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CliError>
    where
        CliError: From<E>,
    {
        let heard = async {
            while self.check().is_continue() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = heard => Err(Interrupted.into()),
            done = work => Ok(done?),
        }
    }

    /// `Break` if a signal has arrived.
    pub(crate) fn check(&self) -> ControlFlow<Interrupted> {
        if self.heard.load(Ordering::Relaxed) {
            ControlFlow::Break(Interrupted)
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Whether the process was started with a signal ignored (Linux: proc(5), `SigIgn`); false on other systems.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    mask.is_some_and(|it| it >> (signal - 1) & 1 == 1)
}
