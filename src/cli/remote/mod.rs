//! Client commands: edits, jobs and batches on a server over gRPC, with the output of local edits.

pub(crate) mod batch;
mod check;
pub(crate) mod edit;
mod events;
pub(crate) mod exit_code;
#[cfg(test)]
mod flags;
pub(crate) mod jobs;
pub(crate) mod jobs_args;
mod jobs_table;
mod request;
mod run;
pub(crate) mod server_args;

use std::future::Future;

use crate::cli::error::CliError;

/// Runs asynchronous calls to their end.
fn block_on<T>(calls: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::Defect(error.to_string()))?.block_on(calls)
}
