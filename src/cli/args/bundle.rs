//! `bundle`.

use clap::{Args, Subcommand};

use super::{
    AllowedRisk, BuildArgs, ChartArgs, DeployArgs, DeployReportArgs, HookArgs, JsonnetArgs, PlanFormat, PrintArgs,
    ProjectArgs, RegistryArgs, RunArgs, SecretArgs, ValuesArgs,
};

/// `bundle`.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Builds and stores the images, and pushes the chart with its values as a bundle to REPO:TAG: an OCI chart, which Helm
    /// takes too. Secret values stay encrypted in it; values that are given here are in it as they are.
    Publish(BundlePublishArgs),
    /// Shows everything that a bundle would change, and why; changes nothing. No git and no werf.yaml is needed.
    Plan(BundlePlanArgs),
    /// Plans a bundle, shows the plan, asks, and carries it out.
    #[command(visible_alias = "install")]
    Apply(BundleApplyArgs),
    /// Prints the manifests of a bundle.
    Render(BundleRenderArgs),
    /// Copies a bundle and its images, and names the images by where they are then.
    Copy(BundleCopyArgs),
}

/// Which bundle is read.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Bundle options")]
pub struct BundleSourceArgs {
    /// The repository of the bundle: `HOST[:PORT]/PATH`, or `oci:DIR`.
    #[arg(long, value_name = "URI")]
    pub repo: Option<String>,
    /// Its tag.
    #[arg(long, default_value = "latest", value_name = "TAG")]
    pub tag: String,
    /// The environment; that of the publication by default.
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Hides options of a run that have no effect where nothing is asked and nothing is deployed.
fn without_idle(arg: clap::Arg) -> clap::Arg {
    let is_idle = ["auto_approve", "no_wait", "lock_timeout"].contains(&arg.get_id().as_str());
    if is_idle { arg.hide(true) } else { arg }
}

/// `bundle publish`. It asks nothing and deploys nothing.
#[derive(Debug, Args)]
#[command(mut_args(without_idle))]
pub struct BundlePublishArgs {
    /// The tag of the bundle; the version of the chart too, where it is one.
    #[arg(long, default_value = "latest", value_name = "TAG")]
    pub tag: String,
    /// Adds an annotation to every resource of the chart and every hook, where the bundle is applied; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", hide_short_help = true)]
    pub add_annotation: Vec<String>,
    /// Adds a label to every resource of the chart and every hook, where the bundle is applied; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", hide_short_help = true)]
    pub add_label: Vec<String>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
    #[command(flatten)]
    pub secrets: SecretArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
}

/// `bundle plan`.
#[derive(Debug, Args)]
pub struct BundlePlanArgs {
    /// Saves the plan for `apply`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<String>,
    /// Exits with 2 when there are changes, with 3 when only the release record would change.
    #[arg(long, visible_alias = "detailed-exitcode")]
    pub exit_code: bool,
    /// Format of the plan.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: PlanFormat,
    #[command(flatten)]
    pub source: BundleSourceArgs,
    #[command(flatten)]
    pub deploy: DeployArgs,
    #[command(flatten)]
    pub hooks: HookArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub jsonnet: JsonnetArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
}

/// `bundle apply`.
#[derive(Debug, Args)]
pub struct BundleApplyArgs {
    /// Goes on where an interrupted apply of the same plan stopped.
    #[arg(long)]
    pub resume: bool,
    /// After a failure rolls the release back to what was deployed last.
    #[arg(short = 'R', long, visible_alias = "atomic")]
    pub auto_rollback: bool,
    /// Lets a plan that nobody looked at (`--auto-approve`) do what a review would have to allow.
    #[arg(long, value_enum, value_name = "RISK")]
    pub allow: Vec<AllowedRisk>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub report: DeployReportArgs,
    #[command(flatten)]
    pub source: BundleSourceArgs,
    #[command(flatten)]
    pub deploy: DeployArgs,
    #[command(flatten)]
    pub hooks: HookArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub jsonnet: JsonnetArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
}

/// `bundle render`.
#[derive(Debug, Args)]
pub struct BundleRenderArgs {
    /// Writes the manifests to this file.
    #[arg(long, value_name = "FILE")]
    pub output: Option<String>,
    #[command(flatten)]
    pub source: BundleSourceArgs,
    #[command(flatten)]
    pub deploy: DeployArgs,
    #[command(flatten)]
    pub print: PrintArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub jsonnet: JsonnetArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
}

/// `bundle copy`.
#[derive(Debug, Args)]
pub struct BundleCopyArgs {
    /// The bundle: `REPO:TAG`, `oci:DIR:TAG`, or `archive:FILE.tar.gz`, which a copy has made.
    #[arg(long, value_name = "REF")]
    pub from: String,
    /// Where the copy goes: `REPO:TAG`, `oci:DIR:TAG`, or `archive:FILE.tar.gz`; in a folder and in an archive the images
    /// keep the names that they have.
    #[arg(long, value_name = "REF")]
    pub to: String,
    #[command(flatten)]
    pub registry: RegistryArgs,
}
