//! The commands, a file each.

mod completion;
mod explain;
mod show;
mod template;

use super::args::{Cli, Command};
use super::error::CliError;
use super::streams::Invocation;

/// Runs a command and returns the exit code.
pub fn run(cli: Cli, invocation: &mut Invocation) -> Result<u8, CliError> {
    match cli.command {
        Command::Show(args) => show::run(&args, invocation),
        Command::Explain(args) => explain::run(&args, invocation),
        Command::Completion(args) => completion::run(&args, invocation),
        Command::Template(args) => template::run(&args, invocation),
        Command::Plan(_)
        | Command::Apply(_)
        | Command::Why(_)
        | Command::Lint(_)
        | Command::Render(_)
        | Command::Graph(_)
        | Command::Config(_)
        | Command::Build(_) => Err(CliError::user("this command is not there yet")),
    }
}
