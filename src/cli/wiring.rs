//! The ports of a run, made from URIs. Only this file knows which back ends there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

#[cfg(feature = "cluster")]
use super::args::ReleaseDriver;
use super::args::{BuildArgs, DeployArgs, GlobalArgs, KubeArgs, RegistryArgs};
use super::charts::{cache_dir, docker_credentials};
use super::error::CliError;
use super::project::now;
use super::streams::Invocation;
use crate::backend::manifest_folder::ManifestFolder;
use crate::backend::{
    CredentialSource, FileLock, HostAccess, NO_NAMESPACE, NativeBuilder, OciLayout, become_root, cannot_run,
};
use crate::plan::Inputs;
use crate::ports::{Builder, Clock, LayeredStore, Lock, Runner, StageStore, Target};
use crate::stage::Platform;

/// The stage store that is used when none is named.
pub const DEFAULT_REPO: &str = "oci:.stagewright/store";
/// The target that is used when none is named.
pub const DEFAULT_TARGET: &str = "dir:.stagewright/manifests";
/// The builder that is used when none is named.
pub const DEFAULT_BUILDER: &str = "native";

/// How much a cache takes when nobody says otherwise. Unit: bytes.
const CACHE_LIMIT: u64 = 20_000_000_000;

/// How the back ends of a run are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The stage store.
    pub repo: String,
    /// The repository that final images are copied to.
    pub final_repo: Option<String>,
    /// The stage stores that are only read.
    pub secondary_repos: Vec<String>,
    /// The target; absent when nothing is deployed.
    pub target: Option<String>,
    /// The builder.
    pub builder: String,
}

impl Names {
    /// Returns the names that options give; without the options of a release there is no target.
    pub fn of_options(build: &BuildArgs, deploy: Option<&DeployArgs>) -> Self {
        let or = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.to_owned());
        Self {
            repo: or(&build.repo, DEFAULT_REPO),
            final_repo: build.final_repo.clone(),
            secondary_repos: build.secondary_repo.clone(),
            target: deploy.map(|d| or(&d.target, DEFAULT_TARGET)),
            builder: or(&build.builder, DEFAULT_BUILDER),
        }
    }

    /// Returns the names that a plan was made with.
    pub fn of_plan(inputs: &Inputs) -> Self {
        // A plan that builds nothing names neither.
        let or = |name: &String, default: &str| if name.is_empty() { default.to_owned() } else { name.clone() };
        Self {
            repo: or(&inputs.repo, DEFAULT_REPO),
            final_repo: inputs.final_repo.clone(),
            secondary_repos: inputs.secondary_repos.clone(),
            target: inputs.target.clone(),
            builder: or(&inputs.builder, DEFAULT_BUILDER),
        }
    }
}

/// The back ends of a run.
pub struct BackEnds {
    /// The stage store.
    pub store: Box<dyn StageStore>,
    /// The repository that final images are copied to.
    pub final_store: Option<Box<dyn StageStore>>,
    /// The builder.
    pub builder: Box<dyn Builder>,
    /// Whether it runs commands.
    pub runs_commands: bool,
    /// The target; absent when nothing is deployed.
    pub target: Option<Box<dyn Target>>,
    /// What back ends tell while somebody waits for them.
    pub notices: Arc<Notices>,
    /// The locks, where the target keeps none itself.
    pub lock: Box<dyn Lock>,
    /// Where it is kept how long builds take.
    pub durations: PathBuf,
    /// The folders that a run may write to.
    pub folders: Vec<PathBuf>,
}

/// What back ends tell by themselves: on stderr, or to whoever draws there.
#[derive(Default)]
pub struct Notices(RwLock<Option<Listener>>);

/// Takes a line.
type Listener = Arc<dyn Fn(&str) + Send + Sync>;

impl Notices {
    /// Tells a line.
    pub fn tell(&self, text: &str) {
        use std::io::Write as _;
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Some(listener) => listener(text),
            // What cannot be told is not told.
            None => drop(writeln!(std::io::stderr(), "{}", crate::report::harmless(text))),
        }
    }

    /// Says who takes the lines from now on.
    pub fn hand_to(&self, listener: Option<Listener>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = listener;
    }
}

