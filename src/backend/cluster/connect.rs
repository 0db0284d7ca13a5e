//! Finding a cluster: kubeconfigs, contexts, and the inside of a pod.
#![expect(clippy::disallowed_methods, reason = "kubeconfigs are files")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hyper_util::client::proxy::matcher::Matcher;
use kube::client::AuthError;
use kube::config::{Config, ExecAuthCluster, InClusterError, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::api::causes;
use super::releases::RecordRules;
use super::retry::Tell;
use crate::plan::ClusterName;
use crate::ports::shown_url;

/// How long the API server may say nothing; it gives up itself after a minute. What it is asked for reading is waited for
/// less long (`retry`).
const ANSWER: Duration = Duration::from_secs(75);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Which cluster is meant.
#[derive(Clone, Default)]
pub struct ClusterOptions {
    /// Kubeconfigs, in place of those of the environment; separated as `PATH` is.
    pub kubeconfig: Option<String>,
    /// A kubeconfig in base64, in place of all files.
    pub kubeconfig_base64: Option<String>,
    /// The context, in place of the current one.
    pub context: Option<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The folder that paths are relative to.
    pub cwd: PathBuf,
    /// How records of releases are kept.
    pub records: RecordRules,
    /// How long a request that fails for a while is tried again.
    pub retry: Option<Duration>,
    /// Requests a second, and how many go at once before that counts; 0: no limit.
    pub limit: (u32, u32),
    /// Is told when that takes long.
    pub tell: Option<Tell>,
}

/// Why no cluster can be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no kubeconfig, and this is no pod.
    #[error("there is no kubeconfig ({searched}), and this is not the inside of a cluster")]
    Nothing {
        /// Where one was looked for.
        searched: String,
    },
    /// A kubeconfig that was named is not there.
    #[error("there is no kubeconfig `{0}`")]
    NoFile(String),
    /// A kubeconfig that was given as text cannot be read; what it holds is not told, for it may be a token.
    #[error("the kubeconfig of --kube-config-base64 (or KUBECONFIG_BASE64) is {0}")]
    Text(&'static str),
    /// What the kubeconfig has as authority of the cluster is no certificate.
    #[error(
        "certificate-authority or certificate-authority-data of the kubeconfig holds no certificate that can be read"
    )]
    Authority,
    /// The context that was named is not in the kubeconfig.
    #[error("the kubeconfig has no context `{context}`; it has {known}")]
    NoContext {
        /// The name.
        context: String,
        /// Those that it has.
        known: String,
    },
    /// No context was named, and none is the current one.
    #[error("the kubeconfig names no current context; it has {0}")]
    NoCurrent(String),
    /// A kubeconfig cannot be used.
    #[error("use the kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
    /// The account of the pod cannot be used.
    #[error("use the service account of this pod")]
    InCluster(#[source] InClusterError),
    /// The command that logs in does not run.
    #[error("run `{command}`, which the kubeconfig logs in with{hint}")]
    NoLogin {
        /// The command.
        command: String,
        /// What the kubeconfig says how it is installed.
        hint: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command that logs in fails.
    #[error("`{command}`, which the kubeconfig logs in with, failed with {status}{said}")]
    Login {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// What it said; what it printed may be a token.
        said: String,
    },
    /// The command that logs in asks its user for something, and there is none.
    #[error(
        "`{command}`, which the kubeconfig logs in with, asks for something (interactiveMode: Always), and stdin is no terminal"
    )]
    Asks {
        /// The command.
        command: String,
    },
    /// The command that logs in says nothing that can be used; what it printed may be a token.
    #[error("`{command}`, which the kubeconfig logs in with, printed {what}")]
    Credential {
        /// The command.
        command: String,
        /// What it printed.
        what: &'static str,
    },
    /// The file of a token cannot be read.
    #[error("read the token in {of}")]
    TokenFile {
        /// The file.
        of: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A token cannot be sent.
    #[error("{of} gives no token that can be sent: it is empty, or has characters that none has")]
    Token {
        /// Where it comes from.
        of: String,
    },
    /// The address of a proxy is none.
    #[error("use the proxy `{proxy}`")]
    Proxy {
        /// What was given.
        proxy: String,
        /// Why.
        #[source]
        source: http::uri::InvalidUri,
    },
    /// A kubeconfig is not what one looks like; what stands there is not told, for it may be a token.
    #[error("the kubeconfig `{file}` cannot be read{at}")]
    Unreadable {
        /// The file.
        file: String,
        /// Where it is at fault.
        at: String,
    },
    /// The proxy speaks a protocol that we do not.
    #[error("the proxy `{0}` has a protocol that is not supported; use http, https or socks5")]
    ProxyProtocol(String),
    /// A client cannot be made.
    #[error("prepare requests to {server}")]
    Client {
        /// The address.
        server: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

/// Says why a login that ended could not be made again, where that is why a request failed.
pub fn login_fault(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let fault = causes(error).find(|error| error.is::<ConnectError>() || error.is::<AuthError>())?;
    // What the commands of old kubeconfigs print may be a token.
    if let Some(AuthError::AuthExecRun { out, .. }) = fault.downcast_ref() {
        return Some(format!("the command for it failed with {}", out.status));
    }
    let told: Vec<String> = causes(fault).map(ToString::to_string).collect();
    Some(told.join(": "))
}

impl ConnectError {
    /// Says whether it is not known which cluster is meant.
    pub fn is_unnamed(&self) -> bool {
        matches!(self, Self::Nothing { .. } | Self::NoFile(_) | Self::NoContext { .. } | Self::NoCurrent(_))
    }
}

/// Reads what it takes to speak to a cluster. Nothing is sent.
pub async fn configuration(options: &ClusterOptions) -> Result<(Config, ClusterName), ConnectError> {
    let mut proxy = None;
    let (mut config, context) = match kubeconfig(options)? {
        Some(kubeconfig) => {
            let context = context_of(&kubeconfig, options.context.as_ref())?;
            let (config, named) = of_context(&kubeconfig, &context)?;
            proxy = named;
            (config, Some(context))
        }
        None => (Config::incluster().map_err(ConnectError::InCluster)?, None),
    };
    let proxy = proxy.or_else(|| proxy_of(&options.env, &config.cluster_url));
    let wrong = |source| ConnectError::Proxy { proxy: proxy.as_deref().map(shown_url).unwrap_or_default(), source };
    config.proxy_url = proxy.as_ref().map(|proxy| proxy.parse().map_err(wrong)).transpose()?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(ANSWER);
    config.reset_reader_on_write = true;
    // What is sent again is decided where it is known what a request does.
    config.default_retry = false;
    // Who looks at no certificate needs none of those that the machine trusts: reading them takes longer than all else.
    if config.accept_invalid_certs && config.root_cert.is_none() {
        config.root_cert = Some(Vec::new());
    }
    let server = shown_url(config.cluster_url.to_string().trim_end_matches('/'));
    Ok((config, ClusterName { context, server, uid: None }))
}

/// Returns what a context of a kubeconfig says, and its proxy.
fn of_context(kubeconfig: &Kubeconfig, name: &str) -> Result<(Config, Option<String>), ConnectError> {
    let wrong = ConnectError::Kubeconfig;
    let found = kubeconfig.contexts.iter().find(|c| c.name == name).and_then(|c| c.context.clone());
    let context = found.ok_or_else(|| wrong(KubeconfigError::LoadContext(name.to_owned())))?;
    let found = kubeconfig.clusters.iter().find(|c| c.name == context.cluster).and_then(|c| c.cluster.clone());
    let cluster = found.ok_or_else(|| wrong(KubeconfigError::LoadClusterOfContext(context.cluster.clone())))?;
    // Whoever is not in it is nobody. Source: client-go.
    let user = context.user.as_ref().and_then(|user| kubeconfig.auth_infos.iter().find(|u| u.name == *user));
    let mut auth_info = user.and_then(|user| user.auth_info.clone()).unwrap_or_default();
    let server = cluster.server.as_ref().ok_or_else(|| wrong(KubeconfigError::MissingClusterUrl))?;
    let url = server.parse().map_err(|source| wrong(KubeconfigError::ParseClusterUrl(source)))?;
    let told = ExecAuthCluster::try_from(&cluster).map_err(wrong)?;
    let mut config = Config::new(url);
    config.default_namespace = context.namespace.clone().unwrap_or_else(|| "default".to_owned());
    if let Some(bundle) = told.certificate_authority_data.as_ref().filter(|bundle| !bundle.is_empty()) {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle).collect();
        let found = read.ok().filter(|found| !found.is_empty()).ok_or(ConnectError::Authority)?;
        config.root_cert = Some(found.into_iter().map(|certificate| certificate.to_vec()).collect());
    }
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.disable_compression = cluster.disable_compression.unwrap_or(false);
    config.tls_server_name = cluster.tls_server_name.clone().filter(|name| !name.is_empty());
    if let Some(exec) = auth_info.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster = Some(told);
    }
    config.auth_info = auth_info;
    Ok((config, cluster.proxy_url.filter(|proxy| !proxy.is_empty()).map(with_scheme)))
}

