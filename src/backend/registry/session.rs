//! Speaking to one registry: its address, its certificate, who we are, and one request.
//!
//! What lives here: everything that every request needs. What does not: which requests there are (`manifests`,
//! `upload`, `download`).
//!
//! The one idea: the first request asks `/v2/` how the registry is spoken to. After that every request is sent with
//! what it wants, so that nothing is asked twice.

#![expect(clippy::disallowed_methods, reason = "each call is timed")]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::sync::OnceCell;
use url::Url;

use super::address::{Repository, is_local};
use super::auth::{Challenge, TokenServer, Tokens};
use super::error::{Kind, RegistryError};
use super::retry::{Attempts, Retry, retry_after};
use super::upload::Piece;
use crate::backend::charts::Access;
use crate::backend::charts::http::{READ_TIMEOUT, builder};
use crate::backend::credentials::{CredentialSource, Login, find};

/// How much of an answer is read that is an error. Unit: bytes.
const MAX_ERROR: usize = 16 << 10;
/// The least that an upload must move in a second, else it is given up. Unit: bytes.
const SLOWEST_UPLOAD: u64 = 16 << 10;

/// Is told something.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// How registries are reached; the same for all of a run.
#[derive(Clone, Default)]
pub struct RegistryOptions {
    /// Speaks without TLS to registries that have none, and trusts any certificate.
    pub insecure: bool,
    /// Trusts any certificate.
    pub skip_tls_verify: bool,
    /// Registries that are asked for images of `docker.io` first: `HOST[:PORT][/PATH]`.
    pub mirrors: Vec<String>,
    /// Where logins are found.
    pub credentials: Vec<CredentialSource>,
    /// How often things are tried.
    pub retry: Retry,
    /// Is told each request.
    pub tell: Option<Tell>,
    /// How much cached blobs may take after a run; any by default. Unit: bytes.
    pub cache_limit: Option<u64>,
}

/// What a request is allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It reads.
    Pull,
    /// It writes too.
    Push,
}

/// One request.
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// The address: below `/v2/`, or whole.
    pub to: Target<'a>,
    /// The repository it is about.
    pub path: &'a str,
    /// What it needs to be allowed.
    pub right: Right,
    /// A repository that it reads from besides.
    pub from: Option<&'a str>,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent.
    pub body: Option<Piece>,
    /// The answers that are hoped for.
    pub hoped: &'a [StatusCode],
}

/// Where a request goes.
#[derive(Clone)]
pub enum Target<'a> {
    /// Below `/v2/PATH/`.
    Below(&'a str),
    /// An address that the registry gave.
    Url(Url),
}

/// How a registry is spoken to.
struct Api {
    base: Url,
    client: Client,
    /// Uploads may be silent for long.
    uploads: Client,
    challenge: Challenge,
}

/// One registry.
pub struct Session {
    /// As it is written.
    pub host: String,
    /// How it is reached.
    pub options: RegistryOptions,
    api: OnceCell<Api>,
    tokens: Tokens,
    login: OnceLock<Result<Login, String>>,
}

impl Session {
    /// Names a registry; nothing is asked yet.
    pub fn new(host: &str, options: RegistryOptions) -> Self {
        let (api, tokens, login) = (OnceCell::new(), Tokens::default(), OnceLock::new());
        Self { host: host.to_owned(), options, api, tokens, login }
    }

    /// Returns the attempts at something.
    pub fn attempts(&self) -> Attempts {
        Attempts::new(self.options.retry)
    }

