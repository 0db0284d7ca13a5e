//! Planning what takes a release back: an older revision of it once more, or nothing at all.
//!
//! The one idea: both are plans as any other. What is wanted comes from Helm's records instead of from a project; what is
//! written, how it is guarded and how it is tracked is the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::Diagnostics;
use crate::exec::unready_pods;
use crate::observed::{Preview, ReleaseFact};
use crate::plan::{
    ChartChanges, ClusterChart, Concealing, DesiredResource, Dismissal, Dismissed, Fidelity, ImageSection, Inputs,
    Plan, RecordedRelease, ReleaseContext, ReleaseRecord, ReleaseSection, assemble, budget_risks, conceal, endangered,
    name_stuck, ordered_sets, plan_release, read_record, read_release, release_key, revision_to_go_back_to,
    wanted_resources,
};
use crate::ports::{ReleaseStore, Target, TargetError};
use crate::source::{FileId, Sources};
use crate::syntax::yaml;

use super::kept::keep_changes;
use super::plan::{is_blocked, live_texts, report_previews, report_problems, yield_all};

/// A release in a cluster, and who is asked about it.
pub struct ReleaseRequest<'a> {
    /// The target, and how it is named.
    pub target: (&'a dyn Target, &'a str),
    /// The namespace of the release.
    pub namespace: &'a str,
    /// The release.
    pub release: &'a str,
    /// What becomes of fields that controllers set over it.
    pub conflicts: Conflicts,
    /// Keeps what people changed by hand, unless the release changes the same field.
    pub no_remove_manual_changes: bool,
    /// Whether hooks do not run.
    pub no_hooks: bool,
}

/// What becomes of fields that controllers set over what a release says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflicts {
    /// They stop the plan.
    #[default]
    Refuse,
    /// They are taken over.
    Force,
    /// They are left, and told.
    Yield,
}

/// Why a release cannot be taken back.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// There is none.
    #[error("there is no release `{release}` in the namespace `{namespace}`")]
    NoRelease {
        /// Its name.
        release: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// There is no such revision.
    #[error("the release `{release}` has no revision {revision}; it has {known}")]
    NoRevision {
        /// Its name.
        release: String,
        /// What was asked for.
        revision: u64,
        /// What there is.
        known: String,
    },
    /// None of its revisions was ever good.
    #[error("the release `{0}` has no earlier revision that was deployed with success")]
    NoGoodRevision(String),
    /// The target is no cluster.
    #[error("the target `{0}` keeps no revisions of releases")]
    NoRecords(String),
    /// The plan cannot be carried out; why has been reported.
    #[error("the plan cannot be carried out")]
    Diagnostics,
    /// Something has to be decided before the plan can be carried out; what, has been reported.
    #[error("the plan is blocked")]
    Blocked,
    /// The cluster failed.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl ReleaseRequest<'_> {
    fn store(&self) -> Result<&dyn ReleaseStore, ReleaseError> {
        self.target.0.releases().ok_or_else(|| ReleaseError::NoRecords(self.target.1.to_owned()))
    }

    fn missing(&self) -> ReleaseError {
        ReleaseError::NoRelease { release: self.release.to_owned(), namespace: self.namespace.to_owned() }
    }

    fn previews(&self, wanted: &[crate::observed::WantedResource]) -> Result<BTreeMap<String, Preview>, ReleaseError> {
        Ok(self.target.0.preview(wanted)?.unwrap_or_default())
    }

    fn inputs(&self, before: Option<&ReleaseRecord>) -> Result<Inputs, TargetError> {
        Ok(Inputs {
            release: Some(self.release.to_owned()),
            namespace: Some(self.namespace.to_owned()),
            env: before.and_then(|b| b.env.clone()),
            revision: before.map(|b| b.revision),
            target: Some(self.target.1.to_owned()),
            cluster: self.target.0.cluster()?,
            release_driver: self.target.0.release_driver().map(str::to_owned),
            no_hooks: self.no_hooks,
            no_remove_manual_changes: self.no_remove_manual_changes,
            ..Inputs::default()
        })
    }

    fn assembled(
        &self,
        diagnostics: &mut Diagnostics,
        sources: &Sources,
        mut section: ReleaseSection,
        before: Option<&ReleaseRecord>,
        (hidden, previews): (&BTreeSet<String>, &BTreeMap<String, Preview>),
    ) -> Result<Plan, ReleaseError> {
        let namespaces = endangered(&section.resources);
        if !namespaces.is_empty() {
            let budgets = self.target.0.budgets(&namespaces)?;
            section.risks.extend(budget_risks(&section.resources, previews, &budgets));
        }
        name_unready(&mut section, self.target.0, previews);
        hide(&mut section, sources, hidden, previews);
        report_previews(diagnostics, previews, hidden);
        report_problems(diagnostics, sources, &section);
        if diagnostics.has_errors() {
            return Err(if is_blocked(diagnostics) { ReleaseError::Blocked } else { ReleaseError::Diagnostics });
        }
        let project = before.map(|b| b.project.clone()).filter(|name| !name.is_empty());
        let project = project.unwrap_or_else(|| self.release.to_owned());
        let inputs = self.inputs(before)?;
        Ok(assemble(project, String::new(), Fidelity::Live, inputs, ImageSection::default(), section))
    }
}

