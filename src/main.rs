//! The `retouch` command: parse, run, exit code.

fn main() -> std::process::ExitCode {
    retouch::cli::main()
}
