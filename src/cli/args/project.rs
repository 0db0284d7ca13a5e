//! Options that say which project is read, how, and where it goes.

use clap::{Args, ValueEnum};

use crate::plan::StageSelection;

/// Which project is read, and how.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Project options")]
pub struct ProjectArgs {
    /// The configuration, relative to the project's directory; `werf.yaml` by default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
    /// Folder of the configuration's templates; `.werf` by default.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub config_templates_dir: Option<String>,
    /// The giterminism rules; `werf-giterminism.yaml` by default.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub giterminism_config: Option<String>,
    /// The environment.
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Reads uncommitted files too.
    #[arg(long)]
    pub dev: bool,
    /// Relaxes the rule that everything comes from the commit.
    #[arg(long)]
    pub loose_giterminism: bool,
    /// Takes what the branches of includes are now, not what their lock says; needs a rule of giterminism.
    #[arg(long, hide_short_help = true)]
    pub allow_includes_update: bool,
}

/// Where images are stored and who builds them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Image options")]
pub struct BuildArgs {
    /// The stage store: `HOST[:PORT]/PATH` in a registry, `docker:NAME`, or `oci:DIR`; `oci:.stagewright/store` by default.
    #[arg(long, value_name = "URI")]
    pub repo: Option<String>,
    /// Copies final images to this repository too, and names them by it where they are deployed.
    #[arg(long, value_name = "URI")]
    pub final_repo: Option<String>,
    /// A stage store that is only read: what is found there is not built, but copied; may be repeated.
    #[arg(long, value_name = "URI")]
    pub secondary_repo: Vec<String>,
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The builder: `native`, or `docker` (the engine of `DOCKER_HOST`); `native` by default.
    #[arg(long, value_name = "NAME")]
    pub builder: Option<String>,
    #[command(flatten)]
    pub tags: TagArgs,
    /// Names the images by this tag instead of their signatures; needs the rule `cli.allowCustomTags`.
    #[arg(long, value_name = "TAG")]
    pub use_custom_tag: Option<String>,
    /// Which stored builds of a stage may be used that holds files of git mappings.
    #[arg(long, value_enum, default_value_t, value_name = "RULE", hide_short_help = true)]
    pub stage_selection: StageSelectionArg,
    /// Builds all images for these platforms, whatever `werf.yaml` says; may be repeated, or a list with commas.
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub platform: Vec<String>,
}

/// Which tags images get besides their content-based one.
#[derive(Clone, Debug, Default, Args)]
pub struct TagArgs {
    /// A further tag for every image, with `%image_slug%` where there are several; may be repeated.
    #[arg(long, visible_alias = "tag-custom", value_name = "TAG")]
    pub add_custom_tag: Vec<String>,
    /// A further tag `IMAGE-BRANCH`.
    #[arg(long, value_name = "BRANCH", hide_short_help = true)]
    pub tag_git_branch: Option<String>,
    /// A further tag `IMAGE-TAG`.
    #[arg(long, value_name = "TAG", hide_short_help = true)]
    pub tag_git_tag: Option<String>,
    /// A further tag `IMAGE-COMMIT`.
    #[arg(long, value_name = "COMMIT", hide_short_help = true)]
    pub tag_git_commit: Option<String>,
}

/// How registries are reached.
#[derive(Clone, Debug, Default, Args)]
pub struct RegistryArgs {
    /// Speaks without TLS to registries that have none, and trusts any certificate.
    #[arg(long, hide_short_help = true)]
    pub insecure_registry: bool,
    /// Trusts any certificate of a registry.
    #[arg(long, hide_short_help = true)]
    pub skip_tls_verify_registry: bool,
    /// A registry that is asked for images of docker.io first; may be repeated.
    #[arg(long, value_name = "HOST", hide_short_help = true)]
    pub container_registry_mirror: Vec<String>,
    /// The most that cached blobs take on this machine when a run is over, and unpacked layers the same: what was not
    /// used for longest goes first; 20GB by default.
    #[arg(long, value_name = "SIZE", value_parser = crate::cli::sizes::read_size, hide_short_help = true)]
    pub cache_limit: Option<u64>,
}