/// A rollback of which a record was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunRollback {
    /// The revision that it makes.
    pub revision: u64,
    /// The revision that it goes back to.
    pub to: u64,
}

/// Returns the rollback that a failed revision led to; whoever resumes goes on with it, however far it came.
///
/// # Errors
/// The cluster failed, or keeps no records.
pub fn begun_rollback(request: &ReleaseRequest<'_>, failed: u64) -> Result<Option<BegunRollback>, ReleaseError> {
    let store = request.store()?;
    let revisions = store.revisions(request.namespace, request.release)?;
    let has_failed = revisions.iter().any(|r| r.revision == failed && r.status == "failed");
    let Some(last) = revisions.last().filter(|last| has_failed && Some(last.revision) == failed.checked_add(1)) else {
        return Ok(None);
    };
    let record = store.records(std::slice::from_ref(last))?.into_iter().flatten().next();
    let to = record.and_then(|record| record.pointer("/info/rollback_revision")?.as_u64());
    Ok(to.map(|to| BegunRollback { revision: last.revision, to }))
}

/// Plans to deploy a recorded revision again; without a number, the last good one before the current. Returns the plan and
/// the revision that it goes back to. One that was begun is planned as if its record were not there: it is resumed.
///
/// # Errors
/// There is no such release or revision, or the cluster failed.
pub fn plan_rollback(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    request: &ReleaseRequest<'_>,
    to: Option<u64>,
    begun: Option<BegunRollback>,
) -> Result<(Plan, u64), ReleaseError> {
    let store = request.store()?;
    let mut revisions = store.revisions(request.namespace, request.release)?;
    let fact = match begun {
        None => request.target.0.observe(&release_key(request.namespace, request.release))?,
        Some(begun) => {
            revisions.retain(|r| r.revision < begun.revision);
            let since = revisions.iter().rposition(|r| r.status == "deployed").unwrap_or(0);
            let history = store.records(revisions.get(since..).unwrap_or_default())?.into_iter().flatten().collect();
            let last_revision = revisions.last().map_or(0, |last| last.revision);
            ReleaseFact { history, last_revision, ..ReleaseFact::default() }
        }
    };
    let to = to.or(begun.map(|begun| begun.to));
    let before = read_record(&fact).ok_or_else(|| request.missing())?;
    let list: Vec<(u64, &str)> = revisions.iter().map(|r| (r.revision, r.status.as_str())).collect();
    let to = match to {
        Some(to) => to,
        None => {
            revision_to_go_back_to(&list).ok_or_else(|| ReleaseError::NoGoodRevision(request.release.to_owned()))?
        }
    };
    let no_revision = || ReleaseError::NoRevision {
        release: request.release.to_owned(),
        revision: to,
        known: list.iter().map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(", "),
    };
    let wanted = revisions.iter().find(|r| r.revision == to).ok_or_else(no_revision)?;
    let found = store.records(std::slice::from_ref(wanted))?.into_iter().flatten().next();
    let payload = found.ok_or_else(no_revision)?;
    let mut recorded = read_release(&payload).ok_or_else(no_revision)?;
    let mut hidden: BTreeSet<String> = recorded.record.hidden.union(&before.hidden).cloned().collect();
    for hook in &mut recorded.hooks {
        hook.resource.hidden |= hidden.contains(&hook.resource.address());
    }
    hidden.extend(hidden_addresses(&recorded));
    let running = if request.no_hooks { &[][..] } else { &recorded.hooks };
    let wanted = wanted_resources(&recorded.resources, running, &recorded.record, Some(&before));
    let mut previews = request.previews(&wanted)?;
    let mut yielded = Vec::new();
    let kept = keep_changes(
        request.no_remove_manual_changes,
        (&recorded.resources, &fact.history),
        &mut previews,
        |sent| wanted_resources(sent, running, &recorded.record, Some(&before)),
        |wanted| request.previews(&wanted),
    )?;
    if request.conflicts == Conflicts::Yield {
        yielded = yield_all(&mut recorded.resources, Some(&previews));
        if !yielded.is_empty() {
            let sent = kept.without(&recorded.resources);
            previews = request.previews(&wanted_resources(&sent, running, &recorded.record, Some(&before)))?;
        }
    }
    let parse = |text: &str| yaml::decode(text, FileId(u32::MAX), 0, yaml::Options::HELM).ok().map(|n| n.to_plain());
    let context = ReleaseContext {
        force_adoption: false,
        force_conflicts: request.conflicts == Conflicts::Force,
        no_hooks: request.no_hooks,
        record: recorded.record.clone(),
        fact: &fact,
        images: &[],
        changes: &ChartChanges::default,
        parse: &parse,
        after: Vec::new(),
        previews: Some(&previews),
        chart: ClusterChart::default(),
        hooks: &recorded.hooks,
        rollback: Some(&payload),
        kept: &kept,
    };
    let mut section = plan_release(&recorded.resources, &context);
    section.risks.append(&mut yielded);
    let plan = request.assembled(diagnostics, sources, section, Some(&before), (&hidden, &previews))?;
    Ok((plan, to))
}

