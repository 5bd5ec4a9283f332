//! Command-line arguments of `retouch jobs`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::{args::MaskArgs, remote::server_args::ServerArgs};
use crate::wire::v1::edit_job::State;

#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    #[command(subcommand)]
    pub(crate) command: JobsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first.
    List(ListArgs),
    /// Show a job.
    Get(NameArgs),
    /// Follow a job as it runs, and save its result.
    Watch(WatchArgs),
    /// Cancel a job.
    Cancel(CancelArgs),
    /// Decide the mask of a job that waits for it.
    Mask(DecideArgs),
    /// Delete a job that has ended, and its files.
    Delete(NameArgs),
    /// Make a small edit at one address of the server, watch it at every one, and delete it.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Print JSON, under the names of the gRPC schema.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) call: CallArgs,
    /// Only jobs in this state. Repeatable.
    #[arg(long, value_enum)]
    pub(crate) state: Vec<StateArg>,
    /// Only jobs with this label. Repeatable; all must hold.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// At most so many.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The job, such as jobs/0199…, with or without `jobs/`.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) call: CallArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) of: NameArgs,
    /// Save the result here: a file, or `-` for standard output.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite an existing file.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    pub(crate) of: NameArgs,
    /// Why, kept with the job.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    #[command(flatten)]
    pub(crate) of: NameArgs,
    /// Take the proposed mask, grown and softened as --dilate and --feather say.
    #[arg(long, conflicts_with_all = ["mask", "clusters", "boxes", "invert_mask"])]
    pub(crate) accept: bool,
    #[command(flatten)]
    pub(crate) mask: MaskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) call: CallArgs,
    /// An address to call, IP:PORT, in place of those that the server's name has. Repeatable.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) at: Vec<SocketAddr>,
    /// How many addresses there must be: 2 if one process is to watch what another has made.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) at_least: u32,
    /// How long all of it may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) within: u64,
}

/// [`State`] as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    /// Waits for a slot.
    Queued,
    /// In the first pass.
    Localizing,
    /// Waits for a decision on its mask.
    AwaitingMask,
    /// Decided; waits for a slot.
    MaskReady,
    /// In the second pass.
    Editing,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by its caller.
    Cancelled,
}

impl JobsCommand {
    /// The arguments common to all subcommands.
    pub(crate) fn call(&self) -> &CallArgs {
        match self {
            Self::List(args) => &args.call,
            Self::Get(args) | Self::Delete(args) => &args.call,
            Self::Watch(args) => &args.of.call,
            Self::Cancel(args) => &args.of.call,
            Self::Mask(args) => &args.of.call,
            Self::Check(args) => &args.call,
        }
    }
}

impl NameArgs {
    /// The job's full resource name.
    pub(crate) fn full(&self) -> String {
        let name = self.name.trim_start_matches("jobs/");
        format!("jobs/{name}")
    }
}

impl From<StateArg> for State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Queued => Self::Queued,
            StateArg::Localizing => Self::Localizing,
            StateArg::AwaitingMask => Self::AwaitingMask,
            StateArg::MaskReady => Self::MaskReady,
            StateArg::Editing => Self::Editing,
            StateArg::Succeeded => Self::Succeeded,
            StateArg::Failed => Self::Failed,
            StateArg::Cancelled => Self::Cancelled,
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
