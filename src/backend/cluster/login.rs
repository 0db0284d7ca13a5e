//! Who we are for the API server: a token, a file of one, a name and a password, or what a command says.
//!
//! What lives here: reading that from a kubeconfig, running the command, and the header of requests. What does not:
//! finding the kubeconfig (`connect`), connections (`client`).
//!
//! The one idea: it is found out once, and again when it is no longer valid. A command may ask its user for something.
#![expect(clippy::disallowed_methods, reason = "tokens are files, or what a command prints")]

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use jiff::Timestamp;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tower::BoxError;

use super::connect::ConnectError;

/// What is valid for less is found out anew.
const MARGIN: Duration = Duration::from_mins(1);
/// So long a file of a token is not read again. Source: client-go.
const FILE: Duration = Duration::from_mins(1);
/// How much of what a command says is told. Unit: characters.
const MOST_SAID: usize = 2000;
/// Parts of the names of variables that hold secrets.
const SECRETS: [&str; 9] = ["TOKEN", "SECRET", "PASS", "PWD", "KEY", "CREDENTIAL", "AUTH", "COOKIE", "_PAT"];
/// Shorter values of variables are no secrets. Unit: bytes.
const SHORTEST: usize = 6;

/// What requests are sent with.
#[derive(Clone)]
pub struct Login {
    source: Arc<Source>,
    held: Arc<Mutex<Held>>,
}

/// Where the header comes from when it is no longer valid.
enum Source {
    Fixed,
    File(PathBuf),
    Command(Box<ExecConfig>),
}

struct Held {
    header: HeaderValue,
    until: Option<Timestamp>,
    /// When it was found out anew last because the server refused it.
    refused: Option<Instant>,
}

