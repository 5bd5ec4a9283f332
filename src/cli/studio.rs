//! `retouch studio`: a server of one's own, and its page in the browser.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use clap::Args;

use crate::cli::{
    error::CliError,
    outputs, serve,
    serve_config::{self, ServeArgs},
};
use crate::server::config::{Config, Server};

#[derive(Debug, Args)]
pub(crate) struct StudioArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Print the page's address alone, and open no browser.
    #[arg(long)]
    no_browser: bool,
}

/// Serves until told to stop; the page is opened once the server can be called.
///
/// # Errors
/// [`CliError`] if the server can't start.
pub(crate) fn run(args: &StudioArgs) -> Result<ExitCode, CliError> {
    if args.serve.print_config {
        return serve::run(&args.serve);
    }
    // Nobody asks this server's probes: any port will do.
    let ops_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server { ops_listen, ..Server::default() };
    let config = serve_config::config(&args.serve, Config { server, ..Config::default() })?;
    if !config.server.studio {
        let said = "the studio is switched off (--no-studio, or server.studio)";
        return Err(CliError::Usage(said.to_owned()));
    }
    serve::until_told(&config, |url| {
        // Without a reader, or a browser, the server is there all the same.
        let _ = outputs::print(format!("the studio: {url}\n").as_bytes());
        if !args.no_browser
            && let Err(error) = open::that_detached(url)
        {
            tracing::warn!(%error, "no browser can be opened; go to {url}");
        }
    })
}