/// Without a protocol, the address of a proxy means HTTP. Source: Go.
fn with_scheme(proxy: String) -> String {
    if proxy.contains("://") { proxy } else { format!("http://{proxy}") }
}

/// Returns the proxy of the environment for a server, as Go's programs use it.
fn proxy_of(env: &BTreeMap<String, String>, server: &http::Uri) -> Option<String> {
    let set = |upper: &str| {
        let lower = upper.to_ascii_lowercase();
        env.get(upper).or_else(|| env.get(&lower)).filter(|text| !text.is_empty()).cloned()
    };
    let proxy = set(if server.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" })?;
    let proxy = with_scheme(proxy);
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if host.eq_ignore_ascii_case("localhost") || is_loopback {
        return None;
    }
    let excluded = set("NO_PROXY").unwrap_or_default();
    let is_used = |no: String| Matcher::builder().all(proxy.as_str()).no(no).build().intercept(server).is_some();
    // What cannot be read as a proxy is none that was excluded: it is told.
    let is_meant = is_used(excluded) || !is_used(String::new());
    is_meant.then_some(proxy)
}

/// Returns the merged kubeconfig; `None` within a cluster, where there is none.
fn kubeconfig(options: &ClusterOptions) -> Result<Option<Kubeconfig>, ConnectError> {
    let read = |path: &Path| {
        let mut found = Kubeconfig::read_from(path).map_err(|error| unreadable(path, error))?;
        // kubectl writes an empty one where none is chosen.
        found.current_context = found.current_context.filter(|name| !name.is_empty());
        Ok(found)
    };
    let listed = |text: &str| -> Vec<PathBuf> {
        let paths = std::env::split_paths(text).filter(|path| !path.as_os_str().is_empty());
        paths.map(|path| options.cwd.join(path)).collect()
    };
    let merged = |paths: Vec<PathBuf>| {
        paths
            .iter()
            .try_fold(Kubeconfig::default(), |merged, path| merged.merge(read(path)?).map_err(ConnectError::Kubeconfig))
    };
    // Source: werf 2.x, `KUBECONFIG_BASE64`.
    let from_env = || options.env.get("KUBECONFIG_BASE64").filter(|_| options.kubeconfig.is_none());
    if let Some(text) = options.kubeconfig_base64.as_ref().or_else(from_env).filter(|text| !text.is_empty()) {
        return decoded(text).map(Some);
    }
    if let Some(named) = &options.kubeconfig {
        let paths = listed(named);
        if let Some(missing) = paths.iter().find(|path| !path.is_file()) {
            return Err(ConnectError::NoFile(missing.display().to_string()));
        }
        return merged(paths).map(Some);
    }
    // As kubectl does, what the environment names and is not there is passed over.
    let from_env = options.env.get("KUBECONFIG").filter(|text| !text.is_empty());
    let paths = match from_env {
        Some(text) => listed(text),
        None => options.env.get("HOME").map(|home| Path::new(home).join(".kube/config")).into_iter().collect(),
    };
    let (there, _): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| path.is_file());
    if !there.is_empty() {
        return merged(there).map(Some);
    }
    if options.env.contains_key("KUBERNETES_SERVICE_HOST") && options.context.is_none() {
        return Ok(None);
    }
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Err(ConnectError::Nothing { searched: names.join(", ") })
}

