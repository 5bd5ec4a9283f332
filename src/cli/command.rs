//! The command line: all commands, and the version.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::{
    args::{EditArgs, HAS_ENGINE},
    remote::{batch::BatchArgs, jobs_args::JobsArgs},
};

/// Shown by `--version`.
const VERSION: &str = if HAS_ENGINE {
    env!("CARGO_PKG_VERSION")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (client)")
};

/// Edits pictures by instruction, only where the instruction means.
///
/// Exit codes: 0 done, 1 the edit failed, 2 wrong usage, 3 bad picture or mask, 4 instruction not understood
/// (--strict), 5 model can't be used, 6 device can't be used, 7 output can't be written, 8 no answer from the server,
/// or a refusal, 9 the server can't start, 10 object hardly found (--strict), 11 a data folder is damaged or in use, 70
/// a defect, or a server's device was lost, 130 Ctrl-C, 143 a server that was told twice to end.
#[derive(Debug, Parser)]
#[command(name = "retouch", version = VERSION, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Edit a picture by an instruction.
    Edit(Box<EditArgs>),
    /// Edit many pictures at a server, and go on where an earlier call stopped.
    Batch(BatchArgs),
    /// See, follow, decide, cancel and delete the jobs of a server.
    Jobs(JobsArgs),
    #[cfg(feature = "engine")]
    #[command(flatten)]
    Engine(Box<crate::cli::engine_command::EngineCommand>),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}
