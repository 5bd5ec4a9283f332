//! Command line: arguments, commands, local edits, the client and the server's start.

mod args;
mod bench;
mod bench_confidence;
mod edit;
mod edit_steps;
mod effects;
mod encoding_args;
mod error;
mod eval;
mod eval_args;
mod hub;
mod inspect;
mod interrupt;
mod journal;
mod keys;
mod load;
mod localization_args;
mod localize;
mod maps;
mod one_of;
mod outputs;
mod overrides;
mod panics;
mod printable;
mod remote;
mod replay;
mod reporter;
mod resolve;
mod reused;
mod screen;
mod serve;
mod serve_config;
mod settings_record;
mod shown;
mod trimmed;
mod usage;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::CommandFactory;

use crate::cli::{
    args::{Cli, Command},
    bench::BenchCommand,
    error::CliError,
    screen::{Screen, Stream},
};

/// Runs the command line and returns its exit code, one of those listed in the help.
pub fn main() -> ExitCode {
    let cli = match usage::parse() {
        Ok(cli) => cli,
        Err(error) => return usage::print(&error),
    };
    let (json, results) = match &cli.command {
        Command::Edit(args) => (args.report.json, edit::results_stream(args)),
        Command::Localize(args) => (args.report.json, localize::results_stream(args)),
        Command::Eval(args) => (args.json, Stream::Out),
        Command::Bench { command: BenchCommand::Localize(args) } => (args.json, Stream::Out),
        Command::Bench { command: BenchCommand::Confidence(args) } => (args.json, Stream::Out),
        Command::Batch(args) => (args.json, Stream::Out),
        Command::Jobs(args) => remote::jobs::results(args),
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

/// Runs a command; a panic, through which libtorch reports errors, becomes an error.
fn run(command: &Command, screen: &mut Screen) -> Result<ExitCode, CliError> {
    panics::note();
    let done = |outcome: Result<(), CliError>| outcome.map(|()| ExitCode::SUCCESS);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| match command {
        Command::Edit(args) => done(edit::run(args, screen)),
        Command::Localize(args) => done(localize::run(args, screen)),
        Command::Eval(args) => done(eval::run(args, screen)),
        Command::Bench { command } => done(bench::run(command, screen)),
        Command::Batch(args) => done(remote::batch::run(args, screen)),
        Command::Jobs(args) => done(remote::jobs::run(args, screen)),
        Command::Serve(args) => serve::run(args),
        Command::Journal { command } => journal::run(command),
        Command::Keys { command } => done(keys::run(command)),
        Command::Inspect(args) => done(inspect::run(args)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "retouch", &mut script);
            done(outputs::print(&script))
        }
    }));
    outcome.unwrap_or_else(|payload| Err(panics::error(payload.as_ref())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every command under a path, its arguments and flags, and the values that they name.
    fn names(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        for arg in command.get_arguments() {
            let names: Vec<String> = if arg.is_positional() {
                vec![arg.get_value_names().unwrap_or_default()[0].to_string()]
            } else {
                let aliases = arg.get_all_aliases().into_iter().flatten();
                arg.get_long().into_iter().chain(aliases).map(|it| format!("--{it}")).collect()
            };
            for name in names {
                let values = arg.get_possible_values();
                let values = values.iter().map(|it| format!("{path}{name} {}", it.get_name()));
                found.extend(values.chain([format!("{path}{name}")]));
            }
        }
        for command in command.get_subcommands() {
            found.insert(format!("{path}{}", command.get_name()));
            names(command, &format!("{path}{} ", command.get_name()), found);
        }
    }

    #[test]
    fn whatever_could_be_typed_in_an_earlier_version_can_be_typed() {
        let mut found = BTreeSet::new();
        let mut command = Cli::command();
        command.build();
        names(&command, "", &mut found);
        let earlier = include_str!("../../tests/fixtures/earlier/flags.txt");
        let lost: Vec<&str> = earlier.lines().filter(|it| !found.contains(*it)).collect();
        assert!(earlier.lines().count() > 300 && lost.is_empty(), "{lost:?}");
    }
}
