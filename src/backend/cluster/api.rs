//! Requests to the API server: JSON in, JSON out; kinds by discovery.
//!
//! The one idea: objects stay JSON from end to end, so that no field is lost that a type does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::Client;
use kube::client::Body as Answer;
use rustls::CertificateError;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::connect::{ConnectError, login_fault};
use super::fields::stands;
use super::limit::Limit;
use super::login::Login;
use super::objects::{is_going, set};
use super::retry::{Kind, Passing, Patience, Retries, WHOLE};
use crate::ports::{Hold, Over};

/// Who we are among those who set fields.
pub const FIELD_MANAGER: &str = "stagewright";

/// Who is waited for.
const SERVER: &str = "the API server";
const LOGIN: &str = "the command that logs in";

/// The most that an answer may hold. Unit: bytes.
const LARGEST: usize = 256 << 20;
/// How often an apply is tried of what others write at the same time.
const MOST_TRIES: u32 = 5;
/// How often it is looked whether writes may be sent again.
const LOOK: Duration = Duration::from_millis(100);

/// Says how firmly it is held what writes need.
pub type Fence = Arc<dyn Fn() -> Hold + Send + Sync>;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server answered with an error.
    #[error("{}", told(.0))]
    Status(Box<kube::core::Status>),
    /// The server did not answer, or not in JSON.
    #[error("speak to the API server")]
    Client(#[source] Box<kube::Error>),
    /// The certificate of the server is not to be trusted.
    #[error("the certificate of the API server {0}")]
    Untrusted(String),
    /// The server does not know a kind.
    #[error("the API server knows no kind {kind} in {group_version}")]
    NoKind {
        /// The kind.
        kind: String,
        /// The API version, or group.
        group_version: String,
    },
    /// The login ended, and could not be made again.
    #[error("log in to the cluster again: {0}")]
    Login(String),
    /// An address cannot be written.
    #[error("write the address of a request")]
    Address(#[source] http::Error),
    /// It was sent again for a while, and failed each time.
    #[error("tried again for {seconds} s")]
    Tried {
        /// For how long.
        seconds: u64,
        /// How it failed the last time.
        #[source]
        error: Box<ApiError>,
    },
    /// The object is not the one, or not in the version, that was looked at.
    #[error(transparent)]
    Outdated(Box<ApiError>),
    /// Something did not become as it should within the time.
    #[error("{0}")]
    Late(String),
    /// What came is not what was asked for.
    #[error("{0}")]
    Unexpected(String),
}

/// What is told where the server does not know us.
const STRANGER: &str = "the API server does not know who you are: the token or the certificate of the kubeconfig is wrong, or no \
     longer valid (Unauthorized)";

/// Says what is wrong with the certificate of the server, where that is why a request failed, and what to do.
fn untrusted(error: &kube::Error) -> Option<String> {
    let found = causes(error).find_map(|cause| match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why.clone()),
        Some(_) | None => None,
    });
    let why = found?;
    // A cluster that was made anew may have an authority of the same name.
    if matches!(why, CertificateError::UnknownIssuer | CertificateError::BadSignature) {
        let told = "is signed by somebody who is not trusted: name the authority of the cluster in the kubeconfig, as \
             certificate-authority or certificate-authority-data";
        return Some(told.to_owned());
    }
    if matches!(why, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) {
        return Some(format!(
            "is for another name ({why}): name one that it is for in the kubeconfig, as server or as tls-server-name"
        ));
    }
    Some(format!("cannot be trusted: {why}"))
}

/// Returns an error and all that is behind it.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&at| {
        // An error within an error of input and output is not its source.
        let inner = at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        inner.map(|e| e as &(dyn Error + 'static)).or_else(|| at.source())
    })
}

fn told(status: &kube::core::Status) -> String {
    if status.code == 401 {
        return STRANGER.to_owned();
    }
    let reason = if status.reason.is_empty() { format!("code {}", status.code) } else { status.reason.clone() };
    if status.message.is_empty() { reason } else { format!("{} ({reason})", status.message) }
}

