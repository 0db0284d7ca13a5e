//! `completion SHELL`.

use super::super::args::{CompletionArgs, command};
use super::super::error::{CliError, exit_code};
use super::super::streams::Invocation;

pub fn run(args: &CompletionArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command().clone(), "stagewright", &mut script);
    invocation.streams.print(&String::from_utf8_lossy(&script))?;
    Ok(exit_code::DONE)
}
