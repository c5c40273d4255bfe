//! `hly completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Context, Failure};

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(context: &mut Context, args: &CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: the generator panics when its output fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hly", &mut script);
    context.output.line(String::from_utf8_lossy(&script).trim_end())
}
