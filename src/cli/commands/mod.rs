//! The commands, a file each.

mod apply;
mod build;
mod bundle;
mod cache;
mod chart;
mod completion;
mod config;
mod dismiss;
mod explain;
mod explain_values;
mod export;
mod graph;
mod includes;
mod lint;
mod make_plan;
mod plan;
mod publish;
mod release;
mod render;
mod run;
mod run_plan;
mod secret;
mod show;
mod stages;
mod take_back;
mod template;
mod why;

use super::args::{Cli, Command};
use super::error::CliError;
use super::streams::Invocation;

/// Runs a command and returns the exit code.
pub fn run(cli: Cli, invocation: &mut Invocation) -> Result<u8, CliError> {
    let global = &cli.global;
    match cli.command {
        Command::Plan(args) => plan::run(global, &args, invocation),
        Command::Apply(args) => apply::run(global, &args, invocation),
        Command::Show(args) => show::run(&args, invocation),
        Command::Release(command) => release::run(global, &command, invocation),
        Command::Dismiss(args) => dismiss::run(global, &args, invocation),
        Command::Why(args) => why::run(global, &args, invocation),
        Command::Lint(args) => lint::run(global, &args, invocation),
        Command::Render(args) => render::run(global, &args, invocation),
        Command::Template(args) => template::run(&args, invocation),
        Command::Chart(command) => chart::run(&command, invocation),
        Command::Graph(args) => graph::run(global, &args, invocation),
        Command::Config(command) => config::run(global, &command, invocation),
        Command::Includes(command) => includes::run(global, &command, invocation),
        Command::Explain(args) => explain::run(&args, invocation),
        Command::Build(args) => build::run(global, &args, invocation),
        Command::Publish(args) => publish::run(global, &args, invocation),
        Command::Bundle(command) => bundle::run(global, &command, invocation),
        Command::Run(args) => run::run(global, &args, invocation),
        Command::Export(args) => export::run(global, &args, invocation),
        Command::Stages(command) => stages::run(global, &command, invocation),
        Command::Cache(command) => cache::run(&command, invocation),
        Command::Secret(command) => secret::run(global, &command, invocation),
        Command::CiEnv(_) => Err(CliError::user("`ci-env` is not there yet: it prints no variables").hint(
            "set what it would set in the CI itself: STAGEWRIGHT_REPO, STAGEWRIGHT_ENV, STAGEWRIGHT_TARGET=cluster",
        )),
        Command::Completion(args) => completion::run(&args, invocation),
    }
}
