//! `release` and `dismiss`.

use clap::{Args, Subcommand, ValueEnum};

use super::{DeployReportArgs, HookArgs, KubeArgs, ProjectArgs, RecordFormat, RunArgs, RunFormat};

/// `release`.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Lists releases: of one namespace, or of all.
    #[command(visible_alias = "ls")]
    List(ReleaseListArgs),
    /// Lists the revisions of a release.
    History(ReleaseHistoryArgs),
    /// Prints what is recorded of a release.
    Get(ReleaseGetArgs),
    /// Plans to deploy an older revision again, shows the plan, asks, and carries it out.
    Rollback(ReleaseRollbackArgs),
}

/// `release list`.
#[derive(Debug, Args)]
pub struct ReleaseListArgs {
    /// The namespace; all by default.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Format of the list.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: RecordFormat,
    #[command(flatten)]
    pub kube: KubeArgs,
}

/// `release history`.
#[derive(Debug, Args)]
pub struct ReleaseHistoryArgs {
    /// The release; that of the project by default.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Format of the list.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: RecordFormat,
    #[command(flatten)]
    pub place: ReleasePlaceArgs,
}

/// `release get`.
#[derive(Debug, Args)]
pub struct ReleaseGetArgs {
    /// The release.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What is printed.
    #[arg(value_enum, default_value_t, value_name = "WHAT")]
    pub what: ReleasePart,
    /// The revision; the last by default.
    #[arg(long, value_name = "N")]
    pub revision: Option<u64>,
    /// Shows what Secrets hold, and resources with secret values.
    #[arg(long)]
    pub show_secrets: bool,
    /// Format of what is printed.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: RecordFormat,
    #[command(flatten)]
    pub place: ReleasePlaceArgs,
}

/// What is printed of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReleasePart {
    /// All of it.
    #[default]
    All,
    /// The values that the user gave.
    Values,
    /// The manifests.
    Manifest,
    /// The notes.
    Notes,
    /// The hooks.
    Hooks,
}

/// `release rollback`.
#[derive(Debug, Args)]
pub struct ReleaseRollbackArgs {
    /// The release, that of the project by default; and the revision, by default the last before the current that was
    /// deployed with success.
    #[arg(value_name = "[NAME] [REVISION]", num_args = 0..=2)]
    pub name_and_revision: Vec<String>,
    /// The release, where its name is no argument.
    #[arg(long, value_name = "NAME")]
    pub release: Option<String>,
    /// Takes fields over that others set, whoever they are: for those who set them no more.
    #[arg(long)]
    pub force_conflicts: bool,
    /// Leaves fields to controllers and others that set them over what the release says.
    #[arg(long, conflicts_with = "force_conflicts")]
    pub yield_conflicts: bool,
    /// Keeps what people changed by hand (kubectl and its commands but `apply`; k9s, browsers, consoles) over what the release
    /// says: the plan tells who, when and what. What the two revisions say differently is written.
    #[arg(long, hide_short_help = true)]
    pub no_remove_manual_changes: bool,
    #[command(flatten)]
    pub hooks: HookArgs,
    #[command(flatten)]
    pub place: ReleasePlaceArgs,
    #[command(flatten)]
    pub run: TakeBackArgs,
    #[command(flatten)]
    pub report: DeployReportArgs,
}

/// `dismiss`.
#[derive(Debug, Args)]
pub struct DismissArgs {
    /// The release; that of the project by default.
    #[arg(value_name = "NAME", conflicts_with = "release")]
    pub name: Option<String>,
    /// Deletes the namespace of the release too, with all that is in it.
    #[arg(long)]
    pub with_namespace: bool,
    /// Deletes what hooks left too; `--with-hooks=false` leaves it.
    #[arg(
        long,
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub with_hooks: bool,
    /// The release, where its name is no argument.
    #[arg(long, value_name = "NAME")]
    pub release: Option<String>,
    #[command(flatten)]
    pub place: ReleasePlaceArgs,
    #[command(flatten)]
    pub run: TakeBackArgs,
    #[command(flatten)]
    pub report: DeployReportArgs,
}

/// Where a release is.
#[derive(Clone, Debug, Default, Args)]
pub struct ReleasePlaceArgs {
    /// The namespace of the release; that of the project by default, or where a release of this name is.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    #[command(flatten)]
    pub kube: KubeArgs,
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// How a plan that takes a release back is carried out.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Run options")]
pub struct TakeBackArgs {
    /// Does not ask.
    #[arg(long)]
    pub auto_approve: bool,
    /// Shows the plan and saves it for `apply`; changes nothing.
    #[arg(long, value_name = "FILE")]
    pub out: Option<String>,
    /// Operations at once; requests to a cluster are not counted, unless it is 1.
    #[arg(short, long, default_value_t = 5, value_name = "N", hide_short_help = true)]
    pub parallel_tasks_limit: usize,
    /// Ends the run after so long, seconds or `5m`: nothing new is begun, and what is not ready has failed; 0: never.
    #[arg(long, default_value_t = 0, value_name = "DURATION", value_parser = crate::cli::seconds::read_seconds)]
    pub timeout: u64,
    /// How long a lock of the release that somebody else holds is waited for; 0: not at all.
    #[arg(long, default_value_t = 300, value_name = "DURATION", value_parser = crate::cli::seconds::read_seconds, hide_short_help = true)]
    pub lock_timeout: u64,
    /// Ends when all is written, ready or not.
    #[arg(long)]
    pub no_wait: bool,
    /// Where a report of the deploy is saved; an option of commands that take a release back, see [`DeployReportArgs`].
    #[arg(skip)]
    pub deploy_report: Option<String>,
    /// Format of the outcome.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: RunFormat,
}

impl TakeBackArgs {
    /// Returns them as options of any run.
    pub fn run_args(&self) -> RunArgs {
        RunArgs {
            auto_approve: self.auto_approve,
            parallel_tasks_limit: self.parallel_tasks_limit,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
            no_wait: self.no_wait,
            deploy_report: self.deploy_report.clone(),
            output: self.output,
            ..RunArgs::default()
        }
    }
}
