//! `tollgate completion`: a script that has a shell complete verbs and flags.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// What `tollgate completion` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Carries out `tollgate completion` for the command that `C` describes.
pub(crate) fn run<C: CommandFactory>(
    arguments: &Arguments,
    out: &Output,
) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut C::command(), "tollgate", &mut script);
    out.raw(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
