//! How charts are fetched on this machine: servers, credentials and the cache, from options and the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use url::Url;

use super::args::FetchArgs;
use super::error::CliError;
use super::streams::Invocation;
use crate::backend::{
    Access, AccessRule, ArchiveFolder, CredentialSource, NetworkCharts, read_folder, write_chart_files,
};
use crate::chart::repository::{NamedRepository, read_named};
use crate::diag::Diagnostics;
use crate::pipeline::{DependencyError, DependencyFiles, DependencyInputs, build_dependencies, update_dependencies};
use crate::ports::{ArchiveCache, FetchError, MemoryArchives};
use crate::source::Sources;

/// What fetching needs, ready to be used.
pub struct Fetching {
    /// The network.
    pub source: NetworkCharts,
    /// Fetched archives.
    pub cache: Box<dyn ArchiveCache>,
    /// Repositories that have names.
    pub repositories: Vec<NamedRepository>,
}

/// What is done with the dependencies of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyDeed {
    /// The lock is followed.
    Build,
    /// Versions are chosen.
    Update,
}

impl Fetching {
    /// Reads options and environment; user and password go to the servers of `addresses` alone, which is one server.
    pub fn new<'a>(
        args: &FetchArgs,
        addresses: impl Iterator<Item = &'a str>,
        invocation: &Invocation,
    ) -> Result<Self, CliError> {
        let (env, cwd) = (&invocation.env, invocation.cwd.as_path());
        let file = |name: &Option<String>| name.as_ref().map(|name| cwd.join(name));
        let access = Access {
            username: args.username.clone().unwrap_or_default(),
            password: args.password.clone().unwrap_or_default(),
            ca_file: file(&args.ca_file),
            cert_file: file(&args.cert_file),
            key_file: file(&args.key_file),
            insecure_skip_tls_verify: args.insecure_skip_tls_verify,
            plain_http: args.plain_http,
        };
        let repositories = repositories(args, env, cwd)?;
        let mut rules = Vec::new();
        for repository in &repositories {
            let path = |name: &String| (!name.is_empty()).then(|| cwd.join(name));
            let access = Access {
                username: repository.username.clone(),
                password: repository.password.clone(),
                ca_file: path(&repository.ca_file).or_else(|| access.ca_file.clone()),
                cert_file: path(&repository.cert_file).or_else(|| access.cert_file.clone()),
                key_file: path(&repository.key_file).or_else(|| access.key_file.clone()),
                insecure_skip_tls_verify: repository.insecure_skip_tls_verify || access.insecure_skip_tls_verify,
                plain_http: access.plain_http,
            };
            rules.push(AccessRule { url: repository.url.clone(), access });
        }
        if !access.username.is_empty() || !access.password.is_empty() {
            let own: Vec<AccessRule> =
                addresses.map(|url| AccessRule { url: url.to_owned(), access: access.clone() }).collect();
            let servers: BTreeSet<String> = own.iter().filter_map(|rule| server(&rule.url)).collect();
            if servers.len() > 1 {
                let list: Vec<String> = servers.into_iter().collect();
                return Err(CliError::user(format!(
                    "--username and --password are for one server, and the chart names {}",
                    list.join(", ")
                ))
                .hint("log in to registries with `docker login`, or give --repository-config"));
            }
            rules.extend(own);
        }
        let source = NetworkCharts::new(&access, rules, credential_sources(args, env, cwd));
        let cache: Box<dyn ArchiveCache> = match cache_dir(env, "charts") {
            Some(dir) => Box::new(ArchiveFolder::new(dir)),
            None => Box::new(MemoryArchives::default()),
        };
        Ok(Self { source, cache, repositories })
    }

    /// Brings the dependencies of the chart in a folder; `false` when the chart has faults, which are reported.
    pub fn bring_dependencies(
        &self,
        deed: DependencyDeed,
        place: &Path,
        mount: &str,
        sources: &Sources,
        diagnostics: &mut Diagnostics,
        invocation: &Invocation,
    ) -> Result<Option<DependencyFiles>, CliError> {
        let failed = |e| CliError::environment(format!("read the chart {}", place.display()), e);
        let files = read_folder(place, mount).map_err(failed)?;
        let folder = |path: &str| {
            let dir = place.join(path);
            if dir.is_dir() { read_folder(&dir, "").map(Some) } else { Ok(None) }
        };
        let now = jiff::Timestamp::now().to_string();
        let inputs = DependencyInputs {
            source: &self.source,
            cache: self.cache.as_ref(),
            folder: &folder,
            repositories: &self.repositories,
            tell: &|text| invocation.streams.inform(text),
            now: &now,
        };
        let found = match deed {
            DependencyDeed::Build => build_dependencies(diagnostics, sources, &files, mount, &inputs),
            DependencyDeed::Update => update_dependencies(diagnostics, sources, &files, mount, &inputs),
        };
        let Some(found) = found.map_err(not_brought)? else { return Ok(None) };
        let lock = found.lock.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        write_chart_files(place, &found.archives, lock, &found.outdated)
            .map_err(|e| CliError::environment(format!("write the dependencies of {}", place.display()), e))?;
        Ok(Some(found))
    }
}

