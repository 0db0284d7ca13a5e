//! Live objects, many at once.
//!
//! The one idea: a kind of which many objects are wanted is listed once, and the others are read one by one, all at the same time.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _};
use http::Method;
use serde_json::Value;

use super::api::{Api, ApiError, word};
use super::objects::{is_going, metadata, set};
use super::{PARALLEL, Place};

/// From how many on objects of one kind are listed.
const MANY: usize = 8;
/// The objects of one page.
const PAGE: usize = 500;
/// How many pages are read: where there are more, most objects are not ours.
const PAGES: usize = 4;

/// Returns the object under a path in the version that the server prefers; `None` where there is none, no such kind, or one
/// that is on its way out.
pub async fn live(api: &Api, path: &str) -> Result<Option<Value>, ApiError> {
    let place = Place::parse(path)?;
    let Some(kind) = api.preferred(place.group, place.kind).await? else { return Ok(None) };
    Ok(api.get(&place.address(&kind)).await?.filter(|object| !is_going(object)))
}

/// Objects that were read, by path; `None` where none is there. Of the others nothing is known.
#[derive(Default)]
pub struct Lives(BTreeMap<String, Option<Value>>);

/// Namespaces that were looked at, by name; `None` where there is none.
pub type Namespaces = BTreeMap<String, Option<Value>>;

/// The namespace, group and kind of objects.
pub type Kind<'a> = (Option<&'a str>, &'a str, &'a str);

impl Lives {
    /// Reads objects; those that the server refuses to show stay unknown. What is known of namespaces is not asked again.
    pub async fn read(api: &Api, paths: &[String], namespaces: &Namespaces) -> Result<Self, ApiError> {
        let mut kinds: BTreeMap<Kind<'_>, Vec<(&str, &str)>> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for path in paths.iter().collect::<BTreeSet<_>>() {
            let place = Place::parse(path)?;
            if place.namespace.is_some_and(|namespace| namespaces.get(namespace) == Some(&None)) {
                // Whether objects of others have namespaces, the server knows.
                let is_others = place.group.contains('.') && !place.group.ends_with(".k8s.io");
                let kind = if is_others { api.preferred(place.group, place.kind).await? } else { None };
                if kind.is_none_or(|kind| kind.namespaced) {
                    found.insert(path.clone(), None);
                    continue;
                }
            }
            if let ("Namespace", "", Some(known)) = (place.kind, place.group, namespaces.get(place.name)) {
                found.insert(path.clone(), known.clone().filter(|object| !is_going(object)));
                continue;
            }
            kinds.entry((place.namespace, place.group, place.kind)).or_default().push((place.name, path));
        }
        let (many, few): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|(_, wanted)| wanted.len() >= MANY);
        let lists = many
            .into_iter()
            .map(|((namespace, group, kind), wanted)| async move { (wanted, list(api, namespace, group, kind).await) });
        let lists = stream::iter(lists).buffered(PARALLEL).collect::<Vec<_>>();
        let paths = few.into_iter().flat_map(|(_, wanted)| wanted.into_iter().map(|(_, path)| path));
        let singles = paths.map(|path| async move { (path, live(api, path).await) });
        let singles = stream::iter(singles).buffered(PARALLEL).collect::<Vec<_>>();
        let (lists, singles) = join(lists, singles).await;
        for (wanted, listed) in lists {
            let Some(mut listed) = listed? else { continue };
            found.extend(wanted.into_iter().map(|(name, path)| (path.to_owned(), listed.remove(name))));
        }
        for (path, single) in singles {
            match single {
                Ok(single) => drop(found.insert(path.to_owned(), single)),
                // Whoever needs it asks again, and says why it cannot be had.
                Err(error) if error.refusal().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(found))
    }

    /// Returns the object under a path, as [`live`] does.
    pub async fn get(&self, api: &Api, path: &str) -> Result<Option<Value>, ApiError> {
        match self.0.get(path) {
            Some(known) => Ok(known.clone()),
            None => live(api, path).await,
        }
    }
}

/// Returns the objects of a kind by name; `None` where there are too many, or they may not be listed.
async fn list(
    api: &Api,
    namespace: Option<&str>,
    group: &str,
    kind: &str,
) -> Result<Option<BTreeMap<String, Value>>, ApiError> {
    let Some(api_kind) = api.preferred(group, kind).await? else { return Ok(None) };
    // Records of releases are large, and none of them is asked for.
    let records = if kind == "Secret" && group.is_empty() { "&fieldSelector=type!%3Dhelm.sh/release.v1" } else { "" };
    let base = format!("{}?limit={PAGE}{records}", api_kind.list_address(namespace));
    let mut found = BTreeMap::new();
    let mut address = base.clone();
    for _ in 0..PAGES {
        let page = match api.request(Method::GET, &address, None, "application/json").await {
            Ok(page) => page,
            // An account may be allowed to read what it names, and not to list.
            Err(error) if error.refusal().is_some() => return Ok(None),
            Err(error) => return Err(error),
        };
        let Value::Object(mut page) = page else { return Ok(None) };
        let next = page.get("metadata").and_then(|m| m.get("continue")?.as_str()).unwrap_or_default().to_owned();
        let Some(Value::Array(items)) = page.shift_remove("items") else { return Ok(None) };
        for mut item in items.into_iter().filter(|item| !is_going(item)) {
            // The items of a list do not say what they are.
            set(&mut item, &["apiVersion"], api_kind.group_version.clone().into());
            set(&mut item, &["kind"], kind.into());
            found.insert(metadata(&item, "name").to_owned(), item);
        }
        if next.is_empty() {
            return Ok(Some(found));
        }
        address = format!("{base}&continue={}", word(&next));
    }
    Ok(None)
}
