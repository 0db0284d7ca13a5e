//! Manifests against the Kubernetes API: kinds and their releases, fields, rules of the API server, links, hazards.
//!
//! What lives here: the check of a release as a whole. What does not: rendering (`chart`), the state of a cluster (`plan`).
//!
//! The one idea: an error is what the API server refuses; a warning is what does harm; a note is what may be meant.

pub mod api;
mod crd;
mod fields;
pub mod forms;
mod links;
mod place;
mod rules;

use std::collections::BTreeSet;

use crate::chart::Manifest;
use crate::diag::rules::{API_DEPRECATED, API_NOT_SERVED, MANIFEST_UNKNOWN_KIND};
use crate::diag::{Diagnostics, Severity, did_you_mean};
use crate::source::Sources;

use api::{Api, Kind, RELEASES, group_of};
pub use place::{Finding, Path, Step};
pub use rules::{items, pod_of, with_path};

/// What is checked.
#[derive(Clone, Debug)]
pub struct Release<'a> {
    /// The manifests and hooks, in the order of installation.
    pub manifests: &'a [Manifest],
    /// Hooks.
    pub hooks: &'a [Manifest],
    /// Files below crds/: name and text.
    pub crds: &'a [(String, String)],
    /// The version of Kubernetes: `v1.35.0`.
    pub kube_version: String,
    /// Whether the user named the version.
    pub version_is_given: bool,
}

/// Which findings are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the API server refuses.
    Errors,
    /// Everything.
    All,
}

/// Checks the manifests of a release.
pub fn check_release(diagnostics: &mut Diagnostics, sources: &Sources, release: &Release<'_>, extent: Extent) {
    for (manifest, mut findings) in findings(release, extent) {
        if extent == Extent::Errors {
            findings.retain(|f| f.severity == Severity::Error);
        }
        place::place(manifest, sources, findings).into_iter().for_each(|d| diagnostics.push(d));
    }
}

/// Returns what is found in each manifest.
pub fn findings<'a>(release: &Release<'a>, extent: Extent) -> Vec<(&'a Manifest, Vec<Finding>)> {
    let api = Api::new();
    let minor = minor_of(&release.kube_version);
    let mut customs = crd::Customs::new(release);
    let all = || release.manifests.iter().chain(release.hooks);
    let mut found: Vec<(&Manifest, Vec<Finding>)> = Vec::new();
    for manifest in all() {
        let mut findings = check_manifest(&api, &mut customs, release, minor, manifest);
        for (index, item) in items_of_list(manifest) {
            let mut inner = check_manifest(&api, &mut customs, release, minor, &item);
            if extent == Extent::All {
                inner.extend(super::hazards::check(&item));
            }
            findings.extend(inner.into_iter().map(|finding| finding.within(index, &item)));
        }
        found.push((manifest, findings));
    }
    if extent == Extent::All {
        links::check(&api, release, &mut found);
        for (manifest, findings) in &mut found {
            findings.extend(super::hazards::check(manifest));
        }
    }
    found
}

/// Returns the resources that a `List` holds, with their indices. Source: Kubernetes, `meta/v1` List.
fn items_of_list(list: &Manifest) -> Vec<(usize, Manifest)> {
    let items = list.data.get("items").and_then(serde_json::Value::as_array);
    let items = items.filter(|_| list.kind.ends_with("List")).map(Vec::as_slice).unwrap_or_default();
    let item = |(index, data): (usize, &serde_json::Value)| {
        let text = |pointer: &str| data.pointer(pointer)?.as_str().map(str::to_owned);
        // items of a list of one kind may leave out what the list says
        let one = list.kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        let kind = text("/kind").or_else(|| one.map(str::to_owned)).unwrap_or_default();
        let api_version = text("/apiVersion").or_else(|| one.map(|_| list.api_version.clone())).unwrap_or_default();
        let name = text("/metadata/name").unwrap_or_default();
        (index, Manifest { api_version, kind, name, data: data.clone(), ..list.clone() })
    };
    items.iter().enumerate().filter(|(_, data)| data.is_object()).map(item).collect()
}

fn check_manifest(
    api: &Api,
    customs: &mut crd::Customs<'_>,
    release: &Release<'_>,
    minor: u32,
    manifest: &Manifest,
) -> Vec<Finding> {
    if manifest.kind.is_empty() || manifest.api_version.is_empty() {
        return Vec::new();
    }
    let Some(kind) = api.kind(&manifest.api_version, &manifest.kind) else {
        if api.has_group(manifest.group()) {
            return unknown_kind(api, manifest).into_iter().collect();
        }
        return customs.check(manifest);
    };
    let mut found: Vec<Finding> = releases(&kind, minor, release.version_is_given, manifest).into_iter().collect();
    if found.iter().any(|f| f.severity == Severity::Error) {
        return found;
    }
    let subject = format!("{} ({})", manifest.kind, manifest.api_version);
    let walk = fields::Walk::new(api, minor, release.version_is_given, subject);
    found.extend(walk.run(kind.type_name, &manifest.data));
    found.extend(rules::check(manifest));
    found
}

