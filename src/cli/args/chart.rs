//! Options of rendering a chart, as in Helm.

use clap::Args;

use super::output::OriginsFormat;

/// What a chart sees of the cluster.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Chart options")]
pub struct ChartArgs {
    /// The Kubernetes version that the chart sees.
    #[arg(long, value_name = "VERSION")]
    pub kube_version: Option<String>,
    /// A further API version that the chart sees; may be repeated, and hold several with commas.
    #[arg(short, long, value_name = "API", value_delimiter = ',')]
    pub api_versions: Vec<String>,
    /// Manifests that `lookup` finds, in a file or a folder; may be repeated. Without it `lookup` finds nothing.
    #[arg(long, value_name = "PATH")]
    pub lookup_resources: Vec<String>,
}

/// Which part of a rendering is printed.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Chart options")]
pub struct PrintArgs {
    /// Leaves hooks out.
    #[arg(long)]
    pub no_hooks: bool,
    /// Leaves test hooks out.
    #[arg(long)]
    pub skip_tests: bool,
    /// Prints only the manifests of this template; may be repeated.
    #[arg(short, long, value_name = "TEMPLATE", value_delimiter = ',')]
    pub show_only: Vec<String>,
    /// Sets `.Release.IsUpgrade` instead of `.Release.IsInstall`.
    #[arg(long)]
    pub is_upgrade: bool,
}

/// Whether lines say where they come from.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Chart options")]
pub struct OriginsArgs {
    /// Tells for each line the template line, the calls and the line of values that it comes from.
    #[arg(long)]
    pub origins: bool,
    /// Format of `--origins`.
    #[arg(
        short = 'o',
        long = "origins-format",
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        requires = "origins"
    )]
    pub origins_format: OriginsFormat,
}
