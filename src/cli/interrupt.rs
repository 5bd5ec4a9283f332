//! Requests to stop a command: Ctrl-C, a request to end, a terminal that closes.

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
use crate::editing::EditError;
use crate::sampling::Interrupted;

/// How often a run that waits for a server looks for a request to stop.
const LOOK: Duration = Duration::from_millis(50);

/// The exit code of a command that was stopped.
const STOPPED: i32 = 130;

/// What is heard as a request to stop.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Whether a command was asked to stop.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    heard: Arc<AtomicBool>,
    /// Whether a request ends the process at once.
    at_once: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens. The first request ends the process at once, while it waits for its input or loads a model, until
    /// [`Interrupt::stop_cleanly`] is called; after that it stops the run within a step, and the second ends the process.
    ///
    /// A request that whoever started the process made it ignore stays ignored: a closing terminal under `nohup`, Ctrl-C in
    /// the background of a script.
    ///
    /// # Errors
    /// [`CliError::Defect`] if the system refuses a listener.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let heard = Arc::new(AtomicBool::new(false));
        let at_once = Arc::new(AtomicBool::new(true));
        for signal in SIGNALS.into_iter().filter(|it| !is_ignored(*it)) {
            // In this order: the request that sets the flag finds it unset.
            flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&at_once))
                .and_then(|_| {
                    flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&heard))
                })
                .and_then(|_| flag::register(signal, Arc::clone(&heard)))
                .map_err(|error| CliError::Defect(error.to_string()))?;
        }
        Ok(Self { heard, at_once })
    }

    /// From here on there is something that a stop should leave whole.
    pub(crate) fn stop_cleanly(&self) {
        self.at_once.store(false, Ordering::Relaxed);
    }

    /// Does work that waits for others, unless it is asked to stop before.
    ///
    /// # Errors
    /// Those of the work, and [`EditError::Interrupted`].
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let heard = async {
            while self.check().is_continue() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = heard => Err(EditError::Interrupted(Interrupted).into()),
            done = work => done,
        }
    }

    /// Breaks if a request was heard.
    pub(crate) fn check(&self) -> ControlFlow<Interrupted> {
        if self.heard.load(Ordering::Relaxed) {
            ControlFlow::Break(Interrupted)
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Whether the process was started with a signal ignored (Linux: proc(5), `SigIgn`); elsewhere nothing tells.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    mask.is_some_and(|it| it >> (signal - 1) & 1 == 1)
}