/// Plans to delete a release; `None` where there is nothing to delete.
///
/// # Errors
/// The cluster failed, or a hook cannot run.
pub fn plan_dismiss(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    request: &ReleaseRequest<'_>,
    with: Dismissal,
) -> Result<Option<Plan>, ReleaseError> {
    request.store()?;
    let fact = request.target.0.observe(&release_key(request.namespace, request.release))?;
    let before = read_record(&fact);
    let dismissed = Dismissed { history: &fact.history, release: request.release, namespace: request.namespace, with };
    let previews = request.previews(&dismissed.wanted())?;
    let section = dismissed.plan(&previews);
    if section.operations.is_empty() {
        return Ok(None);
    }
    let mut hidden = before.as_ref().map(|b| b.hidden.clone()).unwrap_or_default();
    hidden.extend(fact.history.last().and_then(read_release).iter().flat_map(hidden_addresses));
    request.assembled(diagnostics, sources, section, before.as_ref(), (&hidden, &previews)).map(Some)
}

/// Names the pods that hold `StatefulSet`s up.
pub(super) fn name_unready(section: &mut ReleaseSection, target: &dyn Target, previews: &BTreeMap<String, Preview>) {
    let sets = ordered_sets(section, previews);
    if let Some(tracker) = target.tracker().filter(|_| !sets.is_empty()) {
        name_stuck(section, previews, &unready_pods(tracker, &sets));
    }
}

/// Returns the addresses of what holds secret values, or may: of some records that is not known.
fn hidden_addresses(recorded: &RecordedRelease) -> Vec<String> {
    let all = recorded.resources.iter().chain(recorded.hooks.iter().map(|hook| &hook.resource));
    all.filter(|resource| resource.hidden).map(DesiredResource::address).collect()
}

/// Takes secrets out. Of resources that hold secret values, nobody knows here which they are: nothing of them is shown.
fn hide(
    section: &mut ReleaseSection,
    sources: &Sources,
    hidden: &BTreeSet<String>,
    previews: &BTreeMap<String, Preview>,
) {
    for resource in section.resources.iter_mut().filter(|r| hidden.contains(&r.address())) {
        for field in resource.fields.iter_mut().chain(&mut resource.drift).chain(&mut resource.kept) {
            field.sensitive = true;
        }
    }
    for problem in section.problems.iter_mut().filter(|problem| hidden.contains(&problem.address)) {
        // What the server says may repeat them.
        "the API server refuses it; what it says is not shown, for it may hold secret values"
            .clone_into(&mut problem.message);
    }
    conceal(section, &Concealing { mask: &sources.mask(), live: &live_texts(previews), lost: hidden });
}
