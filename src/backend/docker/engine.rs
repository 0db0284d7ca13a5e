//! A Docker Engine: where it is, and whether it answers.
//!
//! What lives here: addresses, contexts and certificates, and the two clients that share them: `bollard` for images, and
//! a plain one for the build endpoint (see `build`). What does not: what is asked of the engine.
#![expect(clippy::disallowed_methods, reason = "contexts and certificates are read from the disk")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::backend::runtime;

/// Where an engine listens when nobody says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// How long an engine may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(20);
/// How long any other request may take: loading and building end when they end. Unit: seconds.
const REQUEST_SECONDS: u64 = 7 * 24 * 3600;
/// The oldest version of the API that is spoken: that of Docker 20.10.
const OLDEST: (usize, usize) = (1, 41);

/// Where an engine is, and what named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAddress {
    /// `unix:///…` or `tcp://HOST:PORT`.
    pub host: String,
    /// The folder of `ca.pem`, `cert.pem` and `key.pem`; absent for an open connection.
    pub certificates: Option<PathBuf>,
    /// `DOCKER_HOST`, `the context …`, `the default`.
    pub named_by: String,
}

/// Why an engine cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the Docker Engine at {host} (by {named_by}) {what}{}{hint}", if .hint.is_empty() { "" } else { "; " })]
pub struct EngineError {
    /// Its address.
    pub host: String,
    /// What named the address.
    pub named_by: String,
    /// What is wrong.
    pub what: String,
    /// What can be done.
    pub hint: String,
}

/// The two places of a context that count here. Source: Docker's `contexts/meta/…/meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextMeta {
    endpoints: BTreeMap<String, ContextEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEndpoint {
    host: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    #[serde(default)]
    current_context: String,
}

impl EngineAddress {
    /// Reads `DOCKER_HOST`, else `DOCKER_CONTEXT` or the current context, else takes the default.
    ///
    /// # Errors
    /// The context is not there.
    pub fn from_env(env: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let set = |name: &str| env.get(name).filter(|v| !v.is_empty());
        let home = set("HOME").map(PathBuf::from).unwrap_or_default();
        let folder = set("DOCKER_CONFIG").map_or_else(|| home.join(".docker"), PathBuf::from);
        if let Some(host) = set("DOCKER_HOST") {
            let certificates = set("DOCKER_TLS_VERIFY").or_else(|| set("DOCKER_TLS"));
            let place = set("DOCKER_CERT_PATH").map_or_else(|| folder.clone(), PathBuf::from);
            return Ok(Self {
                host: host.clone(),
                certificates: certificates.map(|_| place),
                named_by: "DOCKER_HOST".into(),
            });
        }
        let current = || {
            let text = fs::read_to_string(folder.join("config.json")).ok()?;
            Some(serde_json::from_str::<ClientConfig>(&text).ok()?.current_context)
        };
        let context = set("DOCKER_CONTEXT").cloned().or_else(current).filter(|c| !c.is_empty() && c != "default");
        context.map_or_else(
            || Ok(Self { host: DEFAULT_HOST.into(), certificates: None, named_by: "the default".into() }),
            |name| Self::of_context(&name, &folder),
        )
    }

    fn of_context(name: &str, folder: &Path) -> Result<Self, EngineError> {
        let id = hex::encode(Sha256::digest(name.as_bytes()));
        let place = folder.join("contexts/meta").join(&id).join("meta.json");
        let meta = fs::read_to_string(&place).ok().and_then(|t| serde_json::from_str::<ContextMeta>(&t).ok());
        let endpoint = meta.and_then(|mut m| m.endpoints.remove("docker")).ok_or_else(|| EngineError {
            host: "?".into(),
            named_by: format!("the context `{name}`"),
            what: format!("is not known: `{}` cannot be read", place.display()),
            hint: "docker context ls".into(),
        })?;
        let tls = folder.join("contexts/tls").join(&id).join("docker");
        Ok(Self {
            host: endpoint.host,
            certificates: tls.join("ca.pem").is_file().then_some(tls),
            named_by: format!("the context `{name}`"),
        })
    }

    fn error(&self, what: String, hint: &str) -> EngineError {
        EngineError { host: self.host.clone(), named_by: self.named_by.clone(), what, hint: hint.to_owned() }
    }
}

/// A Docker Engine. It is asked for nothing before it is needed.
#[derive(Clone)]
pub struct Engine {
    address: EngineAddress,
    connection: Arc<OnceLock<Connection>>,
}

/// An engine that answered.
#[derive(Clone)]
pub struct Connection {
    /// The client for images.
    pub docker: Docker,
    /// The client for builds.
    pub http: reqwest::Client,
    /// What stands before the paths of requests.
    pub base: String,
    /// The version of the API that both sides know.
    pub version: (usize, usize),
    /// Whether it has a network for containers; without, commands use that of the host.
    pub has_bridge: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.address.host)
    }
}

impl Engine {
    /// Names an engine.
    pub fn new(address: EngineAddress) -> Self {
        Self { address, connection: Arc::default() }
    }