impl ApiError {
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// Says whether the object is another one, or of another version, than was meant.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Says whether the object, its namespace or its kind is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Says whether the server was not reached, or not understood.
    pub fn is_of_connection(&self) -> bool {
        match self {
            Self::Client(_) | Self::Untrusted(_) => true,
            Self::Tried { error, .. } | Self::Outdated(error) => error.is_of_connection(),
            Self::Status(_)
            | Self::Login(_)
            | Self::NoKind { .. }
            | Self::Address(_)
            | Self::Late(_)
            | Self::Unexpected(_) => false,
        }
    }

    /// Returns what the server says in full, however often it was asked.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Status(status) => Some(status),
            Self::Tried { error, .. } | Self::Outdated(error) => error.status(),
            Self::Client(_)
            | Self::Login(_)
            | Self::Untrusted(_)
            | Self::NoKind { .. }
            | Self::Address(_)
            | Self::Late(_)
            | Self::Unexpected(_) => None,
        }
    }

    /// Returns what the server says in full, where it is a refusal of this very object.
    pub fn refusal(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Status(status) if matches!(status.code, 400 | 403 | 404 | 409 | 413 | 422) => Some(status),
            Self::Status(status) if is_mistyped(status) => Some(status),
            Self::Status(_)
            | Self::Tried { .. }
            | Self::Outdated(_)
            | Self::Client(_)
            | Self::Login(_)
            | Self::Untrusted(_)
            | Self::NoKind { .. }
            | Self::Address(_)
            | Self::Late(_)
            | Self::Unexpected(_) => None,
        }
    }
}

/// Says whether a manifest does not fit its kind, which many servers answer as if it was their fault. Source: Kubernetes,
/// server-side apply.
pub fn is_mistyped(status: &kube::core::Status) -> bool {
    status.code == 500 && status.message.contains("failed to create typed patch object")
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match (login_fault(&error), untrusted(&error), error) {
            (_, _, kube::Error::Api(status)) => Self::Status(status),
            (Some(fault), _, _) => Self::Login(fault),
            (None, Some(why), _) => Self::Untrusted(why),
            (None, None, error) => Self::Client(Box::new(error)),
        }
    }
}

/// A kind as the server serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKind {
    /// `v1`, `apps/v1`.
    pub group_version: String,
    /// The name in addresses.
    pub plural: String,
    /// Whether its objects have namespaces.
    pub namespaced: bool,
}

impl ApiKind {
    /// Returns the address of its objects in a namespace.
    pub fn list_address(&self, namespace: Option<&str>) -> String {
        let root = if self.group_version.contains('/') { "apis" } else { "api" };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("/{root}/{}/namespaces/{}/{}", self.group_version, word(namespace), self.plural),
            None => format!("/{root}/{}/{}", self.group_version, self.plural),
        }
    }

    /// Returns the address of an object.
    pub fn address(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.list_address(namespace), word(name))
    }
}

/// Writes a text as one part of an address.
pub fn word(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Reads why the server refuses; a proxy before it does not answer in its form.
fn status(code: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> kube::core::Status {
    let read =
        serde_json::from_slice::<kube::core::Status>(bytes).ok().filter(|s| s.code != 0 || !s.message.is_empty());
    let mut status = read.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(bytes);
        let first = text.trim().lines().next().unwrap_or_default();
        kube::core::Status::failure(first, code.canonical_reason().unwrap_or_default())
    });
    status.code = code.as_u16();
    let asked = headers.get("Retry-After").and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    if let Some(asked) = asked {
        let nothing = || serde_json::from_value(Value::Object(serde_json::Map::new())).ok();
        status.details = status.details.or_else(nothing);
        if let Some(details) = &mut status.details {
            details.retry_after_seconds = details.retry_after_seconds.max(asked);
        }
    }
    status
}