fn unreadable(path: &Path, error: KubeconfigError) -> ConnectError {
    let KubeconfigError::Parse(error) = error else { return ConnectError::Kubeconfig(error) };
    let at = error.location().map(|at| format!(": look at line {}, column {}", at.line(), at.column()));
    ConnectError::Unreadable { file: path.display().to_string(), at: at.unwrap_or_default() }
}

/// Reads a kubeconfig in base64, in one line or in several.
fn decoded(text: &str) -> Result<Kubeconfig, ConnectError> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = BASE64.decode(text).map_err(|_| ConnectError::Text("no base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| ConnectError::Text("no text"))?;
    let mut found = Kubeconfig::from_yaml(&text).map_err(|_| ConnectError::Text("no kubeconfig"))?;
    found.current_context = found.current_context.filter(|name| !name.is_empty());
    Ok(found)
}

fn context_of(kubeconfig: &Kubeconfig, wanted: Option<&String>) -> Result<String, ConnectError> {
    let names: Vec<&str> = kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let current = kubeconfig.current_context.as_ref().filter(|name| !name.is_empty());
    let Some(context) = wanted.or(current) else { return Err(ConnectError::NoCurrent(known)) };
    if names.contains(&context.as_str()) {
        return Ok(context.clone());
    }
    Err(ConnectError::NoContext { context: context.clone(), known })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, files: &[(&str, &str)]) -> ClusterOptions {
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let names: Vec<String> = files.iter().map(|(name, _)| dir.join(name).display().to_string()).collect();
        let env = BTreeMap::from([("KUBECONFIG".to_owned(), names.join(":"))]);
        ClusterOptions { env, cwd: dir.to_owned(), ..ClusterOptions::default() }
    }

    fn one(name: &str, current: bool) -> String {
        let current = if current { format!("current-context: {name}\n") } else { String::new() };
        format!(
            "apiVersion: v1\nkind: Config\n{current}clusters: [{{name: {name}, cluster: {{server: 'http://{name}.example:8001'}}}}]\nusers: [{{name: {name}, user: {{}}}}]\ncontexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\n"
        )
    }

    fn found(options: &ClusterOptions) -> Result<ClusterName, String> {
        super::super::super::runtime::block_on(configuration(options)).map(|(_, name)| name).map_err(|e| e.to_string())
    }

    #[test]
    fn kubeconfigs_are_merged_and_a_context_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), &[("a", &one("east", false)), ("b", &one("west", true))]);
        assert_eq!(found(&options).unwrap().to_string(), "west (http://west.example:8001)");
        options.context = Some("east".into());
        assert_eq!(found(&options).unwrap().server, "http://east.example:8001");
        options.context = Some("north".into());
        assert_eq!(found(&options).unwrap_err(), "the kubeconfig has no context `north`; it has east, west");
    }

    #[test]
    fn an_empty_choice_of_a_context_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let first = one("east", false).replace("kind: Config\n", "kind: Config\ncurrent-context: \"\"\n");
        let options = options(dir.path(), &[("a", &first), ("b", &one("west", true))]);
        assert_eq!(found(&options).unwrap().to_string(), "west (http://west.example:8001)");
    }

    #[test]
    fn the_proxy_of_the_environment_is_left_out_where_the_server_is_excluded() {
        let proxy = |no: &str, server: &str| {
            let env = [("HTTPS_PROXY", "proxy:3128"), ("NO_PROXY", no)];
            let env = env.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            proxy_of(&env, &server.parse().unwrap())
        };
        assert_eq!(proxy("10.0.0.0/8", "https://192.168.0.1:6443").as_deref(), Some("http://proxy:3128"));
        assert_eq!(proxy("10.0.0.0/8", "https://10.1.2.3:6443"), None);
        assert_eq!(proxy("example.org", "https://api.example.org"), None);
        assert_eq!(proxy("", "https://127.0.0.1:6443"), None);
        assert_eq!(proxy("", "http://api.example.org"), None);
    }

    #[test]
    fn passwords_of_proxies_and_servers_are_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let text = one("east", true).replace("http://east", "http://me:hunter2@east");
        let mut options = options(dir.path(), &[("a", &text)]);
        for proxy in ["socks9://me:hunter2@proxy.example", "http://me:hunter2@[::"] {
            options.env.insert("HTTP_PROXY".into(), proxy.into());
            let told = super::super::super::runtime::block_on(async {
                let (config, name) = configuration(&options).await?;
                assert_eq!(name.server, "http://east.example:8001");
                super::super::client::client(config, &name.server).map(drop)
            });
            let error = told.unwrap_err();
            let told = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(told.contains("proxy") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn the_proxy_of_a_kubeconfig_is_used_whatever_the_environment_excludes() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            one("east", true).replace("east.example:8001'", "east.example:8001', proxy-url: 'http://127.0.0.1:8888'");
        let mut options = options(dir.path(), &[("a", &text)]);
        options.env.insert("NO_PROXY".into(), "localhost,127.0.0.1".into());
        let (config, _) = super::super::super::runtime::block_on(configuration(&options)).unwrap();
        assert_eq!(config.proxy_url.unwrap().to_string(), "http://127.0.0.1:8888/");
    }

    #[test]
    fn a_kubeconfig_in_base64_goes_before_all_files_and_is_never_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), &[("a", &one("east", true))]);
        let text = BASE64.encode(one("west", true));
        let (head, tail) = text.split_at(76);
        options.kubeconfig_base64 = Some(format!("{head}\n{tail}\n"));
        assert_eq!(found(&options).unwrap().server, "http://west.example:8001");
        options.kubeconfig_base64 = Some(BASE64.encode("users: hunter2"));
        let error = found(&options).unwrap_err();
        assert!(error.ends_with("is no kubeconfig") && !error.contains("hunter2"), "{error}");
        options.kubeconfig_base64 = Some("hunter2!".into());
        assert!(found(&options).unwrap_err().ends_with("is no base64"));
        // As a variable of everybody, it goes after what was named.
        options.kubeconfig_base64 = None;
        options.env.insert("KUBECONFIG_BASE64".into(), text);
        assert_eq!(found(&options).unwrap().server, "http://west.example:8001");
        options.kubeconfig = Some("a".into());
        assert_eq!(found(&options).unwrap().server, "http://east.example:8001");
    }

    #[test]
    fn where_there_is_no_cluster_it_is_said_where_one_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("HOME".to_owned(), dir.path().display().to_string())]);
        let mut options = ClusterOptions { env, cwd: dir.path().to_owned(), ..ClusterOptions::default() };
        assert!(found(&options).unwrap_err().contains(".kube/config"));
        options.kubeconfig = Some("none".into());
        assert!(found(&options).unwrap_err().starts_with("there is no kubeconfig `"));
        std::fs::write(dir.path().join("none"), "apiVersion: v1\nkind: Config\n").unwrap();
        assert_eq!(found(&options).unwrap_err(), "the kubeconfig names no current context; it has none");
    }
}
