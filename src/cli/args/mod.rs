//! What was typed: one file per group of options, one struct per command.

mod bundle;
mod chart;
mod fetch;
mod global;
mod includes;
mod jsonnet;
mod output;
mod project;
mod release;
mod run;
mod secret;
mod values;

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::diag::did_you_mean;

pub use bundle::{
    BundleApplyArgs, BundleCommand, BundleCopyArgs, BundlePlanArgs, BundlePublishArgs, BundleRenderArgs,
    BundleSourceArgs,
};
pub use chart::{ChartArgs, OriginsArgs, PrintArgs};
pub use fetch::{ChartCommand, DependencyArgs, DependencyCommand, DependencyListArgs, FetchArgs};
pub use global::{ColorMode, GlobalArgs};
pub use includes::{IncludesCommand, IncludesGetArgs, IncludesListArgs, IncludesUpdateArgs};
pub use jsonnet::JsonnetArgs;
pub use output::{ConfigFormat, GraphFormat, LintFormat, OriginsFormat, PlanFormat, RecordFormat, RunFormat};
pub use project::{BuildArgs, DeployArgs, KubeArgs, ProjectArgs, RegistryArgs, ReleaseDriver, SecretArgs, TagArgs};
pub use release::{
    DismissArgs, ReleaseCommand, ReleaseGetArgs, ReleaseHistoryArgs, ReleaseListArgs, ReleasePart, ReleasePlaceArgs,
    ReleaseRollbackArgs, TakeBackArgs,
};
pub use run::{DeployReportArgs, HookArgs, RunArgs};
pub use secret::{SecretCommand, SecretEditArgs, SecretFileArgs, SecretRotateArgs};
pub use values::{ExplainValuesArgs, NullsProfile, ValuesArgs};

/// Compiles werf.yaml, Dockerfiles and charts to one exact plan, shows it, and carries it out.
#[derive(Debug, Parser)]
#[command(name = "stagewright", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows everything that would happen, and why; changes nothing.
    Plan(PlanArgs),
    /// Carries out a saved plan; or makes one, shows it, asks, and carries it out: `--target cluster` deploys to a cluster,
    /// without a target manifests are written to a folder.
    #[command(visible_aliases = ["converge", "deploy"])]
    Apply(ApplyArgs),
    /// Prints a saved plan.
    Show(ShowArgs),
    /// Lists releases in a cluster, prints what is recorded of them, and rolls them back.
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Plans to delete a release from a cluster, shows the plan, asks, and carries it out.
    #[command(visible_alias = "uninstall")]
    Dismiss(DismissArgs),
    /// Tells the cause of a rebuild, a new tag or a changed resource.
    Why(WhyArgs),
    /// Checks everything that can be checked without a cluster.
    Lint(LintArgs),
    /// Prints the manifests of the project.
    Render(RenderArgs),
    /// Prints the manifests of a chart, as `helm template` does.
    Template(TemplateArgs),
    /// Fetches and lists what charts depend on.
    #[command(subcommand)]
    Chart(ChartCommand),
    /// Prints images, stages and resources and what needs what.
    Graph(GraphArgs),
    /// Shows the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Fixes, lists and prints files of other repositories that the project includes.
    #[command(subcommand)]
    Includes(IncludesCommand),
    /// Tells what a diagnostic's rule means.
    Explain(ExplainArgs),
    /// Builds and stores the images.
    Build(BuildCommandArgs),
    /// Builds and stores the images in a repository that is named.
    Publish(BuildCommandArgs),
    /// Publishes the chart with its values and images as a bundle, deploys and copies bundles: without git and werf.yaml.
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Builds an image where it is not stored, and runs it.
    Run(RunImageArgs),
    /// Builds images, and stores copies of them elsewhere, with nothing of ours in them.
    Export(ExportArgs),
    /// Copies stages and images between stage stores.
    #[command(subcommand)]
    Stages(StagesCommand),
    /// Shows and empties what this machine keeps for later runs.
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Encrypts, decrypts and edits secret values and files.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Prints a completion script.
    Completion(CompletionArgs),
    /// Is not there yet.
    #[command(hide = true)]
    CiEnv(CiEnvArgs),
}