/// Returns all of an answer; `None` where it is too large.
async fn whole(body: Answer) -> Result<Option<bytes::Bytes>, kube::Error> {
    match Limited::new(body, LARGEST).collect().await {
        Ok(all) => Ok(Some(all.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(error) => Err(match error.downcast::<kube::Error>() {
            Ok(error) => *error,
            Err(error) => kube::Error::Service(error),
        }),
    }
}

fn apply_query(force: bool) -> String {
    format!("fieldManager={FIELD_MANAGER}&force={force}&fieldValidation=Strict")
}

/// Says of a conflict whether something else stands there than was looked at.
pub fn outdated(error: ApiError) -> ApiError {
    // Source: Kubernetes, storage and preconditions.
    const TEXTS: [&str; 5] = [
        "the object has been modified",
        "The object might have been",
        "uid mismatch",
        "Precondition failed",
        "in the precondition",
    ];
    let refusal = error.refusal().filter(|status| status.code == 409);
    let is_outdated = refusal.is_some_and(|status| TEXTS.iter().any(|text| status.message.contains(text)));
    if is_outdated { ApiError::Outdated(Box::new(error)) } else { error }
}

/// Says whether others set fields, and that is why the server refuses.
fn is_taken(error: &ApiError) -> bool {
    let causes = error.refusal().filter(|status| status.code == 409).and_then(|status| status.details.as_ref());
    causes.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "FieldManagerConflict"))
}

/// Names those besides us who set fields of an object.
fn others(object: &Value) -> Vec<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.get("manager")?.as_str());
    names.filter(|name| *name != FIELD_MANAGER).map(str::to_owned).collect()
}

/// Says whether an apply failed for nothing but that the object was written by others meanwhile.
fn is_busy(error: &ApiError) -> bool {
    let says = |text: &str| error.status().is_some_and(|status| status.message.contains(text));
    error.is_conflict() && (says("the object has been modified") || says("already exists"))
}

/// Where locks of releases are.
const LOCKS: &str = "/leases/stagewright-lock-";
/// Where those of werf are.
pub const WERF_LOCKS: &str = "/configmaps/werf-synchronization";

/// Says whether a request is one of the lock: it waits for nothing, for the others wait for it.
fn is_of_lock(address: &str) -> bool {
    let path = address.split('?').next().unwrap_or(address);
    address.starts_with("/apis/coordination.k8s.io/") && address.contains(LOCKS) || path.ends_with(WERF_LOCKS)
}

/// Says whether an object has all that another one says, but for its version.
fn holds(object: &Value, wanted: &Value) -> bool {
    match (object, wanted) {
        (Value::Object(object), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            matches!(key.as_str(), "resourceVersion" | "managedFields" | "generation")
                || object.get(key).map_or(wanted.is_null(), |object| holds(object, wanted))
        }),
        _ => object == wanted,
    }
}

/// What is discovered under a name, once however many want to know it at the same time.
type Discovered<T> = Mutex<BTreeMap<String, Arc<OnceCell<Arc<T>>>>>;

fn discovery_address(group_version: &str) -> String {
    let root = if group_version.contains('/') { "apis" } else { "api" };
    format!("/{root}/{group_version}")
}

/// Reads the kinds that an API version has.
fn kinds_in(list: &Value, group_version: &str) -> BTreeMap<String, ApiKind> {
    let resources = list.get("resources").and_then(Value::as_array).into_iter().flatten();
    let kind = |resource: &Value| {
        let plural = resource.get("name")?.as_str()?.to_owned();
        let kind = resource.get("kind")?.as_str()?.to_owned();
        let namespaced = resource.get("namespaced")?.as_bool()?;
        let found = ApiKind { group_version: group_version.to_owned(), plural, namespaced };
        // `deployments/scale` is no kind of its own.
        (!found.plural.contains('/')).then_some((kind, found))
    };
    resources.filter_map(kind).collect()
}

