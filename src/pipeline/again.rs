//! Planning once more what a saved plan is for, over what the target holds now.
//!
//! The one idea: nothing is read but the plan itself. All manifests of a release stand in the record that it would write,
//! so no template, value or commit can come between what was approved and what is planned again. What a plan deletes stands
//! in the records of the release.

use serde_json::Value;

use crate::plan::{
    ChartChanges, ClusterChart, DesiredResource, Dismissal, Dismissed, Plan, RecordedRelease, ReleaseContext,
    ReleaseSection, Sensitive, Work, cluster_path, plan_release, read_record, read_release, release_key,
    wanted_resources,
};
use crate::ports::{Target, TargetError};
use crate::source::FileId;
use crate::syntax::yaml;

use super::kept::keep_changes;
use super::releases::name_unready;

/// Plans the resources of a saved plan again; `None` where its file does not say enough, as of what goes to a folder. It is to
/// be compared with the saved plan, and not to be carried out: only the cluster part is in it.
///
/// # Errors
/// The target failed.
pub fn plan_again(plan: &Plan, target: &dyn Target) -> Result<Option<ReleaseSection>, TargetError> {
    if ends_release(plan) {
        return dismiss_again(plan, target);
    }
    let opens = plan.operations.iter().find_map(|operation| operation.work.opened());
    let read = |text: &str| {
        let payload: Value = serde_json::from_str(text).ok()?;
        Some((read_release(&payload)?, payload))
    };
    let Some((key, (recorded, payload))) = opens.and_then(|(key, text)| Some((key, read(text)?))) else {
        return Ok(None);
    };
    let fact = target.observe(key)?;
    let before = read_record(&fact);
    let desired: Vec<DesiredResource> =
        beside_release(plan, &recorded).into_iter().chain(recorded.resources.iter().cloned()).collect();
    let wanted = wanted_resources(&desired, &recorded.hooks, &recorded.record, before.as_ref());
    let Some(mut previews) = target.preview(&wanted)? else { return Ok(None) };
    let kept = keep_changes(
        plan.inputs.no_remove_manual_changes,
        (&desired, &fact.history),
        &mut previews,
        |sent| wanted_resources(sent, &recorded.hooks, &recorded.record, before.as_ref()),
        |wanted| Ok::<_, TargetError>(target.preview(&wanted)?.unwrap_or_default()),
    )?;
    let parse = |text: &str| yaml::decode(text, FileId(u32::MAX), 0, yaml::Options::HELM).ok().map(|n| n.to_plain());
    let is_rollback = payload.pointer("/info/status").is_some_and(|status| status == "pending-rollback");
    let notes = payload.pointer("/info/notes").and_then(|notes| notes.as_str().map(str::to_owned));
    let names = |work: &Work| matches!(work, Work::TagImage { .. } | Work::TagIndex { .. } | Work::CopyImage { .. });
    let context = ReleaseContext {
        record: recorded.record.clone(),
        fact: &fact,
        images: &[],
        changes: &ChartChanges::default,
        parse: &parse,
        after: plan.operations.iter().filter(|o| names(&o.work)).map(|o| o.id.clone()).collect(),
        previews: Some(&previews),
        chart: ClusterChart { notes: notes.map(Sensitive::new).unwrap_or_default(), ..ClusterChart::default() },
        hooks: &recorded.hooks,
        rollback: is_rollback.then_some(&payload),
        // Where that was not approved, another action comes of it.
        force_adoption: true,
        force_conflicts: true,
        no_hooks: plan.inputs.no_hooks,
        kept: &kept,
    };
    let mut section = plan_release(&desired, &context);
    name_unready(&mut section, target, &previews);
    Ok(Some(section))
}

/// Says whether a plan deletes a release, or the namespace of one that is none any more.
fn ends_release(plan: &Plan) -> bool {
    let has = |is: fn(&Work) -> bool| plan.operations.iter().any(|operation| is(&operation.work));
    plan.inputs.cluster.is_some()
        && has(|work| matches!(work, Work::DeleteResource { .. } | Work::ForgetRelease { .. }))
        && !has(|work| matches!(work, Work::RecordRelease { .. }))
}

/// As [`plan_again`], of what deletes a release: what that is stands in its records. Whether more goes, the plan says: where it
/// deletes nothing that hooks left, nobody approved that.
fn dismiss_again(plan: &Plan, target: &dyn Target) -> Result<Option<ReleaseSection>, TargetError> {
    let (Some(release), Some(namespace)) = (&plan.inputs.release, &plan.inputs.namespace) else { return Ok(None) };
    let deletes = |path: &str| plan.operations.iter().any(|operation| operation.id == format!("delete:{path}"));
    let fact = target.observe(&release_key(namespace, release))?;
    let hooks = fact.history.last().and_then(read_release).map(|last| last.hooks).unwrap_or_default();
    let with = Dismissal {
        namespace: deletes(&format!("-/Namespace/{namespace}")),
        hooks: hooks.iter().any(|hook| deletes(&cluster_path(&hook.resource))),
    };
    let dismissed = Dismissed { history: &fact.history, release, namespace, with };
    let Some(previews) = target.preview(&dismissed.wanted())? else { return Ok(None) };
    Ok(Some(dismissed.plan(&previews)))
}

/// Returns what the plan writes and the release does not record: definitions beside its templates.
fn beside_release(plan: &Plan, recorded: &RecordedRelease) -> Vec<DesiredResource> {
    let known: Vec<String> = recorded.resources.iter().map(cluster_path).collect();
    let own = format!("-/Namespace/{}", recorded.record.namespace);
    let definition = |operation: &crate::plan::Operation| {
        let Work::WriteResource { path, manifest, sealed, .. } = &operation.work else { return None };
        if !operation.id.starts_with("write:") || known.contains(path) || *path == own {
            return None;
        }
        let data: Value = serde_json::from_str(manifest.as_ref().or(sealed.reveal())?).ok()?;
        let field = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(DesiredResource {
            api_version: field("/apiVersion"),
            kind: field("/kind"),
            namespace: Some(field("/metadata/namespace")).filter(|namespace| !namespace.is_empty()),
            name: field("/metadata/name"),
            text: String::new(),
            place: None,
            hidden: false,
            belongs: false,
            data,
        })
    };
    plan.operations.iter().filter_map(definition).collect()
}