    /// Connects at the first call.
    ///
    /// # Errors
    /// The engine does not answer, or is too old.
    pub fn connect(&self) -> Result<&Connection, EngineError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        runtime::prepare();
        let connection = runtime::block_on(self.open())?;
        Ok(self.connection.get_or_init(|| connection))
    }

    /// Says of a request that it failed.
    pub fn failed(&self, attempt: &str, why: impl fmt::Display) -> EngineError {
        self.address.error(format!("failed to {attempt}: {why}"), "")
    }

    async fn open(&self) -> Result<Connection, EngineError> {
        let address = &self.address;
        let start = "start it, for example: systemctl start docker; or build without it: --builder native";
        let (docker, http, base) = self.clients()?;
        let negotiated = tokio::time::timeout(ANSWER, docker.negotiate_version()).await;
        let docker = match negotiated {
            Ok(Ok(docker)) => docker,
            Ok(Err(error)) => return Err(address.error(format!("does not answer: {}", with_causes(&error)), start)),
            Err(_) => return Err(address.error(format!("did not answer in {} s", ANSWER.as_secs()), start)),
        };
        let version = docker.client_version();
        let version = (version.major_version, version.minor_version);
        if version < OLDEST {
            let what = format!("speaks version {}.{} of the API; the oldest known here is 1.41", version.0, version.1);
            return Err(address.error(what, "use Docker 20.10 or later, or build without it: --builder native"));
        }
        let none: Option<bollard::query_parameters::ListNetworksOptions> = None;
        let networks = docker.list_networks(none).await.unwrap_or_default();
        let has_bridge = networks.iter().any(|n| n.driver.as_deref() == Some("bridge"));
        Ok(Connection { docker, http, base: format!("{base}/v{}.{}", version.0, version.1), version, has_bridge })
    }

    fn clients(&self) -> Result<(Docker, reqwest::Client, String), EngineError> {
        let address = &self.address;
        let plain = reqwest::Client::builder().no_proxy().http1_only();
        let failed = |e: &dyn std::error::Error| address.error(with_causes(e), "");
        if let Some(path) = address.host.strip_prefix("unix://") {
            if !Path::new(path).exists() {
                let hint = "start it, for example: systemctl start docker; or build without it: --builder native";
                return Err(address.error("does not answer: there is no such socket".into(), hint));
            }
            let docker = Docker::connect_with_unix(path, REQUEST_SECONDS, API_DEFAULT_VERSION);
            let http = plain.unix_socket(path).build().map_err(|e| failed(&e))?;
            return Ok((docker.map_err(|e| failed(&e))?, http, "http://docker".into()));
        }
        let Some(rest) = ["tcp://", "http://", "https://"].iter().find_map(|s| address.host.strip_prefix(s)) else {
            let hint = "set DOCKER_HOST to unix:///PATH or tcp://HOST:PORT; ssh -L makes a socket of an ssh address";
            return Err(address.error("cannot be reached: its kind of address is not known here".into(), hint));
        };
        let Some(folder) = &address.certificates else {
            let docker = Docker::connect_with_http(&address.host, REQUEST_SECONDS, API_DEFAULT_VERSION);
            let http = plain.build().map_err(|e| failed(&e))?;
            return Ok((docker.map_err(|e| failed(&e))?, http, format!("http://{rest}")));
        };
        let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
        let read = |path: &Path| {
            fs::read(path)
                .map_err(|e| address.error(format!("needs `{}`: {e}", path.display()), "set DOCKER_CERT_PATH"))
        };
        let authority = reqwest::Certificate::from_pem(&read(&ca)?).map_err(|e| failed(&e))?;
        let own = [read(&cert)?, b"\n".to_vec(), read(&key)?].concat();
        let identity = reqwest::Identity::from_pem(&own).map_err(|e| failed(&e))?;
        let http = plain.tls_certs_only([authority]).identity(identity).build().map_err(|e| failed(&e))?;
        let docker = Docker::connect_with_ssl(&address.host, &key, &cert, &ca, REQUEST_SECONDS, API_DEFAULT_VERSION);
        Ok((docker.map_err(|e| failed(&e))?, http, format!("https://{rest}")))
    }
}

/// Tells an error with what caused it.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_address_is_that_of_the_variable_the_context_or_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().display().to_string();
        let id = hex::encode(Sha256::digest(b"far"));
        fs::create_dir_all(dir.path().join("contexts/meta").join(&id)).unwrap();
        let meta = r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:2376","SkipTLSVerify":false}}}"#;
        fs::write(dir.path().join("contexts/meta").join(&id).join("meta.json"), meta).unwrap();
        let of = |pairs: &[(&str, &str)]| EngineAddress::from_env(&env(pairs));
        assert_eq!(of(&[("HOME", "/none")]).unwrap().host, DEFAULT_HOST);
        let far = of(&[("DOCKER_CONFIG", &folder), ("DOCKER_CONTEXT", "far")]).unwrap();
        assert_eq!((far.host.as_str(), far.named_by.as_str()), ("tcp://far:2376", "the context `far`"));
        fs::write(dir.path().join("config.json"), r#"{"currentContext":"far"}"#).unwrap();
        assert_eq!(of(&[("DOCKER_CONFIG", &folder)]).unwrap(), far);
        let host = of(&[("DOCKER_CONFIG", &folder), ("DOCKER_HOST", "tcp://x:1"), ("DOCKER_TLS_VERIFY", "1")]).unwrap();
        assert_eq!((host.host.as_str(), host.certificates), ("tcp://x:1", Some(dir.path().to_owned())));
        let lost = of(&[("DOCKER_CONFIG", &folder), ("DOCKER_CONTEXT", "lost")]).unwrap_err();
        assert!(lost.to_string().contains("the context `lost`"), "{lost}");
    }

    #[test]
    fn an_engine_that_does_not_answer_says_what_was_tried() {
        for host in ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1", "ssh://far"] {
            let address = EngineAddress { host: host.into(), certificates: None, named_by: "DOCKER_HOST".into() };
            let error = Engine::new(address).connect().err().unwrap();
            assert!(error.to_string().contains(host) && error.to_string().contains("by DOCKER_HOST"), "{error}");
            assert!(!error.hint.is_empty());
        }
    }
}