/// A certificate and its key, as PEM.
pub struct Identity {
    /// The certificate, and those that vouch for it.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// What a command says. Source: Kubernetes, client.authentication.k8s.io.
#[derive(Deserialize)]
struct Credential {
    status: Option<CredentialStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialStatus {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Finds out who we are: the header of requests and the certificate of connections, where there are any.
///
/// # Errors
/// A file cannot be read, a command does not run or fails, or what they say is no token.
pub fn log_in(auth: &AuthInfo) -> Result<(Option<Login>, Option<Identity>), ConnectError> {
    let secret = |key: &str| {
        let all = serde_json::to_value(auth).unwrap_or_default();
        all.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let login = |source, header, until| {
        let held = Arc::new(Mutex::new(Held { header, until, refused: None }));
        Some(Login { source: Arc::new(source), held })
    };
    if let Some(user) = auth.username.as_ref().filter(|_| auth.password.is_some()) {
        let text = BASE64.encode(format!("{user}:{}", secret("password")));
        return Ok((login(Source::Fixed, header("Basic", &text, "the kubeconfig")?, None), None));
    }
    // As in kubectl, a token goes before a file of one.
    if let Some(token) = Some(secret("token")).filter(|token| !token.trim().is_empty()) {
        return Ok((login(Source::Fixed, header("Bearer", &token, "the kubeconfig")?, None), None));
    }
    if let Some(file) = auth.token_file.as_ref().filter(|file| !file.is_empty()) {
        let file = PathBuf::from(file);
        let header = of_file(&file)?;
        return Ok((login(Source::File(file), header, Some(after(FILE))), None));
    }
    let Some(exec) = &auth.exec else { return Ok((None, None)) };
    let said = of_command(exec)?;
    let identity = match (said.certificate, said.key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (_, _) => None,
    };
    let login = said.header.and_then(|header| login(Source::Command(Box::new(exec.clone())), header, said.until));
    Ok((login, identity))
}

impl Login {
    /// Puts who we are into a request.
    ///
    /// # Errors
    /// It is no longer valid, and cannot be found out anew.
    pub async fn sign<B>(self, mut request: Request<B>) -> Result<Request<B>, BoxError> {
        // Who is signed already waited for that.
        if !request.headers().contains_key(AUTHORIZATION) {
            request.headers_mut().insert(AUTHORIZATION, self.header().await?);
        }
        Ok(request)
    }

    /// Returns the header of requests; finds it out anew where it is no longer valid.
    ///
    /// # Errors
    /// It cannot be found out.
    pub async fn header(&self) -> Result<HeaderValue, ConnectError> {
        let mut held = self.held.lock().await;
        if held.until.is_some_and(|until| Timestamp::now() >= until) {
            self.renew(&mut held).await?;
        }
        Ok(held.header.clone())
    }

    /// Finds out who we are anew after the server refused a header; `None` where it is the same.
    ///
    /// # Errors
    /// It cannot be found out.
    pub async fn renewed(&self, refused: &HeaderValue) -> Result<Option<HeaderValue>, ConnectError> {
        let mut held = self.held.lock().await;
        // Another request may have been refused before.
        let is_slow = matches!(*self.source, Source::Command(_));
        let was_tried = is_slow && held.refused.is_some_and(|at| at.elapsed() < MARGIN);
        if held.header == *refused && !was_tried {
            held.refused = Some(Instant::now());
            self.renew(&mut held).await?;
        }
        Ok(Some(held.header.clone()).filter(|header| header != refused))
    }

    async fn renew(&self, held: &mut Held) -> Result<(), ConnectError> {
        match &*self.source {
            Source::Fixed => {}
            Source::File(file) => {
                // A file that is gone was meant for the start alone. Source: client-go.
                if let Ok(header) = of_file(file) {
                    held.header = header;
                }
                held.until = Some(after(FILE));
            }
            Source::Command(exec) => {
                let exec = exec.clone();
                let said = tokio::task::spawn_blocking(move || of_command(&exec)).await;
                let said = said.map_err(|error| ConnectError::Token { of: error.to_string() })??;
                if let Some(header) = said.header {
                    held.header = header;
                }
                held.until = said.until;
            }
        }
        Ok(())
    }
}

fn after(time: Duration) -> Timestamp {
    let now = Timestamp::now();
    now.checked_add(time).unwrap_or(now)
}

fn of_file(file: &std::path::Path) -> Result<HeaderValue, ConnectError> {
    let of = || format!("the file {}", file.display());
    let token = std::fs::read_to_string(file).map_err(|source| ConnectError::TokenFile { of: of(), source })?;
    header("Bearer", &token, &of())
}

/// Makes the header of a token; files and commands end it with a line end.
fn header(scheme: &str, token: &str, of: &str) -> Result<HeaderValue, ConnectError> {
    let token = token.trim();
    let value = HeaderValue::try_from(format!("{scheme} {token}")).ok().filter(|_| !token.is_empty());
    let mut value = value.ok_or_else(|| ConnectError::Token { of: of.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a command said.
struct Said {
    header: Option<HeaderValue>,
    certificate: Option<String>,
    key: Option<String>,
    until: Option<Timestamp>,
}

/// Runs the command that a kubeconfig logs in with.
fn of_command(exec: &ExecConfig) -> Result<Said, ConnectError> {
    let name = exec.command.clone().unwrap_or_default();
    let mode = exec.interactive_mode.clone().unwrap_or(ExecInteractiveMode::IfAvailable);
    let may_ask = std::io::stdin().is_terminal();
    if mode == ExecInteractiveMode::Always && !may_ask {
        return Err(ConnectError::Asks { command: name });
    }
    let may_ask = may_ask && mode != ExecInteractiveMode::Never;
    let env = |(env, key): (&HashMap<String, String>, &str)| env.get(key).cloned();
    let pairs = exec.env.iter().flatten().filter_map(|e| Some((env((e, "name"))?, env((e, "value"))?)));
    let pairs: Vec<(String, String)> = pairs.collect();
    let mut command = Command::new(&name);
    command.args(exec.args.iter().flatten()).envs(pairs.iter().cloned());
    command.env("KUBERNETES_EXEC_INFO", asked(exec, may_ask));
    for variable in exec.drop_env.iter().flatten() {
        command.env_remove(variable);
    }
    if may_ask {
        command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    } else {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
    }
    let started = command.stdout(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
    let hint = exec.install_hint.as_deref().map(str::trim).filter(|hint| !hint.is_empty());
    let out = started.map_err(|source| ConnectError::NoLogin {
        command: name.clone(),
        hint: hint.map(|hint| format!("; {hint}")).unwrap_or_default(),
        source,
    })?;
    if !out.status.success() {
        let said = told(&out.stderr, &pairs);
        return Err(ConnectError::Login { command: name, status: out.status.to_string(), said });
    }
    let read = serde_json::from_slice::<Credential>(&out.stdout).ok().and_then(|found| found.status);
    // What it printed may be a token: it is not repeated.
    let unread = |what| ConnectError::Credential { command: name.clone(), what };
    let status = read.ok_or_else(|| unread("no credential that can be read"))?;
    let present = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let token = present(status.token);
    let (certificate, key) = (present(status.client_certificate_data), present(status.client_key_data));
    if certificate.is_some() != key.is_some() {
        return Err(unread("a certificate without its key, or a key without its certificate"));
    }
    if token.is_none() && certificate.is_none() {
        return Err(unread("neither a token nor a certificate"));
    }
    let until = present(status.expiration_timestamp).map(|text| text.trim().parse::<Timestamp>());
    let until = until.transpose().map_err(|_| unread("an expirationTimestamp that is no time"))?;
    let header = token.map(|token| header("Bearer", &token, &format!("`{name}`"))).transpose()?;
    Ok(Said { header, certificate, key, until: until.map(|until| until.checked_sub(MARGIN).unwrap_or(until)) })
}

/// Returns what the command is told of the cluster, and whether it may ask for something.
fn asked(exec: &ExecConfig, may_ask: bool) -> String {
    let mut spec = json!({"interactive": may_ask});
    let cluster = exec.cluster.as_ref().filter(|_| exec.provide_cluster_info);
    if let (Some(cluster), Some(spec)) = (cluster.and_then(|c| serde_json::to_value(c).ok()), spec.as_object_mut()) {
        spec.insert("cluster".into(), cluster);
    }
    json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec}).to_string()
}

/// Returns what a command said of its failure, without the secrets that the kubeconfig gave it.
fn told(said: &[u8], env: &[(String, String)]) -> String {
    let is_secret = |name: &str| SECRETS.iter().any(|part| name.to_ascii_uppercase().contains(part));
    let secrets = env.iter().filter(|(name, value)| is_secret(name) && value.len() >= SHORTEST);
    let mut values: Vec<&str> = secrets.map(|(_, value)| value.as_str()).collect();
    // The longest first: one may be part of another.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let text = String::from_utf8_lossy(said).trim().to_owned();
    let text = values.iter().fold(text, |text, value| text.replace(value, "(hidden)"));
    let text: String = text.chars().take(MOST_SAID).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_end_with_a_line_end_and_may_not_hold_one() {
        assert_eq!(header("Bearer", " t0ken\n", "x").unwrap(), "Bearer t0ken");
        for wrong in ["", " \n", "a\nb", "\u{7f}"] {
            let error = header("Bearer", wrong, "the kubeconfig").unwrap_err().to_string();
            assert_eq!(
                error,
                "the kubeconfig gives no token that can be sent: it is empty, or has characters that none has"
            );
        }
    }

    #[test]
    fn what_a_command_says_is_told_without_the_secrets_it_was_given() {
        let env = [("API_TOKEN".to_owned(), "hunter2".to_owned()), ("PROFILE".to_owned(), "production".to_owned())];
        assert_eq!(told(b"no hunter2 in production\n", &env), ": no (hidden) in production");
        assert_eq!(told(b" \n", &env), "");
    }
}
