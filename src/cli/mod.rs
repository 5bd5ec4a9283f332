//! Command line: arguments, commands, local edits, the client and the server's start.

mod args;
#[cfg(feature = "engine")]
mod bench;
#[cfg(feature = "engine")]
mod bench_confidence;
mod command;
#[cfg(feature = "engine")]
mod edit;
mod edit_outputs;
#[cfg(feature = "engine")]
mod edit_steps;
mod effects;
mod encoding_args;
#[cfg(feature = "engine")]
mod engine_args;
#[cfg(feature = "engine")]
mod engine_command;
#[cfg(feature = "engine")]
mod engine_error;
mod error;
#[cfg(feature = "engine")]
mod eval;
#[cfg(feature = "engine")]
mod eval_args;
mod event_lines;
#[cfg(feature = "engine")]
mod hub;
#[cfg(feature = "engine")]
mod inspect;
#[cfg(feature = "engine")]
mod inspect_lora;
mod interrupt;
#[cfg(feature = "engine")]
mod journal;
#[cfg(feature = "engine")]
mod keys;
#[cfg(feature = "engine")]
mod load;
mod localization_args;
#[cfg(feature = "engine")]
mod localize;
mod loras;
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
#[cfg(feature = "engine")]
mod reused;
mod screen;
#[cfg(feature = "engine")]
mod serve;
#[cfg(feature = "engine")]
mod serve_config;
mod settings_record;
mod shown;
#[cfg(feature = "engine")]
mod studio;
mod trimmed;
mod usage;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::CommandFactory;

use crate::cli::{
    args::EditArgs,
    command::{Cli, Command},
    error::CliError,
    replay::Replay,
    screen::{Screen, Stream},
};

/// Runs the command line and returns its exit code, one of those listed in the help.
pub fn main() -> ExitCode {
    let cli = match usage::parse() {
        Ok(cli) => cli,
        Err(error) => return usage::print(&error),
    };
    let (json, results) = match &cli.command {
        Command::Edit(args) => (args.report.json, edit_outputs::results_stream(args)),
        Command::Batch(args) => (args.json, Stream::Out),
        Command::Jobs(args) => remote::jobs::results(args),
        #[cfg(feature = "engine")]
        Command::Engine(command) => command.results(),
        Command::Completions { .. } => (false, Stream::Out),
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
        Command::Edit(args) => done(edit(args, screen)),
        Command::Batch(args) => done(remote::batch::run(args, screen)),
        Command::Jobs(args) => done(remote::jobs::run(args, screen)),
        #[cfg(feature = "engine")]
        Command::Engine(command) => command.run(screen),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "retouch", &mut script);
            done(outputs::print(&script))
        }
    }));
    outcome.unwrap_or_else(|payload| Err(panics::error(payload.as_ref())))
}

/// Runs `retouch edit`: at the server if one is given, else on this machine.
fn edit(args: &EditArgs, screen: &mut Screen) -> Result<(), CliError> {
    let replay = Replay::open(args)?;
    let args = replay.as_ref().map_or(args, |it| &it.args);
    if args.server.is_given() {
        return remote::edit::run(args, replay.as_ref(), screen);
    }
    args.server.refuse_alone()?;
    #[cfg(feature = "engine")]
    return edit::run(args, replay.as_ref(), screen);
    #[cfg(not(feature = "engine"))]
    Err(CliError::Usage(
        "this build is a client and runs no model; give --server URL, or build retouch with its default features"
            .to_owned(),
    ))
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