impl BackEnds {
    /// Says why commands for a platform cannot run; an engine knows itself what it can.
    pub fn cannot_run(&self, platform: &Platform) -> Option<String> {
        if self.builder.name() == DEFAULT_BUILDER { cannot_run(platform) } else { None }
    }
}

/// How registries are reached from this machine.
#[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "there is no network"))]
pub struct Reach {
    /// What the options say.
    pub args: RegistryArgs,
    /// Where logins are found.
    pub credentials: Vec<CredentialSource>,
    /// The folder of cached blobs.
    pub cache: Option<PathBuf>,
    /// The folder of what the native builder unpacks.
    pub native: Option<PathBuf>,
    /// Whether each request is told.
    pub debug: bool,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Which cluster is meant.
    pub kube: KubeArgs,
    /// The current folder.
    pub cwd: PathBuf,
}

impl Reach {
    /// Reads options and environment.
    pub fn new(args: &RegistryArgs, global: &GlobalArgs, invocation: &Invocation) -> Self {
        Self {
            args: args.clone(),
            credentials: docker_credentials(&invocation.env),
            cache: cache_dir(&invocation.env, "blobs"),
            native: cache_dir(&invocation.env, "native"),
            debug: global.log_debug,
            env: invocation.env.clone(),
            kube: KubeArgs::default(),
            cwd: invocation.cwd.clone(),
        }
    }

    /// Adds which cluster is meant.
    pub fn with_kube(self, kube: Option<&KubeArgs>) -> Self {
        Self { kube: kube.cloned().unwrap_or_default(), ..self }
    }
}

impl Reach {
    /// The most that a cache takes. Unit: bytes.
    fn cache_limit(&self) -> u64 {
        self.args.cache_limit.unwrap_or(CACHE_LIMIT)
    }
}

/// Makes the back ends. Nothing is written yet.
pub fn wire(names: &Names, project: &Path, reach: &Reach) -> Result<BackEnds, CliError> {
    check_builder(&names.builder)?;
    let (store, dir) = match read_repo("--repo", &names.repo, project)? {
        Repo::Folder(dir) => (folder_store(&dir), dir),
        Repo::Registry(address) => (registry("--repo", &names.repo, &address, reach)?, project.join(".stagewright")),
        Repo::Engine(name) => (engine_store(&name, project, reach)?, project.join(".stagewright")),
    };
    let other = |option: &'static str| move |uri: &String| open_store(option, uri, project, reach);
    let final_store = names.final_repo.as_ref().map(other("--final-repo")).transpose()?;
    let others = names.secondary_repos.iter().map(other("--secondary-repo")).collect::<Result<Vec<_>, _>>()?;
    let store = if others.is_empty() { store } else { Box::new(LayeredStore::new(store, others)) };
    let notices = Arc::new(Notices::default());
    let named = names.target.as_deref().map(|uri| read_target(uri, project)).transpose()?;
    let (target, target_dir): (Option<Box<dyn Target>>, _) = match named {
        Some(TargetName::Folder(dir)) => (Some(Box::new(ManifestFolder::new(&dir))), Some(dir)),
        Some(TargetName::Cluster) => (Some(cluster(reach, &notices)?), None),
        None => (None, None),
    };
    let (builder, runs_commands) = builder(&names.builder, project, reach)?;
    Ok(BackEnds {
        store,
        final_store,
        builder,
        runs_commands,
        target,
        notices,
        lock: Box::new(FileLock::new(dir.join(".stagewright/locks"))),
        durations: dir.join(".stagewright/durations.json"),
        folders: target_dir.into_iter().chain([dir]).collect(),
    })
}

/// Makes the builder, and says whether it runs commands.
fn builder(name: &str, project: &Path, reach: &Reach) -> Result<(Box<dyn Builder>, bool), CliError> {
    if name == "docker" {
        return Ok((Box::new(docker_builder(project, reach)?), true));
    }
    let (builder, runs_commands) = native_builder(project, reach);
    Ok((Box::new(builder), runs_commands))
}