/// Tells why dependencies were not fetched.
fn not_brought(error: DependencyError) -> CliError {
    match error {
        DependencyError::Fetch { attempt, source } => not_fetched(attempt, source),
        DependencyError::Folder { attempt, source } => CliError::environment(attempt, source),
    }
}

/// Tells why a chart was not fetched.
pub fn not_fetched(attempt: String, error: FetchError) -> CliError {
    match error {
        FetchError::NotFound { .. } | FetchError::Unusable { .. } | FetchError::Denied { .. } => {
            CliError::environment(attempt, error)
        }
        FetchError::Failed { place, source } => {
            let is_oci = place.starts_with("oci:");
            let text = CliError::environment(attempt, FetchError::Failed { place, source });
            let plain = is_oci && text.text(false).contains("InvalidContentType");
            if plain {
                return CliError::user(text.text(false).trim_start_matches("error: ").to_owned())
                    .hint("the registry does not speak TLS: give --plain-http where that is meant to be");
            }
            text
        }
    }
}

/// The server of an address: host and port.
fn server(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Helm's own folder of settings.
fn helm_config(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let own = env.get("HELM_CONFIG_HOME").map(PathBuf::from);
    let xdg = || env.get("XDG_CONFIG_HOME").map(|dir| Path::new(dir).join("helm"));
    let home = || env.get("HOME").map(|home| Path::new(home).join(".config/helm"));
    own.or_else(xdg).or_else(home)
}

fn repositories(
    args: &FetchArgs,
    env: &BTreeMap<String, String>,
    cwd: &Path,
) -> Result<Vec<NamedRepository>, CliError> {
    let named = args.repository_config.as_ref().or_else(|| env.get("HELM_REPOSITORY_CONFIG"));
    let default = helm_config(env).map(|dir| dir.join("repositories.yaml"));
    let Some(path) = named.map(|name| cwd.join(name)).or(default) else { return Ok(Vec::new()) };
    let attempt = format!("read the names of repositories in {}", path.display());
    match std::fs::read_to_string(&path) {
        Ok(text) => read_named(&text).map_err(|e| CliError::environment(attempt, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && args.repository_config.is_none() => Ok(Vec::new()),
        Err(e) => Err(CliError::environment(attempt, e)),
    }
}

fn credential_sources(args: &FetchArgs, env: &BTreeMap<String, String>, cwd: &Path) -> Vec<CredentialSource> {
    let named = args.registry_config.as_ref().or_else(|| env.get("HELM_REGISTRY_CONFIG")).map(|name| cwd.join(name));
    let helm = named.or_else(|| helm_config(env).map(|dir| dir.join("registry/config.json")));
    helm.into_iter().map(CredentialSource::File).chain(docker_credentials(env)).collect()
}

/// Where `docker login` has written, and what CI systems give instead. Source: Docker; GitLab's runner.
pub fn docker_credentials(env: &BTreeMap<String, String>) -> Vec<CredentialSource> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let text = set("DOCKER_AUTH_CONFIG").cloned();
    let text = text.map(|text| CredentialSource::Text { variable: "DOCKER_AUTH_CONFIG", text });
    let dir = set("DOCKER_CONFIG").map(PathBuf::from);
    let dir = dir.or_else(|| set("HOME").map(|home| Path::new(home).join(".docker")));
    text.into_iter().chain(dir.map(|dir| CredentialSource::File(dir.join("config.json")))).collect()
}

/// The folder of a cache. Source: XDG base directories, where a relative path counts as not set.
pub fn cache_dir(env: &BTreeMap<String, String>, what: &str) -> Option<PathBuf> {
    let xdg = env.get("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || env.get("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(home).join(".cache"));
    Some(xdg.or_else(home)?.join("stagewright").join(what))
}
