//! Requests to the API server: JSON in, JSON out; kinds by discovery.
//!
//! The one idea: objects stay JSON from end to end, so that no field is lost that a type does not know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request};
use kube::Client;
use serde_json::Value;

/// Who we are among those who set fields.
pub const FIELD_MANAGER: &str = "stagewright";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server answered with an error.
    #[error("{}", told(.0))]
    Status(Box<kube::core::Status>),
    /// The server did not answer, or not in JSON.
    #[error("speak to the API server")]
    Client(#[source] Box<kube::Error>),
    /// The server does not know a kind.
    #[error("the API server knows no kind {kind} in {group_version}")]
    NoKind {
        /// The kind.
        kind: String,
        /// The API version, or group.
        group_version: String,
    },
    /// An address cannot be written.
    #[error("write the address of a request")]
    Address(#[source] http::Error),
    /// Something did not become as it should within the time.
    #[error("{0}")]
    Late(String),
    /// What came is not what was asked for.
    #[error("{0}")]
    Unexpected(String),
}

fn told(status: &kube::core::Status) -> String {
    let reason = if status.reason.is_empty() { format!("code {}", status.code) } else { status.reason.clone() };
    if status.message.is_empty() { reason } else { format!("{} ({reason})", status.message) }
}

impl ApiError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.code),
            Self::Client(_) | Self::NoKind { .. } | Self::Address(_) | Self::Late(_) | Self::Unexpected(_) => None,
        }
    }

    /// Says whether the object is another one, or of another version, than was meant.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Says whether the object, its namespace or its kind is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Returns what the server says in full, where it is a refusal of this very object.
    pub fn refusal(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Status(status) if matches!(status.code, 400 | 403 | 404 | 409 | 413 | 422) => Some(status),
            Self::Status(_)
            | Self::Client(_)
            | Self::NoKind { .. }
            | Self::Address(_)
            | Self::Late(_)
            | Self::Unexpected(_) => None,
        }
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = error { Self::Status(status) } else { Self::Client(Box::new(error)) }
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

/// Kinds by API version, as discovered so far.
type Kinds = BTreeMap<String, Arc<BTreeMap<String, ApiKind>>>;

/// The API server.
pub struct Api {
    client: Client,
    kinds: Mutex<Kinds>,
    groups: Mutex<BTreeMap<String, Arc<Vec<String>>>>,
}

impl Api {
    /// Speaks through a client.
    pub fn new(client: Client) -> Self {
        Self { client, kinds: Mutex::default(), groups: Mutex::default() }
    }

    /// Sends a request and returns the answer.
    pub async fn request(
        &self,
        method: Method,
        address: &str,
        body: Option<(&str, Vec<u8>)>,
        accept: &str,
    ) -> Result<Value, ApiError> {
        let mut request = Request::builder().method(method).uri(address).header("Accept", accept);
        let bytes = match body {
            Some((kind, bytes)) => {
                request = request.header("Content-Type", kind);
                bytes
            }
            None => Vec::new(),
        };
        let request = request.body(bytes).map_err(ApiError::Address)?;
        Ok(self.client.request(request).await?)
    }

    /// Reads an address; `None` where nothing is.
    pub async fn get(&self, address: &str) -> Result<Option<Value>, ApiError> {
        match self.request(Method::GET, address, None, "application/json").await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Applies an object on the server's side. `dry_run` writes nothing.
    pub async fn apply(&self, address: &str, object: &Value, dry_run: bool, force: bool) -> Result<Value, ApiError> {
        let dry_run = if dry_run { "&dryRun=All" } else { "" };
        let address = format!("{address}?fieldManager={FIELD_MANAGER}&force={force}&fieldValidation=Strict{dry_run}");
        let body = ("application/apply-patch+yaml", object.to_string().into_bytes());
        self.request(Method::PATCH, &address, Some(body), "application/json").await
    }

    /// Asks what would become of an object if it stood in the place of what has the same version. Nothing is written.
    pub async fn try_update(&self, address: &str, object: &Value) -> Result<Value, ApiError> {
        let address = format!("{address}?fieldManager={FIELD_MANAGER}&dryRun=All");
        let body = ("application/json", object.to_string().into_bytes());
        self.request(Method::PUT, &address, Some(body), "application/json").await
    }

    /// Says anew who set which field of the object that has this version.
    pub async fn set_managers(&self, address: &str, version: &str, managers: &Value) -> Result<(), ApiError> {
        let patch = serde_json::json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": managers},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        ]);
        let address = format!("{address}?fieldManager={FIELD_MANAGER}");
        let body = ("application/json-patch+json", patch.to_string().into_bytes());
        self.request(Method::PATCH, &address, Some(body), "application/json").await.map(drop)
    }

    /// Creates an object below the address of its kind.
    pub async fn create(&self, address: &str, object: &Value) -> Result<Value, ApiError> {
        let address = format!("{address}?fieldManager={FIELD_MANAGER}");
        let body = ("application/json", object.to_string().into_bytes());
        self.request(Method::POST, &address, Some(body), "application/json").await
    }

    /// Puts an object in the place of what has the same version.
    pub async fn update(&self, address: &str, object: &Value) -> Result<Value, ApiError> {
        let address = format!("{address}?fieldManager={FIELD_MANAGER}");
        let body = ("application/json", object.to_string().into_bytes());
        self.request(Method::PUT, &address, Some(body), "application/json").await
    }

    /// Deletes the object of this uid; what is gone already is as good.
    pub async fn delete(&self, address: &str, uid: &str, propagation: &str) -> Result<(), ApiError> {
        let options = serde_json::json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            "preconditions": {"uid": uid},
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
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(group_version).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let kinds = Arc::new(self.discover(group_version).await?);
        let mut all = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(group_version.to_owned(), kinds.clone());
        Ok(kinds)
    }

    async fn discover(&self, group_version: &str) -> Result<BTreeMap<String, ApiKind>, ApiError> {
        let root = if group_version.contains('/') { "apis" } else { "api" };
        let Some(list) = self.get(&format!("/{root}/{group_version}")).await? else { return Ok(BTreeMap::new()) };
        let resources = list.get("resources").and_then(Value::as_array).into_iter().flatten();
        let kind = |resource: &Value| {
            let plural = resource.get("name")?.as_str()?.to_owned();
            let kind = resource.get("kind")?.as_str()?.to_owned();
            let namespaced = resource.get("namespaced")?.as_bool()?;
            let found = ApiKind { group_version: group_version.to_owned(), plural, namespaced };
            // `deployments/scale` is no kind of its own.
            (!found.plural.contains('/')).then_some((kind, found))
        };
        Ok(resources.filter_map(kind).collect())
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
        let known = self.groups.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = self.get(&format!("/apis/{group}")).await?.unwrap_or(Value::Null);
        let text = |v: &Value| v.get("groupVersion").and_then(Value::as_str).map(str::to_owned);
        let first = found.get("preferredVersion").and_then(text);
        let rest = found.get("versions").and_then(Value::as_array).into_iter().flatten().filter_map(text);
        let versions: Vec<String> =
            first.clone().into_iter().chain(rest.filter(|v| Some(v) != first.as_ref())).collect();
        let versions = Arc::new(versions);
        let mut all = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(group.to_owned(), versions.clone());
        Ok(versions)
    }
}