fn native_builder(project: &Path, reach: &Reach) -> (NativeBuilder, bool) {
    let refusal = reach.env.get(NO_NAMESPACE);
    let able = may_run_commands(refusal);
    let runner = reach.native.clone().zip(std::env::current_exe().ok()).filter(|_| able);
    let runs_commands = runner.is_some();
    let host = HostAccess { environment: reach.env.clone(), project: project.to_owned() };
    let builder =
        runner.map(|(cache, program)| NativeBuilder::running(program, cache, Some(reach.cache_limit()), host));
    let unable = || refusal.map_or_else(NativeBuilder::default, |why| NativeBuilder::without_commands(why.clone()));
    (builder.unwrap_or_else(unable), runs_commands)
}

/// Makes what runs images.
pub fn runner(name: &str, project: &Path, reach: &Reach) -> Result<Box<dyn Runner>, CliError> {
    check_builder(name)?;
    #[cfg(feature = "docker")]
    if name == "docker" {
        return Ok(Box::new(docker_builder(project, reach)?));
    }
    Ok(Box::new(native_builder(project, reach).0))
}

#[cfg(feature = "docker")]
fn docker_builder(project: &Path, reach: &Reach) -> Result<crate::backend::DockerBuilder, CliError> {
    use crate::backend::{DockerBuilder, Engine};
    let host = HostAccess { environment: reach.env.clone(), project: project.to_owned() };
    Ok(DockerBuilder::new(Engine::new(engine_address(reach)?), host))
}

#[cfg(feature = "docker")]
fn engine_address(reach: &Reach) -> Result<crate::backend::EngineAddress, CliError> {
    let found = crate::backend::EngineAddress::from_env(&reach.env);
    found.map_err(|e| CliError::environment("find the Docker Engine", e))
}

#[cfg(feature = "docker")]
fn engine_store(name: &str, project: &Path, reach: &Reach) -> Result<Box<dyn StageStore>, CliError> {
    use crate::backend::{DockerStore, Engine};
    let cache = reach.cache.as_ref().map(|blobs| blobs.with_file_name("engine"));
    let cache = cache.unwrap_or_else(|| project.join(".stagewright/engine"));
    Ok(Box::new(DockerStore::new(Engine::new(engine_address(reach)?), name.to_owned(), cache)))
}

#[cfg(not(feature = "docker"))]
fn engine_store(name: &str, _: &Path, _: &Reach) -> Result<Box<dyn StageStore>, CliError> {
    Err(CliError::user(format!("--repo docker:{name}: this build was made without the feature `docker`"))
        .hint("use an OCI image layout on disk: --repo oci:DIR"))
}

#[cfg(not(feature = "docker"))]
fn docker_builder(_: &Path, _: &Reach) -> Result<NativeBuilder, CliError> {
    Err(CliError::user("--builder docker: this build was made without the feature `docker`".to_owned())
        .hint("use the builder that needs no engine: --builder native"))
}

/// Opens the stage store that an option names. Nothing is written yet.
pub fn open_store(option: &str, uri: &str, project: &Path, reach: &Reach) -> Result<Box<dyn StageStore>, CliError> {
    match read_repo(option, uri, project)? {
        Repo::Folder(dir) => Ok(folder_store(&dir)),
        Repo::Registry(address) => registry(option, uri, &address, reach),
        Repo::Engine(name) => engine_store(&name, project, reach),
    }
}

fn folder_store(dir: &Path) -> Box<dyn StageStore> {
    Box::new(OciLayout::new(dir))
}

#[cfg(feature = "registry")]
fn registry(option: &str, uri: &str, address: &str, reach: &Reach) -> Result<Box<dyn StageStore>, CliError> {
    use crate::backend::{RegistryOptions, RegistryStore, Repository, Retry};
    let wrong =
        |why| CliError::user(format!("{option} {uri}: {why}")).hint("or use an OCI image layout on disk: oci:DIR");
    let repository = Repository::parse(address).map_err(wrong)?;
    let tell = |text: &str| {
        use std::io::Write as _;
        // What cannot be told is not told.
        let _ = writeln!(std::io::stderr(), "{text}");
    };
    let options = RegistryOptions {
        insecure: reach.args.insecure_registry,
        skip_tls_verify: reach.args.skip_tls_verify_registry,
        mirrors: reach.args.container_registry_mirror.clone(),
        credentials: reach.credentials.clone(),
        retry: Retry::default(),
        cache_limit: Some(reach.cache_limit()),
        tell: if reach.debug { Some(std::sync::Arc::new(tell)) } else { None },
    };
    let made = RegistryStore::new(repository, options, reach.cache.clone());
    Ok(Box::new(made.map_err(|e| CliError::environment("make a temporary folder for blobs", e))?))
}

