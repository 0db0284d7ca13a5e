//! What the API server would make of resources: dry runs, and what is told where there can be none.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use super::api::{Api, ApiError, is_mistyped, word};
use super::fields::{has_predecessor, merged, stands, taken, without_leftovers};
use super::lives::{Lives, Namespaces};
use super::objects::{cleaned, guarded, is_going, metadata, set};
use super::retry::{has_no_account, is_webhook};
use super::{PARALLEL, Place, kind_of, read_manifest, text};
use crate::observed::{Preview, WantedResource};
use crate::plan::Secrecy;

/// Discovers the kinds of manifests ahead of those who need them. Who is not answered asks again, and says so.
pub async fn learn_kinds(wanted: &[WantedResource], api: &Api) {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(rename = "apiVersion")]
        version: String,
    }
    let head = |wanted: &WantedResource| serde_json::from_str::<Head>(wanted.manifest.as_ref()?).ok();
    let versions: BTreeSet<String> = wanted.iter().filter_map(|wanted| Some(head(wanted)?.version)).collect();
    let asked = stream::iter(versions.iter().map(|version| api.kinds_of(version)));
    asked.buffer_unordered(PARALLEL).for_each(|_| async {}).await;
}

/// What one question is answered in view of: the definitions and namespaces that are made in the same plan.
pub struct Made {
    kinds: BTreeSet<(String, String)>,
    definitions: Vec<Value>,
    /// The namespaces, where they were looked for.
    pub namespaces: Namespaces,
}

impl Made {
    /// Nothing is asked.
    pub fn of(wanted: &[WantedResource]) -> (Self, BTreeSet<String>) {
        let (mut kinds, mut definitions, mut namespaces) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        for resource in wanted {
            let manifest = resource.manifest.as_ref().filter(|_| {
                resource.path.contains("/Namespace/") || resource.path.contains("/CustomResourceDefinition.")
            });
            let Some(object) = manifest.and_then(|m| serde_json::from_str::<Value>(m).ok()) else { continue };
            if text(&object, "kind") == "Namespace" {
                namespaces.insert(metadata(&object, "name").to_owned());
            } else {
                let of = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                kinds.insert((of("/spec/group"), of("/spec/names/kind")));
                definitions.push(object);
            }
        }
        (Self { kinds, definitions, namespaces: Namespaces::default() }, namespaces)
    }