/// `ci-env`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct CiEnvArgs {
    /// Whatever werf takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub arguments: Vec<String>,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Images to plan, by their names in werf.yaml; all by default, and then the release too.
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
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
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
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
    #[command(flatten)]
    pub explain: ExplainValuesArgs,
}

/// A risk that is taken knowingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AllowedRisk {
    /// What resources hold is lost with them: volume claims, definitions and namespaces that go.
    DataLoss,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A plan that `plan --out` saved.
    #[arg(value_name = "PLAN")]
    pub plan: Option<String>,
    /// Goes on where an interrupted apply of the same plan stopped.
    #[arg(long)]
    pub resume: bool,
    /// After a failure rolls the release back to what was deployed last.
    #[arg(short = 'R', long, visible_alias = "atomic")]
    pub auto_rollback: bool,
    /// Lets a plan that nobody looked at (`--auto-approve`) do what a review would have to allow.
    #[arg(long, value_enum, value_name = "RISK")]
    pub allow: Vec<AllowedRisk>,
    /// What becomes of a saved plan that is stale.
    #[arg(long, value_enum, default_value_t, value_name = "CHOICE")]
    pub stale: StaleChoice,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub report: DeployReportArgs,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
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

/// `--stale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StaleChoice {
    /// Stops with exit code 4.
    #[default]
    Refuse,
    /// Plans again what its file holds, and goes on where that does exactly what was approved.
    ReplanIfEqual,
}

/// `build`.
#[derive(Debug, Args)]
pub struct BuildCommandArgs {
    /// Images to build, by their names in werf.yaml; all by default.
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunImageArgs {
    /// The image, by its name in werf.yaml; needed where there are several.
    #[arg(value_name = "IMAGE")]
    pub image: Option<String>,
    /// The command and its arguments, in place of the image's command.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Runs `/bin/sh` in place of the image's entry point.
    #[arg(long, conflicts_with = "bash")]
    pub shell: bool,
    /// Runs `/bin/bash` in place of the image's entry point.
    #[arg(long)]
    pub bash: bool,
    /// Options of `docker run`, for every builder: `-e`, `-v`, `-w`, `-u`, `--entrypoint`, `--network`, `-i`, `-t`, `--rm`.
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub docker_options: Option<String>,
    /// Runs what a build report names (see `--build-report-path`); nothing is planned or built.
    #[arg(long)]
    pub use_build_report: bool,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Images to export, by their names in werf.yaml; all final ones by default.
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    /// The name of the copy: `HOST[:PORT]/PATH:TAG`, `docker:NAME:TAG` or `oci:DIR:TAG`; with `%image%`, `%image_slug%`,
    /// `%image_safe_slug%` or `%image_content_based_tag%` where there are several images.
    #[arg(long, value_name = "REF")]
    pub tag: String,
    /// A label of the copy; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub add_label: Vec<String>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
}

/// `stages`.
#[derive(Debug, Subcommand)]
pub enum StagesCommand {
    /// Copies the stages of this commit's images, and the images, to another stage store.
    Copy(StagesCopyArgs),
}

/// `stages copy`.
#[derive(Debug, Args)]
pub struct StagesCopyArgs {
    /// Images to copy, by their names in werf.yaml; all by default.
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    /// The stage store that is read; that of `--repo` by default.
    #[arg(long, value_name = "URI")]
    pub from: Option<String>,
    /// The stage store that is written to.
    #[arg(long, value_name = "URI")]
    pub to: String,
    /// Copies every stage and image, not only those of this commit.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
}

/// `cache`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Lists what is kept, and how large it is.
    List,
    /// Removes what no running build needs.
    Clear,
}

/// `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A plan that `plan --out` saved.
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// Format of the plan.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: PlanFormat,
}

/// `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// `IMAGE`, `IMAGE/STAGE` or `KIND/NAME`.
    #[arg(value_name = "SUBJECT")]
    pub subject: String,
    /// Compares with this commit instead of with what was stored or applied last.
    #[arg(long, value_name = "REV")]
    pub since: Option<String>,
    /// Format of the answer.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ConfigFormat,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
    #[command(flatten)]
    pub deploy: DeployArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub jsonnet: JsonnetArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
}

