//! `includes`.

use clap::{Args, Subcommand};

use super::ProjectArgs;

/// `includes`.
#[derive(Debug, Subcommand)]
pub enum IncludesCommand {
    /// Writes werf-includes.lock: the commits that the references of werf-includes.yaml are now.
    Update(IncludesUpdateArgs),
    /// Lists the files of the project and of its includes, each where it counts.
    LsFiles(IncludesListArgs),
    /// Prints a file of the project or of an include.
    GetFile(IncludesGetArgs),
}

/// `includes update`.
#[derive(Debug, Args)]
pub struct IncludesUpdateArgs {
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `includes ls-files`.
#[derive(Debug, Args)]
pub struct IncludesListArgs {
    /// Files that are listed; all by default.
    #[arg(value_name = "GLOB")]
    pub globs: Vec<String>,
    /// `source=TEXT,…`: those whose source is `local`, or an address that holds one of the texts.
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `includes get-file`.
#[derive(Debug, Args)]
pub struct IncludesGetArgs {
    /// Path in the project.
    #[arg(value_name = "PATH")]
    pub path: String,
    #[command(flatten)]
    pub project: ProjectArgs,
}