#[cfg(not(feature = "registry"))]
fn registry(option: &str, uri: &str, _: &str, _: &Reach) -> Result<Box<dyn StageStore>, CliError> {
    Err(CliError::user(format!(
        "{option} {uri}: this build has no network: it was made without the feature `registry`"
    ))
    .hint("use an OCI image layout on disk: --repo oci:DIR"))
}

/// Says whether this process may make the namespaces of commands.
fn may_run_commands(refusal: Option<&String>) -> bool {
    cfg!(target_os = "linux") && (rustix::process::geteuid().is_root() || refusal.is_none())
}

/// Becomes root of a user namespace, for commands that build: the program runs again, in place of this process.
pub fn become_root_to_build(invocation: &Invocation) {
    let is_root = rustix::process::geteuid().is_root();
    if !cfg!(target_os = "linux") || is_root || invocation.env.contains_key(NO_NAMESPACE) {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Where even that fails, so does the first command of a build, and says it.
        let _ = become_root(&program, &invocation.args);
    }
}

/// The clock of the operating system.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A stage store by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repo {
    /// The folder of an OCI layout.
    Folder(PathBuf),
    /// A repository in a registry.
    Registry(String),
    /// The images of that name in a Docker Engine.
    Engine(String),
}

/// Reads `--repo` and the like.
pub fn read_repo(option: &str, uri: &str, project: &Path) -> Result<Repo, CliError> {
    match uri.split_once(':') {
        Some(("oci", dir)) => folder(option, uri, dir, project).map(Repo::Folder),
        Some(("docker", "")) => {
            let what = format!("{option} {uri} names no images");
            Err(CliError::user(what).hint(format!("write {option} docker:NAME")))
        }
        Some(("docker", name)) => Ok(Repo::Engine(name.to_owned())),
        Some(_) | None => Ok(Repo::Registry(uri.to_owned())),
    }
}

/// Returns what stands before `:TAG` in the references of images, where the stage store says so.
pub fn repo_address(repo: Option<&str>) -> Option<String> {
    repo.filter(|uri| !uri.starts_with("oci:")).map(|uri| uri.strip_prefix("docker:").unwrap_or(uri).to_owned())
}

#[cfg(feature = "cluster")]
fn cluster(reach: &Reach, notices: &Arc<Notices>) -> Result<Box<dyn Target>, CliError> {
    use crate::backend::{ClusterOptions, ClusterTarget, RecordRules};
    if reach.kube.kube_config.is_some() && reach.kube.kube_config_base64.is_some() {
        let text = "--kube-config and --kube-config-base64 name a kubeconfig each, typed or as variables: give one";
        return Err(CliError::Usage(text.to_owned()));
    }
    let records = RecordRules { driver: record_driver(reach)?, most: reach.kube.records.releases_history_max };
    let options = ClusterOptions {
        records,
        kubeconfig: reach.kube.kube_config.clone(),
        kubeconfig_base64: reach.kube.kube_config_base64.clone(),
        context: reach.kube.kube_context.clone(),
        env: reach.env.clone(),
        cwd: reach.cwd.clone(),
        retry: reach.kube.kube_retry_time.map(std::time::Duration::from_secs),
        limit: (reach.kube.kube_qps_limit, reach.kube.kube_burst_limit),
        tell: Some(std::sync::Arc::new({
            let notices = notices.clone();
            move |text: &str| notices.tell(text)
        })),
    };
    let hint = "name a kubeconfig with --kube-config FILE or KUBECONFIG, and a context with --kube-context NAME";
    let found = ClusterTarget::connect(&options).map_err(|error| {
        if error.is_unnamed() {
            return CliError::user(error.to_string()).hint(hint);
        }
        CliError::environment("find the cluster", error)
    })?;
    Ok(Box::new(found))
}