async fn discovered<T, F>(all: &Discovered<T>, name: &str, ask: impl FnOnce() -> F) -> Result<Arc<T>, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let cell = all.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone();
    cell.get_or_try_init(|| async { ask().await.map(Arc::new) }).await.cloned()
}

/// What the server answers.
struct Told {
    value: Value,
    /// What it warns of.
    warnings: Vec<String>,
    /// Whether it made an object.
    is_new: bool,
    /// Whether an attempt before may have been carried out.
    in_doubt: bool,
}

/// How many warnings of one answer are read, and how much of each. Unit: characters.
const MOST_WARNINGS: (usize, usize) = (20, 1_000);

/// Reads what an answer warns of: `299 - "text"`. Source: RFC 7234, 5.5; Kubernetes sends each in a header of its own.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all("Warning").iter().take(MOST_WARNINGS.0);
    let text = |header: &http::HeaderValue| {
        let text = String::from_utf8_lossy(header.as_bytes()).into_owned();
        let text = text.strip_prefix("299 ")?.split_once(' ')?.1.strip_prefix('"')?;
        let (mut said, mut is_escaped) = (String::new(), false);
        for c in text.chars().take(MOST_WARNINGS.1) {
            match c {
                '"' if !is_escaped => break,
                '\\' if !is_escaped => is_escaped = true,
                c => {
                    said.push(c);
                    is_escaped = false;
                }
            }
        }
        Some(said)
    };
    all.filter_map(text).filter(|text| !text.is_empty()).collect()
}

/// The body of a request: its kind and its bytes.
type Body<'a> = (&'a str, Vec<u8>);

/// The API server.
pub struct Api {
    client: Client,
    login: Option<Login>,
    limit: Option<Limit>,
    retries: Retries,
    /// Kinds by API version.
    kinds: Discovered<BTreeMap<String, ApiKind>>,
    /// Versions by group.
    groups: Discovered<Vec<String>>,
    /// The lock under which writes are sent, where there is one.
    fence: Mutex<Option<Fence>>,
    /// The addresses of which the server said last that nothing is there.
    absent: Mutex<BTreeSet<String>>,
}

impl Api {
    /// Speaks through a client.
    pub fn new(client: Client, login: Option<Login>, retries: Retries, (rate, burst): (u32, u32)) -> Self {
        let limit = Limit::new(rate, burst);
        let (kinds, groups, absent) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { client, login, limit, retries, kinds, groups, fence: Mutex::default(), absent }
    }

