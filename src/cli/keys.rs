//! `retouch keys new`: creates an API key, printed once to standard error, and its entry for the server's keys file.

use std::io::{self, Write};

use clap::{Args, Subcommand, ValueEnum};
use rand::Rng;

use crate::cli::{error::CliError, outputs};
use crate::picture::write::Overwrite;
use crate::server::keys::{self, KeyRecord, KeyRecords, Scope};

/// Random bytes in a key.
const KEY_BYTES: usize = 32;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key: shows it once, on standard error, and prints its block for the server's keys file.
    New(NewArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Whose key it is; jobs and artifacts belong to a tenant.
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// The key's name, in logs and limits [default: the tenant and six digits].
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// What it permits. Repeatable.
    #[arg(long, value_enum, default_values_t = [ScopeArg::Edit])]
    scope: Vec<ScopeArg>,
}

/// [`Scope`] as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeArg {
    /// Every method of the service, on the tenant's own.
    Edit,
    /// What the server is and does, and its log level.
    Admin,
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`], naming the invalid value.
pub(crate) fn run(command: &KeysCommand) -> Result<(), CliError> {
    let KeysCommand::New(args) = command;
    let mut rng = rand::rng();
    let id = args
        .id
        .clone()
        .unwrap_or_else(|| format!("{}-{:06}", args.tenant, rng.random_range(0..1_000_000)));
    for (flag, name) in [("--tenant", &args.tenant), ("--id", &id)] {
        if !keys::is_name(name) {
            let said = "1 to 63 letters, digits, `.`, `_` or `-`";
            return Err(CliError::Usage(format!("{flag} is `{name}`, expected {said}")));
        }
    }
    let mut bytes = [0u8; KEY_BYTES];
    rng.fill(&mut bytes);
    let hex =
        |bytes: &[u8]| bytes.iter().fold(String::new(), |text, it| text + &format!("{it:02x}"));
    let key = format!("rt_{}", hex(&bytes));
    let mut scopes: Vec<Scope> = args.scope.iter().copied().map(Scope::from).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let record = KeyRecord {
        id,
        tenant: args.tenant.clone(),
        sha256: hex(&keys::hash(key.as_bytes())),
        scopes,
    };
    let block = toml::to_string(&KeyRecords { key: vec![record] });
    let block = block.map_err(|error| CliError::Defect(error.to_string()))?;
    outputs::put("-".as_ref(), format!("{block}\n").as_bytes(), Overwrite::Refuse)?;
    // On standard error, so that `>> keys.toml` doesn't store the key.
    let written = writeln!(io::stderr(), "the key, shown this once: {key}");
    written.map_err(|source| CliError::Write { path: "standard error".into(), source })
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Edit => Self::Edit,
            ScopeArg::Admin => Self::Admin,
        }
    }
}