/// Where resources go.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Release options")]
pub struct DeployArgs {
    /// The target: `dir:PATH`, or `cluster`; `dir:.stagewright/manifests` by default.
    #[arg(long, value_name = "URI")]
    pub target: Option<String>,
    #[command(flatten)]
    pub kube: KubeArgs,
    /// The release.
    #[arg(long, value_name = "NAME")]
    pub release: Option<String>,
    /// Its namespace.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Makes objects that are in the cluster already a part of the release, whoever they belong to.
    #[arg(long, visible_alias = "take-ownership", hide_short_help = true)]
    pub force_adoption: bool,
    /// Takes fields over that others set, whoever they are: for those who set them no more.
    #[arg(long, hide_short_help = true)]
    pub force_conflicts: bool,
    /// Leaves fields to controllers and others that set them over what the chart says.
    #[arg(long, hide_short_help = true, conflicts_with = "force_conflicts")]
    pub yield_conflicts: bool,
    /// Keeps what people changed by hand (kubectl and its commands but `apply`; k9s, browsers, consoles) over what the chart
    /// says: the plan tells who, when and what. What the chart changes in this release wins.
    #[arg(long, hide_short_help = true)]
    pub no_remove_manual_changes: bool,
    /// Adds an annotation to every resource of the chart and every hook; may be repeated. Those of the run (`ci.werf.io/…`,
    /// `project.werf.io/…`) are left out.
    #[arg(long, value_name = "KEY=VALUE", hide_short_help = true)]
    pub add_annotation: Vec<String>,
    /// Adds a label to every resource of the chart and every hook; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", hide_short_help = true)]
    pub add_label: Vec<String>,
    #[command(flatten)]
    pub secrets: SecretArgs,
}

/// Values that are encrypted.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Secrets")]
pub struct SecretArgs {
    /// A file of encrypted values, over those of the chart; may be repeated, later ones win.
    #[arg(long, value_name = "FILE")]
    pub secret_values: Vec<String>,
    /// Takes encrypted values as they are: no key is needed, and templates see encrypted texts.
    #[arg(long, hide_short_help = true)]
    pub ignore_secret_key: bool,
}

/// Which cluster is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct KubeArgs {
    /// The context of the kubeconfig; the current one by default.
    #[arg(long, value_name = "NAME")]
    pub kube_context: Option<String>,
    /// Kubeconfigs, separated as in `PATH`; those of `KUBECONFIG`, or `~/.kube/config`, by default.
    #[arg(long, visible_alias = "kubeconfig", value_name = "FILE")]
    pub kube_config: Option<String>,
    /// A kubeconfig itself, in base64; best as a variable of the environment.
    #[arg(long, visible_alias = "kubeconfig-base64", value_name = "TEXT", hide_short_help = true)]
    pub kube_config_base64: Option<String>,
    /// How long a request to the API server that fails for a while is tried again, 60 by default; webhooks that do not
    /// answer are waited for four times as long.
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::seconds::read_seconds, hide_short_help = true)]
    pub kube_retry_time: Option<u64>,
    /// How many requests a second are sent to the API server; 0: as many as it takes, for it says itself when there are too
    /// many.
    #[arg(long, default_value_t = 0, value_name = "N", hide_short_help = true)]
    pub kube_qps_limit: u32,
    /// How many requests are sent at once before the limit counts; as many as in a second by default.
    #[arg(long, default_value_t = 0, value_name = "N", hide_short_help = true)]
    pub kube_burst_limit: u32,
    #[command(flatten)]
    pub records: RecordArgs,
}

/// How the records of releases are kept in a cluster.
#[derive(Clone, Debug, Default, Args)]
pub struct RecordArgs {
    /// What holds the records of releases; that of `HELM_DRIVER`, or `secret`, by default.
    #[arg(long, value_enum, value_name = "KIND", hide_short_help = true)]
    pub release_driver: Option<ReleaseDriver>,
    /// How many revisions of a release are kept; 0: all.
    #[arg(long, default_value_t = 10, value_name = "N", hide_short_help = true)]
    pub releases_history_max: usize,
}

/// `--release-driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReleaseDriver {
    /// Secrets.
    #[value(alias = "secrets")]
    Secret,
    /// `ConfigMaps`: whoever may read them reads the Secrets of the release.
    #[value(alias = "configmaps")]
    Configmap,
}

/// `--stage-selection`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum StageSelectionArg {
    /// Those built from this commit or one behind it, and those built from the same files.
    #[default]
    Either,
    /// Those built from this commit or one behind it.
    Ancestry,
    /// Those built from the same files; the history is not asked.
    Content,
}

impl From<StageSelectionArg> for StageSelection {
    fn from(rule: StageSelectionArg) -> Self {
        match rule {
            StageSelectionArg::Either => Self::Either,
            StageSelectionArg::Ancestry => Self::Ancestry,
            StageSelectionArg::Content => Self::Content,
        }
    }
}