    /// Looks which of the namespaces are there.
    pub async fn look(wanted: &[WantedResource], api: &Api) -> Result<Self, ApiError> {
        let (mut made, namespaces) = Self::of(wanted);
        let look = |namespace: String| async move {
            let found = api.get(&format!("/api/v1/namespaces/{}", word(&namespace))).await;
            (namespace, found)
        };
        let looks = namespaces.into_iter().map(look).collect::<Vec<_>>();
        for (name, found) in stream::iter(looks).buffered(PARALLEL).collect::<Vec<_>>().await {
            match found {
                Ok(found) => drop(made.namespaces.insert(name, found)),
                // Who may not look at namespaces works within those that are there.
                Err(error) if error.refusal().is_some_and(|status| status.code == 403) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Says whether a namespace is not there yet: nothing is in it, and the server says no more of what comes.
    fn is_missing(&self, namespace: Option<&str>) -> bool {
        namespace.is_some_and(|namespace| self.namespaces.get(namespace) == Some(&None))
    }
}

/// Says whether a manifest says nothing but that there is an object: as of the namespace of a release.
fn is_only_named(object: &Value) -> bool {
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    text(object, "kind") == "Namespace" && count("") == 3 && count("/metadata") == 1
}

/// Says whether it is a namespace of which nothing is wanted but that it is there.
pub fn is_bare_namespace(wanted: &WantedResource) -> bool {
    let object = wanted.manifest.as_ref().map(|manifest| serde_json::from_str::<Value>(manifest).unwrap_or_default());
    wanted.path.starts_with("-/Namespace/") && object.is_none_or(|object| is_only_named(&object))
}

/// Asks what would become of a resource.
pub async fn preview(api: &Api, wanted: &WantedResource, lives: &Lives, made: &Made) -> Result<Preview, ApiError> {
    let place = Place::parse(&wanted.path)?;
    let Some(manifest) = &wanted.manifest else {
        let live = lives.get(api, &wanted.path).await?;
        let content = live.as_ref().map(|live| guarded(live, None));
        return Ok(Preview { live: live.as_ref().map(cleaned), content, ..Preview::default() });
    };
    let object = read_manifest(manifest)?;
    let kind = match kind_of(api, &object).await {
        Ok(kind) => kind,
        Err(error @ ApiError::NoKind { .. }) => {
            let comes = made.kinds.contains(&(place.group.to_owned(), place.kind.to_owned()));
            if comes {
                // Nothing of the kind is there, or it is of an older version.
                let Some(live) = lives.get(api, &wanted.path).await? else { return Ok(Preview::default()) };
                return Ok(Preview {
                    after: Some(cleaned(&merged(Some(&live), &object))),
                    content: Some(guarded(&live, Some(&object))),
                    stays: Some(guarded(&live, None)),
                    taken: taken(&live, &object),
                    managers: managers(&live),
                    live: Some(cleaned(&live)),
                    ..Preview::default()
                });
            }
            let other = api.preferred(place.group, place.kind).await?;
            let other = other.map(|kind| format!("; it serves {} in {}", place.kind, kind.group_version));
            let refused = Some(format!("{error}{}", other.unwrap_or_default()));
            return Ok(Preview { refused, ..Preview::default() });
        }
        Err(error) => return Err(error),
    };
    if kind.namespaced && made.is_missing(place.namespace) {
        return Ok(Preview::default());
    }
    let address = place.address(&kind);
    // A guard compares what stands there in the version that the server prefers.
    let preferred = match lives.get(api, &wanted.path).await {
        // A name that the server cannot even look for.
        Err(ApiError::Status(status)) if status.code == 400 => {
            return Ok(Preview { refused: Some(status.message), ..Preview::default() });
        }
        found => found?,
    };
    let content = preferred.as_ref().map(|live| guarded(live, Some(&object)));
    let stays = preferred.as_ref().map(|live| guarded(live, None));
    let found = match preferred {
        Some(_) if api.preferred(place.group, place.kind).await?.as_ref() != Some(&kind) => api.get(&address).await?,
        preferred => preferred,
    };
    let mut preview = Preview { live: found.as_ref().map(cleaned), content, stays, ..Preview::default() };
    preview.failed = found.as_ref().and_then(failure);
    preview.managers = found.as_ref().map(managers).unwrap_or_default();
    if found.as_ref().is_some_and(|live| stands(live, &object) || is_only_named(&object)) {
        preview.after.clone_from(&preview.live);
        return Ok(preview);
    }
    let mut warnings = Vec::new();
    let mut answer = api.try_apply(&address, &object, false, &mut warnings).await;
    if let Err(error) = &answer
        && let Some(taken) = conflicts(error)
    {
        preview.taken = taken;
        answer = api.try_apply(&address, &object, true, &mut warnings).await;
    }
    // What the server says of what holds secrets may repeat them.
    preview.warnings = if is_discreet(&object) { Vec::new() } else { warnings };
    if let (Some(live), Ok(after)) = (&found, &answer)
        && has_predecessor(live)
    {
        preview.adopts = true;
        if let Some(mut object) = without_leftovers(live, after) {
            set(&mut object, &["metadata", "resourceVersion"], metadata(live, "resourceVersion").into());
            match api.try_update(&address, &object).await {
                Ok(after) => answer = Ok(after),
                // What cannot be removed stays, and stays theirs.
                Err(error) if error.refusal().is_some() => preview.adopts = false,
                Err(error) => return Err(error),
            }
        }
    }
    if let Err(error) = &answer
        && let Some(why) = no_dry_run(error)
    {
        let after = Some(cleaned(&merged(found.as_ref(), &object)));
        take_note(&mut preview, found.as_ref(), &object);
        // Where nothing is to be written, nothing is missing.
        preview.blind = (preview.live != after).then_some(why);
        preview.after = after;
        return Ok(preview);
    }
    if let Err(error) = &answer
        && error.refusal().is_some_and(is_about_schema)
        && made.kinds.contains(&(place.group.to_owned(), place.kind.to_owned()))
        && definition_changes(api, &place, made).await?
    {
        // What the new definition says, only a server knows that has it.
        take_note(&mut preview, found.as_ref(), &object);
        preview.after = Some(cleaned(&merged(found.as_ref(), &object)));
        return Ok(preview);
    }
    match answer {
        // One that is on its way out is made anew.
        Ok(after) if is_going(&after) => {}
        Ok(after) => preview.after = Some(cleaned(&after)),
        Err(error) => {
            let Some(status) = error.refusal() else { return Err(error) };
            let immutable = if found.is_some() { immutable_fields(status) } else { Vec::new() };
            if immutable.is_empty() {
                preview.refused = Some(refusal(status, &object));
            } else {
                preview.immutable = immutable;
            }
        }
    }
    Ok(preview)
}

fn managers(live: &Value) -> Value {
    live.pointer("/metadata/managedFields").cloned().unwrap_or_default()
}

/// Notes what others set over what is wanted, where the server did not say it.
fn take_note(preview: &mut Preview, live: Option<&Value>, wanted: &Value) {
    if let Some(live) = live.filter(|_| preview.taken.is_empty()) {
        preview.taken = taken(live, wanted);
    }
}

/// Says why a Job has failed for good.
fn failure(live: &Value) -> Option<String> {
    let is_job = text(live, "kind") == "Job" && text(live, "apiVersion").starts_with("batch/");
    let conditions = live.pointer("/status/conditions").filter(|_| is_job)?.as_array()?;
    let failed = conditions.iter().find(|c| text(c, "type") == "Failed" && text(c, "status") == "True")?;
    Some(text(failed, "reason").to_owned())
}

/// Says why there can be no dry run, where that says nothing against the write itself.
fn no_dry_run(error: &ApiError) -> Option<String> {
    let status = error.status()?;
    let says = |text: &str| status.message.contains(text);
    // Source: Kubernetes, admission of webhooks with side effects, and RBAC.
    let unable = status.code == 400 && says("does not support dry run");
    let may_not = status.code == 403 && (says("cannot patch resource") || says("cannot create resource"));
    // Without the name of the object, so that one cause is told once.
    let message = status.message.split_once(" is forbidden: ").map_or(status.message.as_str(), |(_, why)| why);
    (unable || may_not || is_webhook(status) || has_no_account(status)).then(|| message.to_owned())
}

/// Returns the fields that others set, where that is why the server refuses.
fn conflicts(error: &ApiError) -> Option<Vec<(String, String)>> {
    let status = error.refusal().filter(|status| status.code == 409)?;
    let causes = &status.details.as_ref()?.causes;
    let fields: Vec<(String, String)> = causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| {
            let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message);
            (cause.field.trim_start_matches('.').to_owned(), manager.to_owned())
        })
        .collect();
    (!fields.is_empty()).then_some(fields)
}

/// Texts by which the server says that a field cannot be changed in place. Source: Kubernetes API validation.
const IMMUTABLE: [&str; 8] = [
    "immutable",
    "updates to statefulset spec for fields other than",
    "updates to parameters are forbidden",
    "cannot change roleRef",
    "pod updates may not change fields other than",
    "may not be changed",
    "may not change once set",
    "updates to provisioner are forbidden",
];

/// Returns the fields that stand in the way of an update in place, where nothing else does.
fn immutable_fields(status: &kube::core::Status) -> Vec<String> {
    if status.code != 422 {
        return Vec::new();
    }
    let causes: Vec<_> = status.details.iter().flat_map(|d| &d.causes).collect();
    if causes.is_empty() {
        return if is_immutable(&status.message) { vec!["spec".to_owned()] } else { Vec::new() };
    }
    // What is at fault for another reason is at fault in a new object, too.
    let is_meant = |cause: &kube::core::response::StatusCause| {
        matches!(cause.reason.as_str(), "FieldValueInvalid" | "FieldValueForbidden") && is_immutable(&cause.message)
    };
    if !causes.iter().all(|cause| is_meant(cause)) {
        return Vec::new();
    }
    let mut fields: Vec<String> = causes.iter().map(|cause| cause.field.clone()).collect();
    fields.dedup();
    fields
}

/// Says whether a message ends with one of the texts; what is before may be a value of the user.
fn is_immutable(message: &str) -> bool {
    let first = message.lines().next().unwrap_or_default();
    let said = if first.starts_with("Forbidden: ") { first } else { first.rsplit(": ").next().unwrap_or_default() };
    IMMUTABLE.iter().any(|known| said.contains(known))
}

/// Says whether the server refuses an object for what its kind is said to be. Source: Kubernetes, server-side apply and
/// validation of custom resources.
pub fn is_about_schema(status: &kube::core::Status) -> bool {
    is_mistyped(status) || status.code == 400 && status.message.contains("strict decoding error") || status.code == 422
}

/// Says whether the definition of a kind is written otherwise than it stands.
async fn definition_changes(api: &Api, place: &Place<'_>, made: &Made) -> Result<bool, ApiError> {
    let Some(definition) = made.definitions.iter().find(|definition| {
        let of = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str);
        of("/spec/group") == Some(place.group) && of("/spec/names/kind") == Some(place.kind)
    }) else {
        return Ok(false);
    };
    let kind = kind_of(api, definition).await?;
    let live = api.get(&kind.address(None, metadata(definition, "name"))).await?;
    Ok(live.is_none_or(|live| !stands(&live, definition)))
}

