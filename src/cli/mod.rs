//! The command line: what was typed, what it means, and the one place that joins models and methods.

mod args;
mod bench;
mod bench_confidence;
mod client;
mod edit;
mod effects;
mod error;
mod eval;
mod eval_args;
mod inspect;
mod journal;
mod keys;
mod load;
mod localization_args;
mod localize;
mod maps;
mod panics;
mod replay;
mod reporter;
mod resolve;
mod reused;
mod screen;
mod serve;
mod serve_config;
mod settings_record;
mod shown;

use std::{
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::cli::{
    args::{Cli, Command},
    bench::BenchCommand,
    error::CliError,
    screen::{Screen, Stream},
};
use crate::picture::write::Overwrite;

/// Runs the command line and returns its exit code, one of those that the help lists.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let (json, results) = match &cli.command {
        Command::Edit(args) => (args.report.json, edit::results_stream(args)),
        Command::Localize(args) => (args.report.json, localize::results_stream(args)),
        Command::Eval(args) => (args.json, Stream::Out),
        Command::Bench { command: BenchCommand::Localize(args) } => (args.json, Stream::Out),
        Command::Bench { command: BenchCommand::Confidence(args) } => (args.json, Stream::Out),
        Command::Batch(args) => (args.json, Stream::Out),
        Command::Jobs(args) => client::jobs::results(args),
        Command::Inspect(args) => (args.json, Stream::Out),
        Command::Serve(_)
        | Command::Journal { .. }
        | Command::Keys { .. }
        | Command::Completions { .. } => (false, Stream::Out),
    };
    let mut screen = Screen::new(json, results);
    match run(&cli.command, &mut screen) {
        Ok(code) => code,
        Err(error) => {
            screen.failed(&error);
            error.exit_code()
        }
    }
}

/// Help and version as clap prints them; what is wrong with an argument in one line, as every other error.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // A reader that closed the pipe has seen enough.
        let _ = error.print();
        return ExitCode::from(error.exit_code() as u8);
    }
    let text = error.to_string();
    let said = text.split("\n\n").next().unwrap_or_default();
    let line = said.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    // Standard error that can't be written leaves the exit code to say it.
    let _ = writeln!(io::stderr(), "{line}; see `retouch --help`");
    ExitCode::from(error.exit_code() as u8)
}

/// Runs a command; a panic, which libtorch's own errors come as, becomes an error.
fn run(command: &Command, screen: &mut Screen) -> Result<ExitCode, CliError> {
    panics::note();
    let done = |outcome: Result<(), CliError>| outcome.map(|()| ExitCode::SUCCESS);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| match command {
        Command::Edit(args) => done(edit::run(args, screen)),
        Command::Localize(args) => done(localize::run(args, screen)),
        Command::Eval(args) => done(eval::run(args, screen)),
        Command::Bench { command } => done(bench::run(command, screen)),
        Command::Batch(args) => done(client::batch::run(args, screen)),
        Command::Jobs(args) => done(client::jobs::run(args, screen)),
        Command::Serve(args) => serve::run(args),
        Command::Journal { command } => journal::run(command),
        Command::Keys { command } => done(keys::run(command)),
        Command::Inspect(args) => done(inspect::run(args)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "retouch", &mut script);
            match edit::put("-".as_ref(), &script, Overwrite::Refuse) {
                // A reader that closed the pipe has seen enough.
                Err(CliError::Write { source, .. })
                    if source.kind() == io::ErrorKind::BrokenPipe =>
                {
                    Ok(ExitCode::SUCCESS)
                }
                put => done(put),
            }
        }
    }));
    outcome.unwrap_or_else(|payload| Err(panics::error(payload.as_ref())))
}
