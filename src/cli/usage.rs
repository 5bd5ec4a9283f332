//! Parsing of the arguments, with usage errors in one line like every other error.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::{
    Command, CommandFactory, FromArgMatches,
    builder::{OsStr, Resettable},
    error::{ContextKind, ContextValue, ErrorKind},
};
use serde_json::json;

use crate::cli::{command::Cli, printable::printable};
use crate::wire::reason::Reason;

/// Parses the arguments and the environment; empty variables count as unset.
///
/// # Errors
/// clap's error, or its request to print help.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let matches = without_empty_variables(Cli::command()).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

fn without_empty_variables(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|it| it.is_empty()) {
            arg.env(Resettable::<OsStr>::Reset)
        } else {
            arg
        }
    });
    command.mut_subcommands(without_empty_variables)
}

/// Prints help and version as clap does, and a usage error in one line, as JSON if requested.
pub(crate) fn print(error: &clap::Error) -> ExitCode {
    let code = ExitCode::from(error.exit_code() as u8);
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // A closed pipe is not an error.
        let _ = error.print();
        return code;
    }
    let typed: Vec<OsString> = std::env::args_os().skip(1).collect();
    let message = message(error, &typed);
    let line = if typed.iter().take_while(|it| *it != "--").any(|it| it == "--json") {
        let reason = Reason::InvalidArgument.name();
        json!({"error": {"reason": reason, "message": message}}).to_string()
    } else {
        format!("error: {}", printable(&message))
    };
    // If standard error can't be written, the exit code still tells.
    let _ = writeln!(io::stderr(), "{line}");
    code
}

fn message(error: &clap::Error, typed: &[OsString]) -> String {
    let text = error.to_string();
    let said = text.split("\n\n").next().unwrap_or_default();
    let said = said.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let hint = dashed(error, typed).map(|it| {
        format!(
            "; `{it}` begins with a dash: write ./{it} for a file, and -- before a text that is no option",
        )
    });
    let similar =
        text_of(error, ContextKind::SuggestedArg).map(|it| format!("; did you mean {it}?"));
    format!("{said}{}; see `retouch --help`", hint.or(similar).unwrap_or_default())
}

/// The argument taken for an option although it looks like a file name or an instruction.
fn dashed(error: &clap::Error, typed: &[OsString]) -> Option<String> {
    let named = text_of(error, ContextKind::InvalidArg).unwrap_or_default();
    let is_meant = |it: &str| match error.kind() {
        ErrorKind::UnknownArgument => it.starts_with(&named),
        // An option whose value looks like the next option.
        ErrorKind::InvalidValue => {
            text_of(error, ContextKind::InvalidValue).is_some_and(|it| it.is_empty())
        }
        _ => false,
    };
    let candidates = typed.iter().filter_map(|it| it.to_str()).take_while(|it| *it != "--");
    candidates
        .filter(|it| it.starts_with('-') && it.len() > 2)
        .filter(|it| {
            !it.starts_with("--") || it.contains(char::is_whitespace) || Path::new(it).exists()
        })
        .find(|it| is_meant(it))
        .map(str::to_owned)
}

fn text_of(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}
