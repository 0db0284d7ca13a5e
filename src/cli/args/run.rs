//! Options of carrying out a plan.

use clap::Args;

use super::RunFormat;
use crate::backend::git::DEPLOY_REPORT;

/// How a plan is carried out.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Run options")]
pub struct RunArgs {
    /// Does not ask.
    #[arg(long)]
    pub auto_approve: bool,
    /// Operations at once; requests to a cluster are not counted, unless it is 1.
    #[arg(short, long, default_value_t = 5, value_name = "N")]
    pub parallel_tasks_limit: usize,
    /// Begins nothing new after a failure.
    #[arg(long, overrides_with = "keep_going")]
    pub fail_fast: bool,
    /// After a failure goes on with what does not depend on it; this is the default.
    #[arg(long, overrides_with = "fail_fast")]
    pub keep_going: bool,
    /// Ends the run after so long, seconds or `5m`: nothing new is begun, and what is not ready has failed; 0: never.
    #[arg(long, default_value_t = 0, value_name = "DURATION", value_parser = crate::cli::seconds::read_seconds)]
    pub timeout: u64,
    /// How long a lock of the release that somebody else holds is waited for; 0: not at all.
    #[arg(long, default_value_t = 300, value_name = "DURATION", value_parser = crate::cli::seconds::read_seconds)]
    pub lock_timeout: u64,
    /// Ends when all is written, ready or not; hooks, weights and dependencies are waited for all the same.
    #[arg(long)]
    pub no_wait: bool,
    /// Rolls a release back that failed; an option of `apply`.
    #[arg(skip)]
    pub auto_rollback: bool,
    /// Where a report of the deploy is saved; an option of commands that deploy, see [`DeployReportArgs`].
    #[arg(skip)]
    pub deploy_report: Option<String>,
    /// Whether the command prints another result where all went well; an option of `bundle publish`.
    #[arg(skip)]
    pub has_result: bool,
    /// Opens a shell in the state that a failed command left, when stdin is a terminal.
    #[arg(long)]
    pub introspect_error: bool,
    /// Saves a report of the images: see `--build-report-path`.
    #[arg(long)]
    pub save_build_report: bool,
    /// Saves a report of the images to this file, as JSON, or as variables if it ends with `.env`;
    /// `.werf-build-report.json` by default.
    #[arg(long, value_name = "FILE")]
    pub build_report_path: Option<String>,
    /// Format of the outcome.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: RunFormat,
}

/// Whether hooks run.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Release options")]
pub struct HookArgs {
    /// Runs no hooks; they are recorded all the same, and the plan names those that are left out.
    #[arg(long)]
    pub no_hooks: bool,
}

/// A report of a deploy.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Run options")]
pub struct DeployReportArgs {
    /// Saves a report of the deploy, also when it fails: see `--deploy-report-path`.
    #[arg(long)]
    pub save_deploy_report: bool,
    /// Saves a report of the deploy to this file, as JSON: release, revision, status, and what became of each resource;
    /// `.werf-deploy-report.json` by default.
    #[arg(long, value_name = "FILE")]
    pub deploy_report_path: Option<String>,
}

impl DeployReportArgs {
    /// Returns where a report is saved; `None` where none is wanted.
    pub fn path(&self) -> Option<String> {
        self.deploy_report_path.clone().or_else(|| self.save_deploy_report.then(|| DEPLOY_REPORT.to_owned()))
    }
}