/// `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Files and folders whose findings are shown; all by default.
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Format of the findings.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: LintFormat,
    /// Sets the severity of a rule: `off`, `note`, `warning` or `error`; may be repeated.
    #[arg(long, value_name = "RULE=SEVERITY")]
    pub rule: Vec<String>,
    /// Mends what can be mended safely, in the files of the work tree.
    #[arg(long)]
    pub fix: bool,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
    #[command(flatten)]
    pub deploy: DeployArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub jsonnet: JsonnetArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
}

/// `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub origins: OriginsArgs,
    /// Writes the manifests to this file.
    #[arg(long, value_name = "FILE")]
    pub output: Option<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
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
    #[command(flatten)]
    pub explain: ExplainValuesArgs,
}

/// `template`.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// Release name, and the chart: a folder, an archive, `oci://…`, the URL of an archive, or a name in `--repo`;
    /// the chart alone renders the release `release-name`.
    #[arg(value_name = "[NAME] CHART", required = true, num_args = 1..=2)]
    pub name_and_chart: Vec<String>,
    /// Namespace of the release.
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Names the release by its chart and a number.
    #[arg(short, long)]
    pub generate_name: bool,
    /// Prints the custom resource definitions of the chart too.
    #[arg(long)]
    pub include_crds: bool,
    /// Does not check values against the chart's schema.
    #[arg(long)]
    pub skip_schema_validation: bool,
    /// The Helm to render as.
    #[arg(long, value_enum, default_value_t, value_name = "VERSION")]
    pub helm_version: HelmVersion,
    /// Looks for the chart in this repository.
    #[arg(long = "repo", id = "chart_repository", value_name = "URL")]
    pub repo: Option<String>,
    /// Version of a chart that is fetched, or a range; the newest by default.
    #[arg(long = "version", id = "chart_version", value_name = "RANGE")]
    pub version: Option<String>,
    /// Takes versions that are not final too, where no version is given.
    #[arg(long)]
    pub devel: bool,
    /// Fetches missing dependencies into charts/ first.
    #[arg(long)]
    pub dependency_update: bool,
    /// Gives the manifests (hooks left out, as in Helm 3) to this program, and prints what it prints.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "origins")]
    pub post_renderer: Option<String>,
    /// An argument of that program; may be repeated.
    #[arg(long, value_name = "ARGUMENT", requires = "post_renderer", allow_hyphen_values = true)]
    pub post_renderer_args: Vec<String>,
    #[command(flatten)]
    pub fetch: FetchArgs,
    #[command(flatten)]
    pub origins: OriginsArgs,
    #[command(flatten)]
    pub print: PrintArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
    #[command(flatten)]
    pub explain: ExplainValuesArgs,
}

/// A generation of Helm.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum HelmVersion {
    /// Helm 3.20.
    #[default]
    #[value(name = "3")]
    V3,
    /// Helm 4.1.
    #[value(name = "4")]
    V4,
}

/// `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Format of the graph.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: GraphFormat,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
    #[command(flatten)]
    pub deploy: DeployArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub jsonnet: JsonnetArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
}

/// `config`.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one of them is made, once")]
pub enum ConfigCommand {
    /// Prints werf.yaml after templating.
    Render(ConfigArgs),
    /// Lists the images.
    List(ConfigListArgs),
    /// Tells every setting that is in force, and where it comes from.
    Explain(ConfigExplainArgs),
    /// Prints which image needs which.
    Graph(ConfigGraphArgs),
}

/// `config explain`.
#[derive(Debug, Args)]
pub struct ConfigExplainArgs {
    /// Format of the settings.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ConfigFormat,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub build: BuildArgs,
    #[command(flatten)]
    pub deploy: DeployArgs,
    #[command(flatten)]
    pub chart: ChartArgs,
    #[command(flatten)]
    pub jsonnet: JsonnetArgs,
    #[command(flatten)]
    pub values: ValuesArgs,
}