/// Source: Helm, `HELM_DRIVER`.
#[cfg(feature = "cluster")]
fn record_driver(reach: &Reach) -> Result<crate::backend::RecordDriver, CliError> {
    use crate::backend::RecordDriver;
    if let Some(driver) = reach.kube.records.release_driver {
        return Ok(match driver {
            ReleaseDriver::Secret => RecordDriver::Secret,
            ReleaseDriver::Configmap => RecordDriver::ConfigMap,
        });
    }
    match reach.env.get("HELM_DRIVER").map_or("", String::as_str) {
        "" | "secret" | "secrets" => Ok(RecordDriver::Secret),
        "configmap" | "configmaps" => Ok(RecordDriver::ConfigMap),
        other => Err(CliError::user(format!("HELM_DRIVER={other}: records of releases cannot be kept there"))
            .hint("use --release-driver secret or --release-driver configmap")),
    }
}

#[cfg(not(feature = "cluster"))]
fn cluster(_: &Reach, _: &Arc<Notices>) -> Result<Box<dyn Target>, CliError> {
    Err(CliError::user("--target cluster: this build was made without the feature `cluster`".to_owned())
        .hint("write manifests to a folder: --target dir:PATH"))
}

/// A target by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetName {
    /// The folder that manifests are written to.
    Folder(PathBuf),
    /// The cluster of the kubeconfig.
    Cluster,
}

/// Reads `--target`.
pub fn read_target(uri: &str, project: &Path) -> Result<TargetName, CliError> {
    match uri.split_once(':') {
        Some(("dir", dir)) => folder("--target", uri, dir, project).map(TargetName::Folder),
        None if uri == "cluster" => Ok(TargetName::Cluster),
        Some(("cluster", context)) => Err(CliError::user(format!("--target {uri} is not a target"))
            .hint(format!("write --target cluster --kube-context {context}"))),
        Some(_) | None => Err(CliError::user(format!("--target {uri} is not a target"))
            .hint("write --target dir:PATH or --target cluster")),
    }
}

/// Reads `--builder`.
pub fn check_builder(name: &str) -> Result<(), CliError> {
    match name {
        "native" | "docker" => Ok(()),
        "kubernetes" => Err(CliError::user(format!("--builder {name} cannot be used yet"))
            .hint("what works now: --builder native and --builder docker")),
        _ => Err(CliError::user(format!("--builder {name} is not a builder"))
            .hint("write --builder native or --builder docker")),
    }
}

fn folder(option: &str, uri: &str, dir: &str, project: &Path) -> Result<PathBuf, CliError> {
    if dir.is_empty() {
        return Err(CliError::user(format!("{option} {uri} names no folder")));
    }
    Ok(project.join(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_relative_to_the_project() {
        let project = Path::new("/shop");
        let default = Repo::Folder("/shop/.stagewright/store".into());
        assert_eq!(read_repo("--repo", DEFAULT_REPO, project).unwrap(), default);
        assert_eq!(repo_address(Some(DEFAULT_REPO)), None);
        assert_eq!(repo_address(Some("r.example:5000/shop")).as_deref(), Some("r.example:5000/shop"));
        assert_eq!(read_target("dir:/gitops", project).unwrap(), TargetName::Folder("/gitops".into()));
        assert_eq!(read_target("cluster", project).unwrap(), TargetName::Cluster);
    }

    #[test]
    fn what_does_not_work_yet_says_what_does() {
        let project = Path::new("/shop");
        assert_eq!(read_repo("--repo", "docker:shop", project).unwrap(), Repo::Engine("shop".into()));
        assert_eq!(repo_address(Some("docker:shop")).as_deref(), Some("shop"));
        for uri in ["docker:", "oci:"] {
            assert!(read_repo("--repo", uri, project).is_err(), "{uri}");
        }
        assert!(read_target("cluster:prod", project).unwrap_err().text(false).contains("--kube-context prod"));
        assert!(check_builder("kubernetes").unwrap_err().text(false).contains("native"));
        assert!(check_builder("docker").is_ok());
        assert!(check_builder("native").is_ok());
    }
}
