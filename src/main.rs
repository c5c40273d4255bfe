//! `hly`: the server and its command line.

use std::process::ExitCode;

use headlessly_communication::cli::{self, Exit, Failure};

fn main() -> ExitCode {
    // Before anything can open a TLS connection. It fails only when there is a provider already, which then serves.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main(|_config| async {
        Err(Failure::new(Exit::Internal, "this build holds the command line only, not the server"))
    })
}
