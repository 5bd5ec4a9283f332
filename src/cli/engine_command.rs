//! Commands that run a model or a server on this machine.

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::{
    bench::{self, BenchCommand},
    engine_args::{self, NatsCommand},
    error::CliError,
    eval,
    eval_args::EvalArgs,
    inspect::{self, InspectArgs},
    journal::{self, JournalCommand},
    keys::{self, KeysCommand},
    localize::{self, LocalizeArgs},
    screen::{Screen, Stream},
    serve,
    serve_config::ServeArgs,
    studio::{self, StudioArgs},
};

#[derive(Debug, Subcommand)]
pub(crate) enum EngineCommand {
    /// Find what an instruction means in a picture: mask and maps, no edit.
    Localize(LocalizeArgs),
    /// Run methods over a data set, score them, and write a report with tables, plots and a gallery.
    Eval(EvalArgs),
    /// Measure what a model needs.
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Serve edits over gRPC.
    Serve(Box<ServeArgs>),
    /// Serve edits on this machine, and open the studio, their page, in the browser.
    Studio(Box<StudioArgs>),
    /// Look over, mend or save the data folder of a server.
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Prepare and check the NATS servers that several processes share (docs/scale-out.md).
    Engine {
        #[command(subcommand)]
        command: NatsCommand,
    },
    /// Make keys for callers of the server.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Say what a model is, how large, and what is missing.
    Inspect(InspectArgs),
}

impl EngineCommand {
    /// Whether JSON is printed, and on which stream.
    pub(crate) fn results(&self) -> (bool, Stream) {
        match self {
            Self::Localize(args) => (args.report.json, localize::results_stream(args)),
            Self::Eval(args) => (args.json, Stream::Out),
            Self::Bench { command: BenchCommand::Localize(args) } => (args.json, Stream::Out),
            Self::Bench { command: BenchCommand::Confidence(args) } => (args.json, Stream::Out),
            Self::Inspect(args) => (args.json, Stream::Out),
            Self::Serve(_)
            | Self::Studio(_)
            | Self::Journal { .. }
            | Self::Engine { .. }
            | Self::Keys { .. } => (false, Stream::Out),
        }
    }

    /// Runs the command.
    ///
    /// # Errors
    /// [`CliError`] if the command fails.
    pub(crate) fn run(&self, screen: &mut Screen) -> Result<ExitCode, CliError> {
        match self {
            Self::Localize(args) => localize::run(args, screen)?,
            Self::Eval(args) => eval::run(args, screen)?,
            Self::Bench { command } => bench::run(command, screen)?,
            Self::Serve(args) => return serve::run(args),
            Self::Studio(args) => return studio::run(args),
            Self::Journal { command } => return journal::run(command),
            Self::Engine { command } => return engine_args::run(command),
            Self::Keys { command } => keys::run(command)?,
            Self::Inspect(args) => inspect::run(args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
