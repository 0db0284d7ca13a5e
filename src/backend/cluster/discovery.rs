//! What a cluster serves, and what templates find in it.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};
use http::Method;
use serde_json::Value;

use super::api::{Api, ApiError, word};
use super::objects::set;
use super::{PARALLEL, text};
use crate::ports::ObjectQuery;

/// Returns the version of the server.
pub async fn kube_version(api: &Api) -> Result<String, ApiError> {
    let version = api.get("/version").await?.unwrap_or(Value::Null);
    let version = text(&version, "gitVersion").to_owned();
    if version.is_empty() {
        return Err(ApiError::Unexpected("what answers at `/version` is no API server of Kubernetes".to_owned()));
    }
    Ok(version)
}

/// Returns the API versions of the server, and the kinds in them.
pub async fn api_versions(api: &Api) -> Result<Vec<String>, ApiError> {
    let mut versions = vec!["v1".to_owned()];
    let groups = api.get("/apis").await?.unwrap_or(Value::Null);
    for group in list(&groups, "groups") {
        versions.extend(list(group, "versions").map(|version| text(version, "groupVersion").to_owned()));
    }
    let asked = stream::iter(versions.iter().map(|version| async move { (version, api.kinds_at_once(version).await) }));
    let mut apis = BTreeSet::new();
    for (version, kinds) in asked.buffer_unordered(PARALLEL).collect::<Vec<_>>().await {
        // A group whose own server is away must not keep a release from being planned that does not use it.
        let Ok(kinds) = kinds else { continue };
        apis.extend(kinds.keys().map(|kind| format!("{version}/{kind}")));
        apis.insert(version.clone());
    }
    Ok(apis.into_iter().collect())
}

fn list<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Lists the budgets of disruption of namespaces, one list each; none where they may not be seen.
pub async fn budgets(api: &Api, namespaces: &BTreeSet<String>) -> Result<Vec<Value>, ApiError> {
    let Some(kind) = api.preferred("policy", "PodDisruptionBudget").await? else { return Ok(Vec::new()) };
    let list = |namespace: &String| {
        let address = kind.list_address(Some(namespace));
        async move { api.request(Method::GET, &address, None, "application/json").await }
    };
    let lists = stream::iter(namespaces.iter().map(list).collect::<Vec<_>>()).buffered(PARALLEL);
    let mut found = Vec::new();
    for list in lists.collect::<Vec<_>>().await {
        let mut list = match list {
            Err(error) if error.refusal().is_some() => continue,
            list => list?,
        };
        let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        found.extend(items.into_iter().flatten().map(|mut item| {
            set(&mut item, &["apiVersion"], kind.group_version.clone().into());
            item
        }));
    }
    Ok(found)
}

/// Finds an object, or all of a kind. Source: Helm 3, `lookup`.
pub async fn lookup(api: &Api, query: &ObjectQuery<'_>) -> Result<Option<Value>, ApiError> {
    let no_kind = || ApiError::NoKind { kind: query.kind.to_owned(), group_version: query.api_version.to_owned() };
    let kind = api.kind(query.api_version, query.kind).await?.ok_or_else(no_kind)?;
    let address = kind.list_address(Some(query.namespace).filter(|n| !n.is_empty()));
    if !query.name.is_empty() {
        return api.get(&format!("{address}/{}", word(query.name))).await;
    }
    let mut found = api.request(Method::GET, &address, None, "application/json").await?;
    // The items of a list do not say what they are.
    for item in found.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        set(item, &["apiVersion"], query.api_version.into());
        set(item, &["kind"], query.kind.into());
    }
    Ok(Some(found))
}