    /// Sends one request, once. An expired token is replaced on the way.
    pub async fn once(&self, call: &Call<'_>) -> Result<Response, RegistryError> {
        let api = self.api.get_or_try_init(|| self.greet()).await?;
        let url = match &call.to {
            Target::Below(rest) => api.base.join(&format!("{}/{rest}", call.path)).map_err(|_| self.no_address())?,
            Target::Url(url) => url.clone(),
        };
        // An upload may go to another server, which is not told who we are.
        let ours =
            (url.host_str(), url.port_or_known_default()) == (api.base.host_str(), api.base.port_or_known_default());
        let authorization = if ours { self.authorization(api, call, None).await? } else { None };
        let mut response = self.send(api, call, &url, authorization.as_ref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && ours
            && let (Challenge::Bearer { .. }, Some(used)) = (&api.challenge, &authorization)
        {
            let fresh = self.authorization(api, call, Some(used)).await?;
            response = self.send(api, call, &url, fresh.as_ref()).await?;
        }
        if call.hoped.contains(&response.status()) {
            return Ok(response);
        }
        let (status, after) = (response.status(), wait_asked_for(&response));
        let body = read_text(response, MAX_ERROR).await.unwrap_or_default();
        Err(RegistryError::of_status(&self.host, status, after, &body))
    }

    /// Sends one request until it is answered, and reads the answer; `None` where there is nothing of that name.
    pub async fn read(&self, call: &Call<'_>, most: usize) -> Result<Option<Answer>, RegistryError> {
        let mut attempts = self.attempts();
        loop {
            let tried = match self.once(call).await {
                Ok(response) => self.answer(response, most).await,
                Err(e) if e.kind() == Kind::NotFound => return Ok(None),
                Err(e) => Err(e),
            };
            match tried {
                Ok(answer) => return Ok(Some(answer)),
                Err(e) => attempts.again(e).await?,
            }
        }
    }

    async fn answer(&self, response: Response, most: usize) -> Result<Answer, RegistryError> {
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (url, digest, kind, link) =
            (response.url().clone(), header("Docker-Content-Digest"), header("Content-Type"), header("Link"));
        let body = read_body(response, most).await.map_err(|e| RegistryError::of_transport(&self.host, e))?;
        let body = body.ok_or_else(|| {
            RegistryError::new(Kind::Lasting, format!("{} answered more than {most} bytes", self.host))
        })?;
        Ok(Answer { url, digest, kind, link, body })
    }

    /// Asks how the registry is spoken to.
    async fn greet(&self) -> Result<Api, RegistryError> {
        let address = Repository::api_host(&self.host);
        let local = is_local(&self.host);
        let schemes: &[&str] = match (local, self.options.insecure) {
            (true, _) => &["http", "https"],
            (false, true) => &["https", "http"],
            (false, false) => &["https"],
        };
        let access = Access {
            insecure_skip_tls_verify: self.options.skip_tls_verify || self.options.insecure || local,
            ..Access::default()
        };
        let made = |error: Box<dyn std::error::Error + Send + Sync>| {
            RegistryError::new(Kind::Lasting, format!("no client can be made: {error}"))
        };
        let client = builder(&access).and_then(|b| Ok(b.read_timeout(READ_TIMEOUT).build()?)).map_err(made)?;
        let uploads = builder(&access).and_then(|b| Ok(b.build()?)).map_err(made)?;
        let mut attempts = self.attempts();
        loop {
            let mut failure = None;
            for scheme in schemes {
                let base = Url::parse(&format!("{scheme}://{address}/v2/")).map_err(|_| self.no_address())?;
                match self.challenge(&client, &base).await {
                    Ok(challenge) => return Ok(Api { base, client, uploads, challenge }),
                    // What is busy or broken speaks this way.
                    Err(e) if e.is_answer() && e.kind() != Kind::Lasting => {
                        failure = Some(e);
                        break;
                    }
                    // The other way of speaking may be the right one; of two failures the first is told.
                    Err(e) => failure = failure.or(Some(e)),
                }
            }
            attempts.again(failure.unwrap_or_else(|| self.no_address())).await?;
        }
    }

    async fn challenge(&self, client: &Client, base: &Url) -> Result<Challenge, RegistryError> {
        let start = Instant::now();
        let sent = client.get(base.clone()).send().await;
        self.note("GET", base, sent.as_ref().ok().map(|r| r.status().as_u16()), start);
        let response = sent.map_err(|e| RegistryError::of_transport(&self.host, e))?;
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                let headers = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
                Challenge::read(headers).ok_or_else(|| {
                    let what = format!("{} asks for a way of authentication that is not known", self.host);
                    RegistryError::new(Kind::Lasting, what)
                })
            }
            status if status.is_success() => Ok(Challenge::Open),
            StatusCode::NOT_FOUND => {
                Err(RegistryError::new(Kind::Lasting, format!("{} does not speak as a registry does", self.host)))
            }
            status => {
                let after = wait_asked_for(&response);
                let body = read_text(response, MAX_ERROR).await.unwrap_or_default();
                Err(RegistryError::of_status(&self.host, status, after, &body))
            }
        }
    }

    async fn authorization(
        &self,
        api: &Api,
        call: &Call<'_>,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let text = match &api.challenge {
            Challenge::Open => return Ok(None),
            Challenge::Basic => match self.login()? {
                Login::Basic { user, password } => {
                    use base64::Engine as _;
                    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                    format!("Basic {pair}")
                }
                Login::Anonymous | Login::IdentityToken(_) => return Ok(None),
            },
            Challenge::Bearer { realm, .. } if api.base.scheme() == "https" && realm.scheme() != "https" => {
                let what = format!("{} wants us to log in at {realm}, without TLS", self.host);
                return Err(RegistryError::new(Kind::Lasting, what));
            }
            Challenge::Bearer { realm, service } => {
                let server = TokenServer {
                    client: &api.client,
                    host: &self.host,
                    realm,
                    service: service.as_deref(),
                    login: self.login()?,
                    tell: &|method, url, status, start| self.note(method, url, status, start),
                };
                let rights = if call.right == Right::Push { "pull,push" } else { "pull" };
                let mut scope = vec![format!("repository:{}:{rights}", call.path)];
                scope.extend(call.from.map(|from| format!("repository:{from}:pull")));
                let refused = refused.and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
                format!("Bearer {}", self.tokens.get(&server, &scope, refused).await?)
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            RegistryError::new(Kind::Lasting, format!("the credentials for {} cannot be sent", self.host))
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn login(&self) -> Result<&Login, RegistryError> {
        let found = self.login.get_or_init(|| find(&self.host, &self.options.credentials));
        found.as_ref().map_err(|why| RegistryError::new(Kind::Lasting, why.clone()))
    }

    async fn send(
        &self,
        api: &Api,
        call: &Call<'_>,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let start = Instant::now();
        let client = if call.body.is_some() { &api.uploads } else { &api.client };
        let mut request = client.request(call.method.clone(), url.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(piece) = &call.body {
            let limit = READ_TIMEOUT * 2 + Duration::from_secs(piece.len() / SLOWEST_UPLOAD);
            request = piece.send_with(request).map_err(|e| self.cannot_read(&e))?.timeout(limit);
        }
        let sent = request.send().await;
        self.note(call.method.as_str(), url, sent.as_ref().ok().map(|r| r.status().as_u16()), start);
        sent.map_err(|e| RegistryError::of_transport(&self.host, e))
    }

    /// Tells a request as it may be shown: without query, which may hold a secret.
    fn note(&self, method: &str, url: &Url, status: Option<u16>, start: Instant) {
        if let Some(tell) = &self.options.tell {
            let status = status.map_or_else(|| "failed".to_owned(), |status| status.to_string());
            let shown = crate::backend::charts::http::shown(url);
            tell(&format!("registry: {method} {shown} {status} {} ms", start.elapsed().as_millis()));
        }
    }

    fn cannot_read(&self, error: &std::io::Error) -> RegistryError {
        RegistryError::new(Kind::Lasting, format!("what is sent to {} cannot be read: {error}", self.host))
    }

    fn no_address(&self) -> RegistryError {
        RegistryError::new(Kind::Lasting, format!("{} is no address of a registry", self.host))
    }
}

/// A whole answer.
pub struct Answer {
    /// Where it came from, after redirections.
    pub url: Url,
    /// The digest that the registry names.
    pub digest: Option<String>,
    /// The media type.
    pub kind: Option<String>,
    /// Where it goes on.
    pub link: Option<String>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Returns how long an answer asks to wait.
pub fn wait_asked_for(response: &Response) -> Option<Duration> {
    response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after)
}

/// Reads the whole of a small answer; `None` when it is larger.
async fn read_body(mut response: Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Reads a small answer as text; a larger one counts as empty.
pub async fn read_text(response: Response, most: usize) -> Result<String, reqwest::Error> {
    let body = read_body(response, most).await?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&body).into_owned())
}