/// Returns the minor release of a version, within those that are known.
fn minor_of(version: &str) -> u32 {
    let minor = version.trim_start_matches('v').split('.').nth(1).unwrap_or_default();
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(RELEASES.1).min(RELEASES.1)
}

/// Returns what a cluster of a version serves by itself: `GROUP/VERSION` and `GROUP/VERSION/KIND`, sorted.
///
/// Alpha versions, and beta versions that came with 1.24 or later, are not switched on. Source: Kubernetes, KEP 3136.
pub fn served(kube_version: &str) -> BTreeSet<String> {
    let minor = minor_of(kube_version);
    let is_on = |version: &str, kind: &Kind| {
        let there = kind.first <= minor && (kind.removed == 0 || kind.removed > minor);
        there && !version.contains("alpha") && !(version.contains("beta") && kind.first >= 24)
    };
    let api = Api::new();
    let kinds = api.kinds().filter(|(version, _, kind)| is_on(version, kind));
    kinds.flat_map(|(version, kind, _)| [version.to_owned(), format!("{version}/{kind}")]).collect()
}

fn releases(kind: &Kind, minor: u32, is_given: bool, manifest: &Manifest) -> Option<Finding> {
    let root = Path::ROOT;
    let path = root.key("apiVersion");
    let name = format!("{} of {}", manifest.kind, manifest.api_version);
    let instead = kind.replacement.map(|r| {
        let (version, kind) = r.rsplit_once('/').unwrap_or(("", r));
        format!("use {kind} of {version}")
    });
    if kind.removed != 0 && kind.removed <= minor {
        let message = format!("{name} is not served since Kubernetes 1.{}; the release is for 1.{minor}", kind.removed);
        let finding = Finding::new(&API_NOT_SERVED, &path, message).hint_if(instead);
        // charts ask whether a cluster serves this group, and without one Helm says that it does not
        let unasked = manifest.group() == "apiregistration.k8s.io" && !is_given;
        return Some(if unasked { finding.severity(Severity::Warning) } else { finding });
    }
    if kind.first > minor && is_given {
        let message = format!("{name} comes with Kubernetes 1.{}; the release is for 1.{minor}", kind.first);
        return Some(Finding::new(&API_NOT_SERVED, &path, message));
    }
    if kind.deprecated != 0 && kind.deprecated <= minor {
        let end = match kind.removed {
            0 => String::new(),
            removed => format!(", and not served from 1.{removed} on"),
        };
        let message = format!("{name} is deprecated since Kubernetes 1.{}{end}", kind.deprecated);
        return Some(Finding::new(&API_DEPRECATED, &path, message).hint_if(instead));
    }
    None
}

fn unknown_kind(api: &Api, manifest: &Manifest) -> Option<Finding> {
    let (version, kind) = (manifest.api_version.as_str(), manifest.kind.as_str());
    if (version, kind) == ("v1", "List") || kind.ends_with("List") {
        return None;
    }
    let group = group_of(version);
    let mut versions: Vec<&str> = api.kinds().filter(|(_, k, _)| *k == kind).map(|(v, _, _)| v).collect();
    versions.sort_unstable();
    let root = Path::ROOT;
    let same_group = versions.iter().any(|v| group_of(v) == group);
    if same_group {
        // a version of a known kind may be newer than the table
        let message = format!("{kind} of {version} is not known up to Kubernetes 1.{}", RELEASES.1);
        let finding = Finding::new(&MANIFEST_UNKNOWN_KIND, &root.key("apiVersion"), message);
        return Some(finding.severity(Severity::Warning).hint(format!("known: {}", versions.join(", "))));
    }
    let message = format!("Kubernetes has no kind {kind} in {version}");
    let finding = Finding::new(&MANIFEST_UNKNOWN_KIND, &root.key("kind"), message);
    let mut names: Vec<&str> = api.kinds().filter(|(v, _, _)| *v == version).map(|(_, k, _)| k).collect();
    names.sort_unstable();
    let near = did_you_mean(kind, names).map(|n| format!("did you mean `{n}`?"));
    let elsewhere = (!versions.is_empty()).then(|| format!("{kind} is in {}", versions.join(", ")));
    Some(finding.hint_if(elsewhere.or(near)))
}

#[cfg(test)]
mod tests;