    /// Says under which lock writes are sent from now on.
    pub fn fence(&self, fence: Option<Fence>) {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner) = fence;
    }

    /// Says whether writes are sent under a lock.
    pub fn is_fenced(&self) -> bool {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits until the lock is held firmly, where there is one.
    async fn wait_for_hold(&self) -> Result<(), ApiError> {
        loop {
            let fence = self.fence.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match fence.map(|fence| fence()) {
                None | Some(Hold::Sure) => return Ok(()),
                Some(Hold::Lost(why)) => {
                    return Err(ApiError::Late(format!(
                        "the lock of the release was lost, and this is not sent: {why}"
                    )));
                }
                Some(Hold::Unsure) if self.retries.is_ending() => {
                    return Err(ApiError::Late("it is not sure that the lock of the release is held".to_owned()));
                }
                Some(Hold::Unsure) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Waits until the next request may be sent.
    pub async fn turn(&self) {
        if let Some(limit) = &self.limit {
            limit.pass().await;
        }
    }

    /// Returns what is known of the server's failures.
    pub fn retries(&self) -> &Retries {
        &self.retries
    }

    /// Sends a request that changes nothing more when it is sent twice, until it is answered, and returns the answer.
    pub async fn request(
        &self,
        method: Method,
        address: &str,
        body: Option<Body<'_>>,
        accept: &str,
    ) -> Result<Value, ApiError> {
        Ok(self.ask(method, address, body, accept).await?.value)
    }

    async fn ask(&self, method: Method, address: &str, body: Option<Body<'_>>, accept: &str) -> Result<Told, ApiError> {
        let kind = if address.contains("dryRun=All") { Kind::DryRun } else { Kind::Needed };
        let mut patience = Patience::new(&self.retries, kind);
        let mut in_doubt = false;
        loop {
            match self.send(&method, address, body.as_ref(), accept).await {
                Ok(found) => return Ok(Told { in_doubt, ..found }),
                Err(error) => {
                    in_doubt |= Passing::of(&error).is_some_and(|passing| passing.in_doubt);
                    patience.again(error).await?
                }
            };
        }
    }

    /// Sends a write that is not to be carried out twice. Where it is not known whether it was, it is looked at the object
    /// first; `is_done` tells the object after it.
    async fn request_once(
        &self,
        method: Method,
        address: &str,
        body: Body<'_>,
        object: &str,
        is_done: impl Fn(&Value) -> bool,
    ) -> Result<Value, ApiError> {
        let mut patience = Patience::new(&self.retries, Kind::Needed);
        let mut in_doubt = false;
        loop {
            let error = match self.send(&method, address, Some(&body), "application/json").await {
                Ok(found) => return Ok(found.value),
                Err(error) => error,
            };
            // A conflict may be one with ourselves.
            let passing = if in_doubt && error.is_conflict() { None } else { Passing::of(&error) };
            in_doubt |= passing.as_ref().is_some_and(|passing| passing.in_doubt);
            let conflict = match passing {
                Some(_) => {
                    patience.again(error).await?;
                    None
                }
                None => Some(error),
            };
            if in_doubt && let Some(found) = self.get(object).await?.filter(&is_done) {
                return Ok(found);
            }
            if let Some(error) = conflict {
                return Err(error);
            }
        }
    }

    /// Sends a request once; once more where the server does not know us any more, and knows who we are now.
    async fn send(
        &self,
        method: &Method,
        address: &str,
        body: Option<&Body<'_>>,
        accept: &str,
    ) -> Result<Told, ApiError> {
        let Some(login) = &self.login else { return self.send_as(None, method, address, body, accept).await };
        // What takes a while is done before it is looked whether a write may be sent.
        let header = self.logged_in(login.header()).await?;
        match self.send_as(Some(&header), method, address, body, accept).await {
            Err(error) if error.code() == Some(401) => match self.logged_in(login.renewed(&header)).await? {
                Some(header) => self.send_as(Some(&header), method, address, body, accept).await,
                None => Err(error),
            },
            answer => answer,
        }
    }

    /// Waits for a login, as for an answer.
    async fn logged_in<T>(&self, login: impl Future<Output = Result<T, ConnectError>>) -> Result<T, ApiError> {
        let login = async { login.await.map_err(|error| kube::Error::Service(Box::new(error))) };
        let ended = self.retries.answer((LOGIN, LOGIN), self.retries.most(false), login).await;
        // It is no fault of the server, and running it once more helps nobody.
        ended.map_err(|error| {
            let never = || ApiError::Login("the command for it does not end".to_owned());
            if error.is_of_connection() { never() } else { error }
        })
    }

    async fn send_as(
        &self,
        header: Option<&HeaderValue>,
        method: &Method,
        address: &str,
        body: Option<&Body<'_>>,
        accept: &str,
    ) -> Result<Told, ApiError> {
        // What is asked for besides would only take place.
        let told = format!("{method} {}", address.split('?').next().unwrap_or(address));
        let reads = method == Method::GET;
        let mut request = Request::builder().method(method).uri(address).header("Accept", accept);
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header.clone());
        }
        let bytes = match body {
            Some((kind, bytes)) => {
                request = request.header("Content-Type", *kind);
                bytes.clone()
            }
            None => Vec::new(),
        };
        let request = request.body(bytes.into()).map_err(ApiError::Address)?;
        if !is_of_lock(address) {
            self.turn().await;
            if !reads && !address.contains("dryRun=All") {
                self.wait_for_hold().await?;
            }
        }
        // One connection serves many requests: that it lives does not say that this one is answered.
        let answer = self.retries.answer((SERVER, &told), self.retries.most(reads), self.client.send(request)).await?;
        let (code, headers) = (answer.status(), answer.headers().clone());
        let whole = self.retries.answer((SERVER, &told), WHOLE, whole(answer.into_body())).await?;
        self.retries.answered();
        let too_large = || ApiError::Unexpected(format!("the answer to {told} is larger than {} MiB", LARGEST >> 20));
        let bytes = whole.ok_or_else(too_large)?;
        if code.is_success() {
            let value = serde_json::from_slice(&bytes)
                .map_err(|error| ApiError::Client(Box::new(kube::Error::SerdeError(error))))?;
            let is_new = code == StatusCode::CREATED;
            return Ok(Told { value, warnings: warnings(&headers), is_new, in_doubt: false });
        }
        Err(ApiError::Status(Box::new(status(code, &headers, &bytes))))
    }

    /// Reads an address; `None` where nothing is.
    pub async fn get(&self, address: &str) -> Result<Option<Value>, ApiError> {
        let found = match self.request(Method::GET, address, None, "application/json").await {
            Ok(found) => Some(found),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_none() {
            absent.insert(address.to_owned())
        } else {
            absent.remove(address)
        };
        Ok(found)
    }

    /// Says whether nothing was at an address when it was read last; `false` where it was not read.
    pub fn was_absent(&self, address: &str) -> bool {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    /// Asks what an apply on the server's side would make of an object, and what the server warns of. Nothing is written.
    pub async fn try_apply(
        &self,
        address: &str,
        object: &Value,
        force: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Value, ApiError> {
        let address = format!("{address}?{}&dryRun=All", apply_query(force));
        let answer = self.send_apply(&address, object.to_string()).await?;
        *warnings = answer.warnings;
        Ok(answer.value)
    }

    /// Applies an object on the server's side, over what was seen of it.
    ///
    /// # Errors
    /// [`ApiError::Outdated`] where something else stands there now.
    pub async fn apply(&self, address: &str, object: &Value, over: &Over) -> Result<Value, ApiError> {
        let query = format!("{address}?{}", apply_query(*over != Over::Nothing));
        match over {
            Over::Anything => Ok(self.send_apply(&query, object.to_string()).await?.value),
            Over::Nothing => {
                let answer = self.send_apply(&query, object.to_string()).await;
                let made = answer
                    .map_err(|error| if is_taken(&error) { ApiError::Outdated(Box::new(error)) } else { error })?;
                let others = others(&made.value);
                if made.is_new || made.in_doubt || others.is_empty() || is_going(&made.value) {
                    return Ok(made.value);
                }
                // No field of theirs is one of ours: only the answer tells that it was there.
                let others = others.join(", ");
                Err(ApiError::Late(format!(
                    "{others} made it in the same moment, and what we set was added to it: look at it, and apply again"
                )))
            }
            Over::Object { id, version } => {
                let mut meant = object.clone();
                set(&mut meant, &["metadata", "uid"], id.as_str().into());
                if let Some(version) = version {
                    set(&mut meant, &["metadata", "resourceVersion"], version.as_str().into());
                }
                let body = ("application/apply-patch+yaml", meant.to_string().into_bytes());
                let sent = self.request_once(Method::PATCH, &query, body, address, |found| stands(found, object));
                sent.await.map_err(outdated)
            }
        }
    }

    async fn send_apply(&self, address: &str, object: String) -> Result<Told, ApiError> {
        let bytes = object.into_bytes();
        let mut tries = 0;
        loop {
            let body = ("application/apply-patch+yaml", bytes.clone());
            match self.ask(Method::PATCH, address, Some(body), "application/json").await {
                // Others write it all the time: the server gave up for now.
                Err(error) if tries < MOST_TRIES && is_busy(&error) && !self.retries.is_ending() => tries += 1,
                answer => return answer,
            }
            tokio::time::sleep(LOOK * tries).await;
        }
    }

    /// Asks what would become of an object if it stood in the place of what has the same version. Nothing is written.
    pub async fn try_update(&self, address: &str, object: &Value) -> Result<Value, ApiError> {
        let address = format!("{address}?fieldManager={FIELD_MANAGER}&dryRun=All");
        let body = ("application/json", object.to_string().into_bytes());
        self.request(Method::PUT, &address, Some(body), "application/json").await
    }

    /// Says anew who set which field of the object that has this version. Sent twice, the second one is a conflict.
    pub async fn set_managers(&self, address: &str, version: &str, managers: &Value) -> Result<Value, ApiError> {
        let managers = serde_json::json!({"op": "replace", "path": "/metadata/managedFields", "value": managers});
        let version = serde_json::json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version});
        self.patch(address, &[managers, version]).await
    }

    /// Changes parts of an object. Sent twice, the second one must be refused for what the first did.
    pub async fn patch(&self, address: &str, operations: &[Value]) -> Result<Value, ApiError> {
        let address = format!("{address}?fieldManager={FIELD_MANAGER}");
        let body = ("application/json-patch+json", Value::from(operations.to_vec()).to_string().into_bytes());
        self.request(Method::PATCH, &address, Some(body), "application/json").await
    }

    /// Creates an object below the address of its kind.
    pub async fn create(&self, address: &str, object: &Value) -> Result<Value, ApiError> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let place = format!("{address}/{}", word(name));
        let address = format!("{address}?fieldManager={FIELD_MANAGER}");
        let body = ("application/json", object.to_string().into_bytes());
        self.request_once(Method::POST, &address, body, &place, |found| holds(found, object)).await
    }

    /// Puts an object in the place of what has the same version.
    pub async fn update(&self, address: &str, object: &Value) -> Result<Value, ApiError> {
        let query = format!("{address}?fieldManager={FIELD_MANAGER}");
        let body = ("application/json", object.to_string().into_bytes());
        self.request_once(Method::PUT, &query, body, address, |found| holds(found, object)).await
    }

    /// Deletes the object of this uid; what is gone already is as good.
    pub async fn delete(&self, address: &str, uid: &str, propagation: &str) -> Result<(), ApiError> {
        self.delete_if(address, serde_json::json!({"uid": uid}), propagation).await
    }

    /// As `delete`, of the version that was seen.
    ///
    /// # Errors
    /// [`ApiError::Outdated`] where something else stands there now.
    pub async fn delete_over(&self, address: &str, uid: &str, over: &Over, how: &str) -> Result<(), ApiError> {
        let conditions = match over {
            Over::Object { id, version: Some(version) } => serde_json::json!({"uid": id, "resourceVersion": version}),
            Over::Object { id, version: None } => serde_json::json!({"uid": id}),
            Over::Anything | Over::Nothing => serde_json::json!({"uid": uid}),
        };
        self.delete_if(address, conditions, how).await.map_err(outdated)
    }

    /// Deletes the object that meets conditions; what is gone already is as good.
    pub async fn delete_if(&self, address: &str, conditions: Value, propagation: &str) -> Result<(), ApiError> {
        let options = serde_json::json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            "preconditions": conditions,
        });
        let body = ("application/json", options.to_string().into_bytes());
        match self.request(Method::DELETE, address, Some(body), "application/json").await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Forgets the kinds that were discovered: a definition of others was just written.
    pub fn forget_kinds(&self) {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Finds a kind of an API version; `None` where the server does not serve it.
    pub async fn kind(&self, group_version: &str, kind: &str) -> Result<Option<ApiKind>, ApiError> {
        Ok(self.kinds_of(group_version).await?.get(kind).cloned())
    }

    /// Returns the kinds of an API version, by name.
    pub(super) async fn kinds_of(&self, group_version: &str) -> Result<Arc<BTreeMap<String, ApiKind>>, ApiError> {
        discovered(&self.kinds, group_version, || self.discover(group_version)).await
    }

    /// As `kinds_of`, but a server of others that is away is not waited for.
    pub(super) async fn kinds_at_once(&self, group_version: &str) -> Result<Arc<BTreeMap<String, ApiKind>>, ApiError> {
        let read = || async {
            let address = discovery_address(group_version);
            match self.send(&Method::GET, &address, None, "application/json").await {
                Ok(list) => Ok(kinds_in(&list.value, group_version)),
                Err(error) if error.code() == Some(503) => Err(error),
                Err(_) => self.discover(group_version).await,
            }
        };
        discovered(&self.kinds, group_version, read).await
    }

    async fn discover(&self, group_version: &str) -> Result<BTreeMap<String, ApiKind>, ApiError> {
        let Some(list) = self.get(&discovery_address(group_version)).await? else { return Ok(BTreeMap::new()) };
        Ok(kinds_in(&list, group_version))
    }

    /// Finds a kind of a group in the version that the server prefers.
    pub async fn preferred(&self, group: &str, kind: &str) -> Result<Option<ApiKind>, ApiError> {
        for version in self.versions(group).await?.iter() {
            if let Some(found) = self.kind(version, kind).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    pub(super) async fn versions(&self, group: &str) -> Result<Arc<Vec<String>>, ApiError> {
        if group.is_empty() {
            return Ok(Arc::new(vec!["v1".to_owned()]));
        }
        discovered(&self.groups, group, || self.discover_versions(group)).await
    }

    async fn discover_versions(&self, group: &str) -> Result<Vec<String>, ApiError> {
        let found = self.get(&format!("/apis/{group}")).await?.unwrap_or(Value::Null);
        let text = |v: &Value| v.get("groupVersion").and_then(Value::as_str).map(str::to_owned);
        let first = found.get("preferredVersion").and_then(text);
        let rest = found.get("versions").and_then(Value::as_array).into_iter().flatten().filter_map(text);
        Ok(first.clone().into_iter().chain(rest.filter(|v| Some(v) != first.as_ref())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_that_is_not_in_the_servers_form_is_told_too() {
        let mut headers = HeaderMap::new();
        headers.insert("Retry-After", "7".parse().unwrap());
        let found = status(StatusCode::TOO_MANY_REQUESTS, &headers, b"Too many requests, please try again later.\n");
        assert_eq!(told(&found), "Too many requests, please try again later. (Too Many Requests)");
        assert_eq!(found.details.map(|d| d.retry_after_seconds), Some(7));
        let text = json!({"kind": "Status", "code": 422, "reason": "Invalid", "message": "no"}).to_string();
        assert_eq!(told(&status(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), text.as_bytes())), "no (Invalid)");
    }

    #[test]
    fn warnings_are_read_without_their_marks() {
        let mut headers = HeaderMap::new();
        for text in [r#"299 - "v1 Thing is \"old\"" "Mon, 01 Jan 2026""#, "299 - ", r#"199 - "no""#, r#"299 - "b"#] {
            headers.append("Warning", text.parse().unwrap());
        }
        assert_eq!(warnings(&headers), [r#"v1 Thing is "old""#, "b"]);
    }

    #[test]
    fn an_object_that_was_written_is_known_again() {
        let written = json!({"metadata": {"name": "a", "resourceVersion": "1"}, "data": {"x": "y"}});
        let mut found =
            json!({"metadata": {"name": "a", "resourceVersion": "2", "uid": "u"}, "data": {"x": "y"}, "type": "t"});
        assert!(holds(&found, &written));
        found["data"]["x"] = "z".into();
        assert!(!holds(&found, &written));
    }
}
