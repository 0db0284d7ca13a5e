//! Options of fetching charts, as in Helm.

use clap::{Args, Subcommand};

/// How servers of charts are reached.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Options of fetching charts")]
pub struct FetchArgs {
    /// User for the repository or registry.
    #[arg(long, value_name = "USER")]
    pub username: Option<String>,
    /// Password for the repository or registry; better given as `STAGEWRIGHT_PASSWORD`.
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Trusts the certificates in this file too.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Shows this certificate to the repository.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<String>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<String>,
    /// Trusts any certificate.
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// Speaks to registries without TLS.
    #[arg(long)]
    pub plain_http: bool,
    /// Names of repositories: a file as `helm repo add` writes it; Helm's own by default.
    #[arg(long, value_name = "FILE")]
    pub repository_config: Option<String>,
    /// Credentials for registries: a file as `helm registry login` writes it; Helm's own by default, then Docker's.
    #[arg(long, value_name = "FILE")]
    pub registry_config: Option<String>,
}

impl std::fmt::Debug for FetchArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchArgs").field("username", &self.username).finish_non_exhaustive()
    }
}

/// `chart`.
#[derive(Debug, Subcommand)]
pub enum ChartCommand {
    /// Fetches and lists the charts that a chart depends on.
    #[command(subcommand, visible_alias = "dep", alias = "dependencies")]
    Dependency(DependencyCommand),
}

/// `chart dependency`.
#[derive(Debug, Subcommand)]
pub enum DependencyCommand {
    /// Fetches what the lock names into charts/; without a lock, as `update`.
    Build(DependencyArgs),
    /// Chooses the newest versions in the declared ranges, fetches them into charts/, and writes the lock.
    #[command(visible_alias = "up")]
    Update(DependencyArgs),
    /// Lists what is declared, and whether it is there.
    #[command(visible_alias = "ls")]
    List(DependencyListArgs),
}

/// `chart dependency build`, `chart dependency update`.
#[derive(Debug, Args)]
pub struct DependencyArgs {
    /// Folder of the chart.
    #[arg(value_name = "CHART", default_value = ".")]
    pub chart: String,
    /// Helm's: an index is read only where a version is looked for, so there is nothing to skip.
    #[arg(long, hide = true)]
    pub skip_refresh: bool,
    #[command(flatten)]
    pub fetch: FetchArgs,
}

/// `chart dependency list`.
#[derive(Debug, Args)]
pub struct DependencyListArgs {
    /// Folder or archive of the chart.
    #[arg(value_name = "CHART", default_value = ".")]
    pub chart: String,
    /// Cuts longer texts off. Unit: columns.
    #[arg(long, value_name = "COLUMNS", default_value_t = 80)]
    pub max_col_width: usize,
}