/// Says whether the server must not be quoted about an object: what it says may repeat values.
fn is_discreet(object: &Value) -> bool {
    text(object, "kind") == "Secret" || !Secrecy::of(object).is_empty()
}

/// Says that the server refuses, and why. Of what holds secrets, only the fields are told.
fn refusal(status: &kube::core::Status, object: &Value) -> String {
    if !is_discreet(object) {
        return format!("the API server refuses it: {}", status.message);
    }
    let fields: Vec<&str> = status.details.iter().flat_map(|d| &d.causes).map(|c| c.field.as_str()).collect();
    format!("the API server refuses it: {} {}", status.reason, fields.join(", ")).trim_end().to_owned()
}

/// Hides what the server says of what holds secrets.
pub fn discreet(error: ApiError, object: &Value) -> ApiError {
    if let ApiError::Outdated(error) = error {
        return ApiError::Outdated(Box::new(discreet(*error, object)));
    }
    match error.status() {
        Some(status) if is_discreet(object) => ApiError::Unexpected(refusal(status, object)),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(causes: &[(&str, &str, &str)]) -> Vec<String> {
        let cause = |(reason, message, field): &(&str, &str, &str)| json!({"reason": reason, "message": message, "field": field});
        let causes: Vec<Value> = causes.iter().map(cause).collect();
        let status =
            json!({"code": 422, "reason": "Invalid", "message": "it is invalid", "details": {"causes": causes}});
        immutable_fields(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn only_what_is_immutable_and_nothing_else_is_a_replacement() {
        let selector = ("FieldValueInvalid", "Invalid value: {\"a\": \"b\"}: field is immutable", "spec.selector");
        let missing =
            ("FieldValueNotFound", "Not found: \"cache\"", "spec.template.spec.containers[0].volumeMounts[0].name");
        assert_eq!(refused(&[selector]), ["spec.selector"]);
        assert_eq!(refused(&[selector, missing]), Vec::<String>::new());
        let named = ("FieldValueNotFound", "Not found: \"immutable-cache\"", "spec.containers[0].volumeMounts[0].name");
        assert_eq!(refused(&[named]), Vec::<String>::new());
        let value =
            ("FieldValueInvalid", "Invalid value: \"immutable: x\": must be a DNS label", "spec.containers[0].name");
        assert_eq!(refused(&[value]), Vec::<String>::new());
        let pods =
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`\n diff: \"x\": 1";
        assert_eq!(refused(&[("FieldValueForbidden", pods, "spec")]), ["spec"]);
    }
}