/// `config graph`.
#[derive(Debug, Args)]
pub struct ConfigGraphArgs {
    /// Format of the graph.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: GraphFormat,
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `config render`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `config list`.
#[derive(Debug, Args)]
pub struct ConfigListArgs {
    /// Format of the list.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ConfigFormat,
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Name of the rule, as a diagnostic shows it; all rules by default.
    #[arg(value_name = "RULE")]
    pub rule: Option<String>,
}

/// `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Returns the command line as clap knows it. A repeated option takes the last value, as in werf and Helm.
pub fn command() -> &'static clap::Command {
    fn last_wins(command: clap::Command) -> clap::Command {
        command.args_override_self(true).mut_subcommands(last_wins)
    }
    // All options of all commands are many, and several ask for them in every run.
    static COMMAND: LazyLock<clap::Command> = LazyLock::new(|| last_wins(Cli::command()));
    &COMMAND
}

/// Reads a command line; its first word is the program.
///
/// # Errors
/// It is not a command line of ours, or it asks for help or the version.
pub fn parse(line: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().clone().try_get_matches_from(line).map_err(|error| with_near_option(error, line))?;
    Cli::from_arg_matches(&matches)
}

/// Names the option that an unknown one is near to, where clap sees none: letters that changed places.
fn with_near_option(mut error: clap::Error, line: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else { return error };
    if error.kind() != ErrorKind::UnknownArgument || error.get(ContextKind::SuggestedArg).is_some() {
        return error;
    }
    let mut options = Vec::new();
    let mut named = Some(command());
    let mut words = line.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(here) = named {
        options.extend(here.get_arguments().filter(|a| !a.is_hide_set()).filter_map(|a| a.get_long()));
        named = words.find_map(|word| here.find_subcommand(word));
    }
    let near = typed.strip_prefix("--").and_then(|typed| did_you_mean(typed, options));
    if let Some(near) = near.map(|near| format!("--{near}")) {
        error.remove(ContextKind::Suggested);
        error.insert(ContextKind::SuggestedArg, ContextValue::String(near));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Cli {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().clone().debug_assert();
    }

    #[test]
    fn options_stand_before_or_after_the_command_and_the_last_one_wins() {
        let cli = parsed("stagewright --dir a plan --dir b web --exit-code --env x --env y -o json");
        assert_eq!(cli.global.dir.as_deref(), Some("b"));
        let Command::Plan(plan) = cli.command else { panic!("not a plan") };
        assert!(plan.exit_code && plan.output == PlanFormat::Json);
        assert_eq!((plan.images, plan.project.env.as_deref()), (vec!["web".into()], Some("y")));
    }

    #[test]
    fn an_option_that_is_nearly_one_names_it() {
        let told = |line: &str| {
            parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>()).unwrap_err().to_string()
        };
        let text = told("stagewright plan --evn dev");
        assert!(text.contains("'--env'") && !text.contains("-- --evn"), "{text}");
        let text = told("stagewright --dir x plan --zzzzzz");
        assert!(!text.contains("a similar argument"), "{text}");
    }

    #[test]
    fn values_keep_their_order_and_their_commas() {
        let cli = parsed("stagewright template web ./chart -f a.yaml -f b.yaml --set a=1,b=2 --set c={1,2} -s x.yaml");
        let Command::Template(template) = cli.command else { panic!("not a template") };
        assert_eq!(template.name_and_chart, ["web", "./chart"]);
        assert_eq!(template.values.values, ["a.yaml", "b.yaml"]);
        assert_eq!(template.values.set, ["a=1,b=2", "c={1,2}"]);
        assert_eq!(template.print.show_only, ["x.yaml"]);
    }

    #[test]
    fn help_of_every_command_names_its_options() {
        fn walk(command: &mut clap::Command, all: &mut String) {
            *all += &command.render_long_help().to_string();
            let names: Vec<String> = command.get_subcommands().map(|s| s.get_name().to_owned()).collect();
            for name in names {
                walk(command.find_subcommand_mut(&name).unwrap(), all);
            }
        }
        let mut help = String::new();
        let mut command = command().clone();
        command.build();
        walk(&mut command, &mut help);
        for flag in ["--auto-approve", "--set-string", "--loose-giterminism", "--kube-version", "--builder", "--resume"]
        {
            assert!(help.contains(flag), "{flag} is not in any help");
        }
    }
}
