//! Planning a project: ask, observe, ask again, until nothing is unknown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::analysis::hazards::{generated_name, name_instead};
use crate::chart::{Manifest, Nulls, SECRET_VALUES, secret_leaves, secret_texts};
use crate::config::{Finals, select};
use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::eval::Host;
use crate::exec::{WorkError, World, observe};
use crate::observed::{Asking, Observed, Preview, Question, ReleaseFact, StoredFact};
use crate::plan::{
    ChartChanges, Concealing, DesiredHook, DesiredResource, Fidelity, Guard, ImageAction, ImageContext, ImagePlan,
    ImageSection, Inputs, Kept, Layout, Plan, Problem, Reason, ReleaseContext, ReleaseRecord, ReleaseSection,
    ResourceAction, Risk, RiskLevel, Secrecy, Sensitive, StageSelection, TakenRepository, UndeclaredTriggers, Work,
    address_of, assemble, budget_risks, carry_out_triggers, chart_changes, cluster_path, conceal, endangered,
    is_of_anyone, is_sensitive, items_of, missing_bases, name_stuck, ordered_sets, plan_images, plan_release,
    read_directives, read_record, release_key, wanted_resources, was_ever_deployed, yield_fields,
};
use crate::ports::{RemoteReference, StageStore, Target, shown_url};
use crate::source::{Files, ObjectId, Objects, Place, Sources, Span};
use crate::stage::{Platform, Stage, declaration};
use crate::syntax::yaml;

use super::check::report_refused;
use super::kept::keep_changes;
use super::load::{Project, ProjectInputs};
use super::platforms::{report_foreign_commands, report_indexes};
use super::remotes::OpenedRemote;
use super::render::{ProjectRender, RenderChoice, chart_dir, hide, render};

/// What a plan is made for.
pub struct PlanRequest<'a> {
    /// The project.
    pub project: &'a Project,
    /// What it was read from.
    pub inputs: &'a ProjectInputs,
    /// Image patterns; with any, only images are planned.
    pub images: &'a [String],
    /// Whether resources are planned.
    pub deploy: bool,
    /// The stage store, and how it is named.
    pub store: (&'a dyn StageStore, &'a str),
    /// The repository that final images are copied to, and how it is named.
    pub final_store: Option<(&'a dyn StageStore, &'a str)>,
    /// The names of the stage stores that are only read.
    pub secondary_repos: &'a [String],
    /// The target, and how it is named.
    pub target: Option<(&'a dyn Target, &'a str)>,
    /// The builder's name.
    pub builder: &'a str,
    /// How the builds of stages are chosen that hold files of git mappings.
    pub selection: StageSelection,
    /// The tags of the user's choice, by image name.
    pub custom_tags: &'a BTreeMap<String, Vec<String>>,
    /// Whether the builder runs commands.
    pub runs_commands: bool,
    /// Says why commands for a platform cannot run; `None` where they can.
    pub cannot_run: &'a dyn Fn(&Platform) -> Option<String>,
    /// Whether objects in a cluster become part of the release that are none yet.
    pub force_adoption: bool,
    /// Takes fields over that others set, whoever they are: for those who set them no more.
    pub force_conflicts: bool,
    /// Leaves fields to controllers and others that set them over what the chart says.
    pub yield_conflicts: bool,
    /// Keeps what people changed by hand, unless the chart changes the same field.
    pub no_remove_manual_changes: bool,
    /// Whether hooks do not run; to a folder they are not written.
    pub no_hooks: bool,
    /// What templates may ask of the world.
    pub host: &'a dyn Host,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The user's files have errors, which are reported.
    #[error("the project has errors")]
    Diagnostics,
    /// Something has to be decided before the plan can be carried out, which is reported.
    #[error("the plan is blocked")]
    Blocked,
    /// The store or the target failed.
    #[error("look at the stage store and the target")]
    Observe(#[from] WorkError),
}

/// Makes the plan. Nothing is written, wherever it stops.
///
/// # Errors
/// The project has errors (see `diagnostics`), or a port failed.
pub fn plan(diagnostics: &mut Diagnostics, sources: &Sources, request: &PlanRequest<'_>) -> Result<Plan, PlanError> {
    let world = World {
        store: request.store.0,
        final_store: request.final_store.map(|(store, _)| store),
        target: request.target.map(|(target, _)| target),
    };
    let answer = |questions: Vec<Question>, observed: &mut Observed| observe(questions, world, observed);
    plan_with(diagnostics, sources, request, &answer)
}

/// Answers the questions of the planners.
pub(super) type Answer<'a> = &'a dyn Fn(Vec<Question>, &mut Observed) -> Result<(), WorkError>;

/// Makes the plan over the facts that `answer` gives.
pub(super) fn plan_with(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    request: &PlanRequest<'_>,
    answer: Answer<'_>,
) -> Result<Plan, PlanError> {
    let PlanRequest { project, inputs, .. } = request;
    let finals = if request.deploy { Finals::Only } else { Finals::AndOthers };
    let selected = select(diagnostics, &project.config, request.images, finals);
    if diagnostics.has_errors() {
        return Err(PlanError::Diagnostics);
    }
    let wanted: BTreeSet<String> =
        selected.iter().map(|index| project.config.image(*index).name.value.clone()).collect();
    report_indexes(diagnostics, request, &wanted);
    if diagnostics.has_errors() {
        return Err(PlanError::Diagnostics);
    }
    let mut observed = Observed::default();
    let release = project.names.release.clone();
    let deploys = request.deploy && request.images.is_empty();
    let target = request.target.filter(|_| deploys);
    let layout = target.map_or(Layout::Folder, |(target, _)| target.layout());
    let key = match layout {
        Layout::Folder => release.clone(),
        Layout::Cluster => release_key(&project.names.namespace, &release),
    };
    let (section, missing, undeclared) = loop {
        let mut asking = Asking::new(&observed);
        let fact = if target.is_some() { asking.release(&key) } else { None };
        let previous = fact.and_then(read_record).map(|r| r.images).unwrap_or_default();
        let context = image_context(request, &wanted, &previous);
        let mut section = match &inputs.bundle {
            // Whatever its files say, nothing is built of a bundle.
            Some(opened) => {
                ImageSection { images: opened.plan_images(&previous, &mut asking), ..ImageSection::default() }
            }
            None => plan_images(&project.images, &context, &mut asking),
        };
        let undeclared = carry_out_triggers(&project.images, &mut section, &mut asking);
        let missing = missing_bases(&project.images, &section, &mut asking);
        let questions = asking.into_questions();
        if questions.is_empty() {
            break (section, missing, undeclared);
        }
        answer(questions, &mut observed)?;
    };
    report_missing(diagnostics, sources, request, missing);
    if let Some(opened) = &inputs.bundle {
        opened.report_missing(diagnostics, &observed);
    }
    report_triggers(diagnostics, sources, undeclared);
    report_commands(diagnostics, sources, request, &section);
    if request.runs_commands {
        report_foreign_commands(diagnostics, sources, request, &section);
    }
    let fact = observed.releases.get(&key).cloned().unwrap_or_default();
    let mut resources = ReleaseSection::default();
    if target.is_some() {
        let before = read_record(&fact);
        let last = before.as_ref().map_or(0, |before| before.revision);
        let next = last.max(fact.last_revision).saturating_add(1);
        // Where nothing changes there is no new revision, and templates see the last one.
        let first = if before.is_some() { last } else { next };
        // After installs that failed it is an install still, for templates as for hooks.
        let is_upgrade = before.is_some() && (layout == Layout::Folder || was_ever_deployed(&fact.history));
        let mut choice = RenderChoice { is_upgrade, revision: first, ..RenderChoice::default() };
        let deploy = Deploy { request, fact: &fact, before: before.as_ref(), layout, images: &section, answer };
        let mut found = Diagnostics::new();
        let mut made = deploy.plan(&mut found, sources, choice, &mut observed);
        let is_new = made.as_ref().is_ok_and(|made| !made.operations.is_empty()) && first != next;
        if is_new && reads_revision(sources) {
            (found, choice.revision) = (Diagnostics::new(), next);
            observed.previews = None;
            made = deploy.plan(&mut found, sources, choice, &mut observed);
        }
        diagnostics.extend(found);
        resources = made?;
    }
    if diagnostics.has_errors() {
        return Err(if is_blocked(diagnostics) { PlanError::Blocked } else { PlanError::Diagnostics });
    }
    let with_resources = !resources.resources.is_empty();
    let mut plan = assemble(
        project.name().to_owned(),
        // What was made of a bundle is carried out without a repository.
        if inputs.bundle.is_some() { String::new() } else { inputs.commit.hash.clone() },
        if observed.previews.is_some() { Fidelity::Live } else { Fidelity::Store },
        Inputs {
            env: inputs.env.clone(),
            release: with_resources.then(|| release.clone()),
            namespace: with_resources.then(|| project.names.namespace.clone()),
            revision: read_record(&fact).map(|r| r.revision),
            repo: request.store.1.to_owned(),
            final_repo: request.final_store.map(|(_, name)| name.to_owned()),
            secondary_repos: request.secondary_repos.to_vec(),
            builder: request.builder.to_owned(),
            target: target.map(|(_, name)| name.to_owned()),
            cluster: target.map_or(Ok(None), |(target, _)| target.cluster()).map_err(WorkError::from)?,
            release_driver: target.and_then(|(target, _)| target.release_driver()).map(str::to_owned),
            tree: inputs.repository.root().to_string(),
            dev: inputs.dev,
            no_hooks: request.no_hooks,
            no_remove_manual_changes: request.no_remove_manual_changes,
            values_nulls: Some(inputs.nulls).filter(|nulls| *nulls != Nulls::Helm).map(|nulls| nulls.name().to_owned()),
            repositories: project.remotes.iter().map(taken).collect(),
            added: project.added.clone(),
            bundle: inputs.bundle.as_ref().map(|opened| opened.reference.clone()),
        },
        section,
        resources,
    );
    guard_cluster(&mut plan);
    match &inputs.bundle {
        Some(opened) => opened.guard(&mut plan, &observed),
        None => guard_images(&mut plan, &observed),
    }
    let mask = sources.mask();
    if !mask.is_empty() {
        plan.hidden = Sensitive::new(mask.reveal().map(str::to_owned).collect());
    }
    Ok(plan)
}

/// Says whether all errors are questions that somebody has to decide.
pub(super) fn is_blocked(diagnostics: &Diagnostics) -> bool {
    let mut errors = diagnostics.as_slice().iter().filter(|d| d.severity == Severity::Error);
    errors.all(|d| d.rule == &rules::RESOURCE_BLOCKED)
}

/// A release is opened in the cluster it was planned for, and in no other.
fn guard_cluster(plan: &mut Plan) {
    let Some(uid) = plan.inputs.cluster.as_ref().and_then(|cluster| cluster.uid.clone()) else { return };
    for operation in plan.operations.iter_mut().filter(|o| matches!(o.work, Work::OpenRelease { .. })) {
        operation.guards.push(Guard::Cluster { uid: uid.clone() });
    }
}

/// A release is opened only while the tags that its manifests name stand on the images that were seen, in the final repository
/// where there is one. Those that the plan puts itself are not meant.
fn guard_images(plan: &mut Plan, observed: &Observed) {
    let is_copied = |image: &ImagePlan, tag: &str| {
        let copies = |work: &Work| matches!(work, Work::CopyImage { image: of, tag: put, .. } if *of == image.name && put == tag);
        plan.operations.iter().any(|operation| copies(&operation.work))
    };
    let stands = |image: &ImagePlan| {
        let (_, tag) = image.reference.rsplit_once(':')?;
        let seen = |facts: &BTreeMap<String, Option<StoredFact>>| Some(facts.get(tag)?.as_ref()?.manifest.clone());
        let tag = tag.to_owned();
        if plan.inputs.final_repo.is_some() {
            let manifest = seen(&observed.finals)?;
            return (!is_copied(image, &tag)).then_some(Guard::FinalImagePresent { tag, manifest });
        }
        let is_put = image.action != ImageAction::Reuse || image.custom_tags.contains(&tag);
        let manifest = seen(&observed.images)?;
        (!is_put).then_some(Guard::ImagePresent { tag, manifest })
    };
    let guards: Vec<Guard> = plan.images.iter().filter(|image| image.is_final).filter_map(stands).collect();
    for operation in plan.operations.iter_mut().filter(|o| matches!(o.work, Work::OpenRelease { .. })) {
        operation.guards.extend(guards.iter().cloned());
    }
}

fn taken(remote: &OpenedRemote) -> TakenRepository {
    let reference = match &remote.reference {
        RemoteReference::Head | RemoteReference::Commit(_) => None,
        RemoteReference::Branch(name) | RemoteReference::Tag(name) => Some(name.clone()),
    };
    TakenRepository { url: shown_url(&remote.url), reference, commit: remote.commit.clone() }
}

fn image_context<'a>(
    request: &'a PlanRequest<'_>,
    wanted: &'a BTreeSet<String>,
    previous: &'a BTreeMap<String, String>,
) -> ImageContext<'a> {
    let objects: &dyn Objects = &*request.project.objects;
    ImageContext {
        commit: &request.inputs.commit.hash,
        objects,
        history: &*request.inputs.history,
        selection: request.selection,
        uncommitted: request.inputs.dev,
        previous,
        wanted,
        custom_tags: request.custom_tags,
        final_repo: request.final_store.map(|(_, name)| name),
        repo_address: &request.project.repo_address,
        used_tags: &request.project.used_tags,
    }
}

fn report_missing(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    request: &PlanRequest<'_>,
    missing: Vec<(String, Place)>,
) {
    let (store, _) = request.store.1.split_once(':').unwrap_or_default();
    for (reference, place) in missing {
        let (message, hint) = if store == "docker" {
            let hint = format!("fetch it into the engine: docker pull {reference}");
            (format!("the image `{reference}` is not in the Docker Engine"), hint)
        } else if store == "oci" {
            let copy = format!("skopeo copy --preserve-digests docker://{reference} oci:DIR:{reference}");
            (
                format!("the image `{reference}` is not in the stage store"),
                format!("copy it into the store, for example: {copy}"),
            )
        } else {
            (format!("the image `{reference}` is not in its registry"), "check its name, tag and platform".to_owned())
        };
        let d = place_diagnostic(sources, &rules::BASE_NOT_IN_STORE, &place, message);
        diagnostics.push(d.label("needed to build").hint(hint));
    }
}

/// Reports triggers that would have to be declared, to be signed.
fn report_triggers(diagnostics: &mut Diagnostics, sources: &Sources, undeclared: Vec<UndeclaredTriggers>) {
    for UndeclaredTriggers { place, base, triggers, declared } in undeclared {
        let message = if declared.is_empty() {
            format!("the base `{base}` has triggers that take files or arguments")
        } else {
            format!("the base `{base}` has other triggers than those that are declared")
        };
        let d = place_diagnostic(sources, &rules::UNDECLARED_TRIGGERS, &place, message);
        let hint = if triggers.is_empty() {
            "it has none: remove the comments".to_owned()
        } else {
            format!("write above FROM:\n{}", declaration(&triggers))
        };
        diagnostics.push(d.label("they are carried out in this image").hint(hint));
    }
}

/// Points at the line of a place, where its text was read in this run.
pub(super) fn place_diagnostic(
    sources: &Sources,
    rule: &'static crate::diag::Rule,
    place: &Place,
    message: String,
) -> Diagnostic {
    match sources.span_of(place) {
        Some(span) => Diagnostic::at(rule, span, message),
        None => Diagnostic::in_file(rule, place.file.clone(), message),
    }
}

/// Warns of every image that is built and that the builder cannot build; apply refuses them.
fn report_commands(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    request: &PlanRequest<'_>,
    section: &ImageSection,
) {
    if request.runs_commands {
        return;
    }
    for (image, what, place) in unbuildable(request.project, section, |stage| stage.commands.first()) {
        let message = format!("image `{image}` needs a builder that runs commands");
        let d = place_diagnostic(sources, &rules::NEEDS_COMMANDS, &place, message);
        let d = d.label(format!("{what}: here, the {} builder cannot run commands", request.builder));
        diagnostics
            .push(d.hint("commands need Linux, root or a user namespace, and a folder for unpacked layers below HOME or XDG_CACHE_HOME"));
    }
}

/// Returns the images of a plan that need something: name, what and where.
fn unbuildable<'a>(
    project: &'a Project,
    section: &ImageSection,
    need: impl Fn(&'a Stage) -> Option<&'a (String, Place)>,
) -> Vec<(String, String, Place)> {
    let mut found = Vec::new();
    let built: BTreeSet<&str> = section
        .operations
        .iter()
        .filter_map(|o| match &o.work {
            Work::BuildStage { digest, .. } => Some(digest.as_str()),
            Work::TagImage { .. }
            | Work::TagIndex { .. }
            | Work::CopyImage { .. }
            | Work::OpenRelease { .. }
            | Work::WriteResource { .. }
            | Work::DeleteResource { .. }
            | Work::AwaitResource { .. }
            | Work::Gate
            | Work::RecordHooks { .. }
            | Work::ForgetRelease { .. }
            | Work::RecordRelease { .. } => None,
        })
        .collect();
    for image in &project.images {
        for (stage, _) in image.all_stages().filter(|(_, signed)| built.contains(signed.digest.to_string().as_str())) {
            if let Some((what, place)) = need(stage) {
                found.push((image.name.clone(), what.clone(), place.clone()));
                break;
            }
        }
    }
    found
}

/// Puts exact places into the plan; nothing else of it changes.
fn set_places(
    section: &mut ReleaseSection,
    sources: &Sources,
    project: &Project,
    rendered: Option<&ProjectRender>,
    layout: Layout,
) {
    let Some(rendered) = rendered else { return };
    let places: BTreeMap<String, Option<Place>> =
        desired(sources, project, rendered, layout).into_iter().map(|r| (r.address(), r.place)).collect();
    for plan in &mut section.resources {
        let Some(Some(place)) = places.get(&plan.address()) else { continue };
        for reason in &mut plan.reasons {
            if let Reason::Template { place: old, .. } = reason {
                old.clone_from(place);
            }
        }
        plan.source = Some(place.clone());
    }
}

/// Tells of resources whose text is another one each time they are rendered.
fn by_chance(
    manifests: &[DesiredResource],
    sources: &Sources,
    project: &Project,
    again: Option<&ProjectRender>,
    layout: Layout,
) -> Vec<Risk> {
    let again = again.map(|render| desired(sources, project, render, layout)).unwrap_or_default();
    let texts: BTreeMap<String, String> = again.into_iter().map(|r| (r.address(), r.text)).collect();
    let differs = |r: &&DesiredResource| texts.get(&r.address()).is_some_and(|text| *text != r.text);
    let risk = |r: &DesiredResource| Risk {
        code: "nondeterministic".to_owned(),
        level: RiskLevel::Warning,
        address: r.address(),
        path: None,
        message: "its template gives other values each time: save the plan, and apply what was reviewed".to_owned(),
    };
    manifests.iter().filter(differs).map(risk).collect()
}

fn plan_resources(
    sources: &Sources,
    request: &PlanRequest<'_>,
    (manifests, hooks, rendered): (&[DesiredResource], &[DesiredHook], Option<&ProjectRender>),
    (fact, previews, kept): (&ReleaseFact, Option<&BTreeMap<String, Preview>>, &Kept),
    section: &ImageSection,
) -> ReleaseSection {
    let PlanRequest { project, inputs, .. } = request;
    let before = read_record(fact);
    let old_tree = before.as_ref().and_then(|r| ObjectId::from_hex(&r.tree));
    let dir = rendered.map_or_else(|| chart_dir(project), |r| r.chart_dir.clone());
    let lost = before.map(|r| hide_old(sources, project, inputs, &dir, r)).unwrap_or_default();
    let mask = sources.mask();
    let is_hidden = |r: &&DesiredResource| !is_sensitive(&r.kind) && r.is_secret();
    let with_hooks = manifests.iter().chain(hooks.iter().map(|hook| &hook.resource));
    let hidden = with_hooks.filter(is_hidden).map(DesiredResource::address).collect();
    let notes = rendered.and_then(|r| r.chart.notes.reveal());
    let hides_notes = previews.is_some() && notes.is_some_and(|notes| mask.finds(notes));
    let record = ReleaseRecord { hidden, hides_notes, ..new_record(project, inputs) };
    let changes = || match (old_tree, rendered) {
        (Some(old), Some(rendered)) => {
            let files: Vec<String> = inputs.values_files.iter().filter_map(|f| f.project_path.clone()).collect();
            let trees = (old, project.files.root());
            let mut changes = chart_changes(project.files.objects(), sources, trees, &rendered.chart_dir, &files);
            add_secret_changes(&mut changes, sources, (project, inputs), old, &rendered.chart_dir);
            changes
        }
        _ => ChartChanges::default(),
    };
    let parse = |text: &str| {
        let file = crate::source::FileId(u32::MAX);
        yaml::decode(text, file, 0, yaml::Options::HELM).ok().map(|node| node.to_plain())
    };
    let is_named = |work: &Work| matches!(work, Work::TagImage { .. } | Work::TagIndex { .. } | Work::CopyImage { .. });
    let tags = section.operations.iter().filter(|o| is_named(&o.work));
    let after = tags.map(|o| o.id.clone()).collect();
    let chart = rendered.map(|r| r.chart.clone()).unwrap_or_default();
    let images = &section.images;
    let context = ReleaseContext {
        record,
        fact,
        images,
        changes: &changes,
        parse: &parse,
        after,
        previews,
        chart,
        hooks,
        rollback: None,
        force_adoption: request.force_adoption,
        force_conflicts: request.force_conflicts,
        no_hooks: request.no_hooks,
        kept,
    };
    let mut section = plan_release(manifests, &context);
    let live = previews.map(live_texts);
    let live = live.as_ref().unwrap_or(&fact.resources);
    conceal(&mut section, &Concealing { mask: &mask, live, lost: &lost });
    section
}

/// Adds the secret values that changed; they are hidden like the fields that they reach.
fn add_secret_changes(
    changes: &mut ChartChanges,
    sources: &Sources,
    (project, inputs): (&Project, &ProjectInputs),
    old: ObjectId,
    chart_dir: &str,
) {
    let old = Files::new(project.files.objects().clone(), old);
    let given = inputs.secrets.files.iter().filter_map(|(_, path, _)| path.clone());
    for path in std::iter::once(format!("{chart_dir}/{SECRET_VALUES}")).chain(given) {
        let before = secret_leaves(&old, sources, &path, &inputs.secrets);
        let after = secret_leaves(&project.files, sources, &path, &inputs.secrets);
        let value = |leaf: Option<&(String, Option<Span>)>| leaf.map_or(Value::Null, |(text, _)| text.as_str().into());
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (was, is) = (before.get(key), after.get(key));
            if was.map(|(text, _)| text) != is.map(|(text, _)| text) {
                let place = is.and_then(|(_, span)| *span).map(|span| sources.place(span));
                let place = place.unwrap_or_else(|| Place::file(path.clone()));
                changes.values.push((key.clone(), Some(place), value(was), value(is)));
            }
        }
    }
}

/// Returns the live objects as texts, by path.
pub(super) fn live_texts(previews: &BTreeMap<String, Preview>) -> BTreeMap<String, String> {
    let text = |preview: &Preview| preview.live.as_ref().map(ToString::to_string);
    previews.iter().filter_map(|(path, preview)| Some((path.clone(), text(preview)?))).collect()
}

/// Hides the secret values that were applied last too: the target still has them. Returns the addresses of the resources
/// that hold such values where they cannot be decrypted any more.
fn hide_old(
    sources: &Sources,
    project: &Project,
    inputs: &ProjectInputs,
    chart_dir: &str,
    before: ReleaseRecord,
) -> BTreeSet<String> {
    let old = ObjectId::from_hex(&before.tree).map(|tree| Files::new(project.files.objects().clone(), tree));
    match old.and_then(|files| secret_texts(&files, chart_dir, &inputs.secrets)) {
        Some(texts) => hide(sources, &inputs.secrets, &texts),
        None => return before.hidden,
    }
    BTreeSet::new()
}

/// Returns the record of a release of the project, without revision and resources.
pub(super) fn new_record(project: &Project, inputs: &ProjectInputs) -> ReleaseRecord {
    let finals = project.images.iter().filter(|i| i.is_final);
    let images = finals.map(|i| (i.name.clone(), i.signature.to_string())).collect();
    ReleaseRecord {
        version: 1,
        release: project.names.release.clone(),
        namespace: project.names.namespace.clone(),
        revision: 0,
        project: project.name().to_owned(),
        env: inputs.env.clone(),
        commit: inputs.commit.hash.clone(),
        tree: project.files.root().to_string(),
        images: inputs.bundle.as_ref().map_or(images, |opened| opened.tags()),
        resources: BTreeMap::new(),
        hidden: BTreeSet::new(),
        hides_hooks: false,
        hides_notes: false,
    }
}

/// What the resources of a release are planned over.
struct Deploy<'a> {
    request: &'a PlanRequest<'a>,
    fact: &'a ReleaseFact,
    before: Option<&'a ReleaseRecord>,
    layout: Layout,
    images: &'a ImageSection,
    answer: Answer<'a>,
}

impl Deploy<'_> {
    /// Renders the chart and plans what it makes.
    fn plan(
        &self,
        diagnostics: &mut Diagnostics,
        sources: &Sources,
        choice: RenderChoice,
        observed: &mut Observed,
    ) -> Result<ReleaseSection, PlanError> {
        let request = self.request;
        let PlanRequest { project, inputs, .. } = request;
        let mut resources = ReleaseSection::default();
        let mut rendered = render(diagnostics, sources, project, inputs, request.host, choice);
        if let Some(made) = &rendered {
            report_refused(diagnostics, sources, (project, inputs, request.host), choice, made);
        }
        let mut left_out = Vec::new();
        if let Some(made) = rendered.as_mut().filter(|_| request.no_hooks && self.layout == Layout::Folder) {
            let hooks = std::mem::take(&mut made.rendered.hooks);
            left_out.extend(hooks.iter().map(|hook| left_out_of_folder(sources, project, hook)));
        }
        if diagnostics.has_errors() {
            return Err(PlanError::Diagnostics);
        }
        if rendered.is_some() || self.before.is_some() {
            let mut unread = ReleaseSection::default();
            let read =
                |render: &ProjectRender| desired_or_not(sources, project, render, self.layout, &mut unread.problems);
            let mut manifests = rendered.as_ref().map(read).unwrap_or_default();
            let (mut yielded, mut kept) = (Vec::new(), Kept::default());
            report_problems(diagnostics, sources, &unread);
            if diagnostics.has_errors() {
                return Err(PlanError::Diagnostics);
            }
            let hooks = match &rendered {
                Some(rendered) if self.layout == Layout::Cluster => desired_hooks(sources, project, rendered),
                Some(_) | None => Vec::new(),
            };
            if self.layout == Layout::Cluster {
                // The line of an annotation is asked for only when it is at fault.
                let tracked = has_faults(rendered.as_ref()).then(|| {
                    let choice = RenderChoice { track: true, ..choice };
                    render(&mut Diagnostics::new(), sources, project, inputs, request.host, choice)
                });
                report_directives(diagnostics, tracked.flatten().as_ref().or(rendered.as_ref()));
                let record = new_record(project, inputs);
                // Of hooks that do not run nothing is asked.
                let running: &[DesiredHook] = if request.no_hooks { &[] } else { &hooks };
                report_problems(diagnostics, sources, &nameless(&manifests, &hooks));
                if diagnostics.has_errors() {
                    return Err(PlanError::Diagnostics);
                }
                let wanted = wanted_resources(&manifests, running, &record, self.before);
                (self.answer)(vec![Question::Previews(wanted)], observed)?;
                if let Some(mut previews) = observed.previews.take() {
                    kept = keep_changes(
                        request.no_remove_manual_changes,
                        (&manifests, &self.fact.history),
                        &mut previews,
                        |sent| wanted_resources(sent, running, &record, self.before),
                        |wanted| -> Result<_, PlanError> {
                            (self.answer)(vec![Question::Previews(wanted)], observed)?;
                            Ok(observed.previews.take().unwrap_or_default())
                        },
                    )?;
                    observed.previews = Some(previews);
                }
                if request.yield_conflicts {
                    yielded = yield_all(&mut manifests, observed.previews.as_ref());
                    if !yielded.is_empty() {
                        observed.previews = None;
                        let wanted = wanted_resources(&kept.without(&manifests), running, &record, self.before);
                        (self.answer)(vec![Question::Previews(wanted)], observed)?;
                    }
                }
                report_previews(diagnostics, observed.previews.as_ref().unwrap_or(&BTreeMap::new()), &BTreeSet::new());
            }
            let made = (manifests.as_slice(), hooks.as_slice(), rendered.as_ref());
            resources =
                plan_resources(sources, request, made, (self.fact, observed.previews.as_ref(), &kept), self.images);
            resources.risks.append(&mut yielded);
            if !resources.operations.is_empty() {
                resources.risks.append(&mut left_out);
            }
            report_problems(diagnostics, sources, &resources);
            if let Some(namespaces) = Some(endangered(&resources.resources)).filter(|found| !found.is_empty())
                && observed.previews.is_some()
            {
                (self.answer)(vec![Question::Budgets(namespaces)], observed)?;
                if let Some(previews) = &observed.previews {
                    resources.risks.extend(budget_risks(&resources.resources, previews, &observed.budgets));
                }
            }
            let sets =
                observed.previews.as_ref().map(|previews| ordered_sets(&resources, previews)).unwrap_or_default();
            if !sets.is_empty() {
                (self.answer)(vec![Question::UnreadyPods(sets)], observed)?;
                if let Some(previews) = &observed.previews {
                    name_stuck(&mut resources, previews, &observed.unready);
                }
            }
            // Where each line comes from is asked for only when there is a change to explain.
            if resources.resources.iter().any(|r| r.action != ResourceAction::Noop) {
                let mut again = Diagnostics::new();
                let tracked = RenderChoice { track: true, ..choice };
                let rendered = render(&mut again, sources, project, inputs, request.host, tracked);
                set_places(&mut resources, sources, project, rendered.as_ref(), self.layout);
                resources.risks.extend(by_chance(&manifests, sources, project, rendered.as_ref(), self.layout));
            }
        }
        Ok(resources)
    }
}

/// Leaves the fields of all resources to those who set them.
pub(super) fn yield_all(manifests: &mut [DesiredResource], previews: Option<&BTreeMap<String, Preview>>) -> Vec<Risk> {
    let with_preview = |resource: &mut DesiredResource| yield_fields(resource, previews?.get(&cluster_path(resource))?);
    manifests.iter_mut().filter_map(with_preview).collect()
}

/// Says whether a text of the project may ask which revision it is rendered for.
fn reads_revision(sources: &Sources) -> bool {
    sources.all().iter().any(|(_, file)| file.text().contains("Revision"))
}

/// Says whether an annotation of a deploy means nothing.
fn has_faults(rendered: Option<&ProjectRender>) -> bool {
    let all = rendered.into_iter().flat_map(|r| r.rendered.manifests.iter().chain(&r.rendered.hooks));
    all.into_iter().any(|manifest| !read_directives(&manifest.data).1.is_empty())
}

/// Reports annotations of a deploy that mean nothing, and warns of what they leave out.
pub(super) fn report_directives(diagnostics: &mut Diagnostics, rendered: Option<&ProjectRender>) {
    let Some(rendered) = rendered.map(|r| &r.rendered) else { return };
    for manifest in rendered.manifests.iter().chain(&rendered.hooks) {
        let (directives, faults) = read_directives(&manifest.data);
        for fault in faults {
            let message =
                format!("the annotation `{}` of {}/{}: {}", fault.key, manifest.kind, manifest.name, fault.message);
            let rule = if fault.is_unknown { &rules::UNKNOWN_ANNOTATION } else { &rules::DEPLOY_ANNOTATION };
            let d = manifest_diagnostic(rule, manifest, &fault.key, message);
            let hint = if fault.is_unknown { fault.takes } else { format!("it takes {}", fault.takes) };
            diagnostics.push(if hint.is_empty() { d } else { d.hint(hint) });
        }
        let replicas = manifest.data.pointer("/spec/replicas");
        if let (Some(count), Some(replicas)) = (directives.replicas_on_creation, replicas) {
            let key = "werf.io/replicas-on-creation";
            let message = format!(
                "{}/{} has replicas ({replicas}) beside `{key}` ({count}): they are left out",
                manifest.kind, manifest.name
            );
            let d = manifest_diagnostic(&rules::ORDER_NOT_KEPT, manifest, key, message);
            diagnostics.push(d.hint("remove `spec.replicas` from the manifest"));
        }
    }
}

/// Points at the line of a manifest that has a key, where lines were tracked; else at the manifest.
fn manifest_diagnostic(
    rule: &'static crate::diag::Rule,
    manifest: &Manifest,
    key: &str,
    message: String,
) -> Diagnostic {
    let line = manifest.text.lines().position(|line| line.contains(key));
    let span = line.and_then(|line| manifest.lines.get(line)?.span);
    match span.or(manifest.span) {
        Some(span) => Diagnostic::at(rule, span, message),
        None => Diagnostic::in_file(rule, manifest.source.clone(), message),
    }
}

/// Tells what there is to be said of dry runs, once for each text. What is said of resources at hidden addresses may repeat
/// values that nobody here knows.
pub(super) fn report_previews(
    diagnostics: &mut Diagnostics,
    previews: &BTreeMap<String, Preview>,
    hidden: &BTreeSet<String>,
) {
    const HIDDEN: &str = "why is not shown, for it may hold secret values";
    const NONE: &str = "there is no dry run of";
    let (mut forbidden, mut blind, mut warned) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let note = |texts: &mut BTreeMap<_, Vec<_>>, text, path| texts.entry(text).or_default().push(path);
    for (path, preview) in previews {
        let is_hidden = hidden.contains(&address_of(path));
        if let Some(why) = preview.blind.as_deref() {
            let is_right = why.contains("cannot patch") || why.contains("cannot create");
            note(
                if is_right { &mut forbidden } else { &mut blind },
                if is_hidden { HIDDEN } else { why },
                path.as_str(),
            );
        }
        for text in preview.warnings.iter().filter(|_| !is_hidden) {
            note(&mut warned, text, path);
        }
    }
    let all = [
        (&rules::WRITE_FORBIDDEN, NONE, forbidden),
        (&rules::NO_DRY_RUN, NONE, blind),
        (&rules::SERVER_WARNING, "the API server warns of", warned),
    ];
    for (rule, head, texts) in all {
        for (text, paths) in texts {
            let message = format!("{head} {}: {text}", first_of(&paths));
            diagnostics.push(Diagnostic::in_file(rule, "manifest", message));
        }
    }
}

fn first_of(paths: &[&str]) -> String {
    let first = paths.first().copied().unwrap_or_default();
    let more = if paths.len() > 1 { format!(" and {} more", paths.len() - 1) } else { String::new() };
    format!("{first}{more}")
}

/// Reports the resources that the target would not take.
pub(super) fn report_problems(diagnostics: &mut Diagnostics, sources: &Sources, section: &ReleaseSection) {
    let refused = section.problems.iter().map(|problem| (problem, &rules::RESOURCE_REFUSED));
    let blocked = section.blocks.iter().map(|problem| (problem, &rules::RESOURCE_BLOCKED));
    for (problem, rule) in refused.chain(blocked) {
        let message = format!("{}: {}", problem.address, problem.message);
        diagnostics.push(match &problem.place {
            Some(place) => place_diagnostic(sources, rule, place, message),
            None => Diagnostic::in_file(rule, "manifest", message),
        });
    }
}

/// Turns manifests into what the planner wants: manifests and hooks alike, for a controller that reads the folder knows
/// hooks; in a cluster, manifests alone.
pub(super) fn desired(
    sources: &Sources,
    project: &Project,
    render: &ProjectRender,
    layout: Layout,
) -> Vec<DesiredResource> {
    desired_or_not(sources, project, render, layout, &mut Vec::new())
}

/// As [`desired`], and says which files of `crds/` cannot be read.
fn desired_or_not(
    sources: &Sources,
    project: &Project,
    render: &ProjectRender,
    layout: Layout,
    unread: &mut Vec<Problem>,
) -> Vec<DesiredResource> {
    // A document of comments alone is printed, as Helm does, but it is no resource.
    let hooks = render.rendered.hooks.iter().filter(|_| layout == Layout::Folder);
    let all = render.rendered.manifests.iter().chain(hooks).filter(|m| !m.data.is_null());
    let mut resources: Vec<DesiredResource> = Vec::new();
    let mask = sources.mask();
    for manifest in all {
        let whole = resource(sources, project, manifest, mask.finds(&manifest.text));
        match items_of(&manifest.data).filter(|_| layout == Layout::Cluster) {
            Some(items) => resources.extend(items.iter().map(|item| item_of(&whole, project, item))),
            None => resources.push(whole),
        }
    }
    // Several charts may bring the same definition: the first counts, and before it what a template says. Source: Helm.
    let mut known: BTreeSet<String> = resources.iter().map(cluster_path).collect();
    let mut all = crds(project, render, unread);
    all.retain(|crd| known.insert(cluster_path(crd)));
    all.extend(resources);
    all
}

/// Returns an object of a list.
fn item_of(list: &DesiredResource, project: &Project, item: &serde_json::Value) -> DesiredResource {
    let field = |pointer: &str| item.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let (api_version, kind) = (field("/apiVersion"), field("/kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let scoped = crate::chart::kinds::is_cluster_scoped(group, &kind);
    let own = Some(field("/metadata/namespace")).filter(|namespace| !namespace.is_empty());
    DesiredResource {
        namespace: own.or_else(|| (!scoped).then(|| project.names.namespace.clone())),
        name: field("/metadata/name"),
        text: yaml::manifest_yaml(item),
        data: item.clone(),
        api_version,
        kind,
        ..list.clone()
    }
}

/// Says what of the resources has no name, and so cannot be found again, and what is there twice.
fn nameless(resources: &[DesiredResource], hooks: &[DesiredHook]) -> ReleaseSection {
    let mut section = ReleaseSection::default();
    let mut seen = BTreeSet::new();
    for resource in resources.iter().filter(|resource| !seen.insert(cluster_path(resource))) {
        section.problems.push(Problem {
            address: resource.address(),
            place: resource.place.clone(),
            message: "it is declared twice: leave one of the two out".to_owned(),
        });
    }
    let resources = resources.iter().chain(hooks.iter().map(|hook| &hook.resource));
    for resource in resources.filter(|resource| resource.name.is_empty() || resource.kind.is_empty()) {
        let message = match generated_name(&resource.data) {
            Some(prefix) => format!(
                "`metadata.generateName` leaves its name to the API server, and a release has to find again what it made: {}",
                name_instead(prefix)
            ),
            None => "it has no `metadata.name`: a release has to find again what it made, so name it".to_owned(),
        };
        section.problems.push(Problem {
            address: format!("a manifest of kind `{}`", resource.kind),
            place: resource.place.clone(),
            message,
        });
    }
    section
}

/// Returns the hooks of the chart, for a cluster.
fn desired_hooks(sources: &Sources, project: &Project, render: &ProjectRender) -> Vec<DesiredHook> {
    let mask = sources.mask();
    let hook = |manifest: &Manifest| {
        let holds_secrets = mask.finds(&manifest.text);
        let resource = DesiredResource { belongs: false, ..resource(sources, project, manifest, holds_secrets) };
        let (weight, source) = (manifest.weight, manifest.source.clone());
        Some(DesiredHook { resource, hook: manifest.hook.clone()?, weight, source })
    };
    render.rendered.hooks.iter().filter(|m| !m.data.is_null()).filter_map(hook).collect()
}

/// Tells a hook that is not written to a folder: whoever reads it there would run it.
fn left_out_of_folder(sources: &Sources, project: &Project, hook: &Manifest) -> Risk {
    Risk {
        code: "no-hooks".to_owned(),
        level: RiskLevel::Warning,
        address: resource(sources, project, hook, false).address(),
        path: None,
        message: "the hook is left out of the folder (--no-hooks)".to_owned(),
    }
}

fn resource(sources: &Sources, project: &Project, manifest: &Manifest, hidden: bool) -> DesiredResource {
    let namespace = manifest.namespace.clone();
    DesiredResource {
        api_version: manifest.api_version.clone(),
        kind: manifest.kind.clone(),
        namespace: namespace.or_else(|| {
            let scoped = crate::chart::kinds::is_cluster_scoped(manifest.group(), &manifest.kind);
            (!scoped).then(|| project.names.namespace.clone())
        }),
        name: manifest.name.clone(),
        text: format!("{}\n", manifest.text),
        data: manifest.data.clone(),
        place: manifest.span.map(|span| sources.place(span)),
        hidden: hidden || !Secrecy::of(&manifest.data).is_empty(),
        belongs: !is_of_anyone(&manifest.data),
    }
}

/// Splits the files of crds/ into resources.
fn crds(project: &Project, render: &ProjectRender, unread: &mut Vec<Problem>) -> Vec<DesiredResource> {
    let mut found = Vec::new();
    for (name, text) in &render.rendered.crds {
        let file = format!("{}/{}", render.chart_dir, name.split_once('/').map_or(name.as_str(), |(_, rest)| rest));
        let place = Place::file(file);
        let nodes = match yaml::decode_all(text, crate::source::FileId(u32::MAX), 0, yaml::Options::MANIFESTS) {
            Ok(nodes) => nodes,
            Err(error) => {
                let before = text.get(..error.span.start as usize).unwrap_or(text);
                let line = Some(before.matches('\n').count() as u32 + 1);
                unread.push(Problem {
                    address: name.clone(),
                    place: Some(Place { line, ..place }),
                    message: format!("it cannot be read: {}", error.problem),
                });
                continue;
            }
        };
        for node in nodes {
            let data = node.to_plain();
            let items = items_of(&data).cloned().unwrap_or_else(|| vec![data]);
            found.extend(items.into_iter().filter_map(|data| crd(project, data, &place)));
        }
    }
    found
}

/// Returns an object of `crds/`; what has no kind or name is none. Source: Helm, which takes what it finds there.
fn crd(project: &Project, data: serde_json::Value, place: &Place) -> Option<DesiredResource> {
    let field = |pointer: &str| data.pointer(pointer).and_then(|v| v.as_str()).unwrap_or("").to_owned();
    let (api_version, kind, name) = (field("/apiVersion"), field("/kind"), field("/metadata/name"));
    if kind.is_empty() || name.is_empty() {
        return None;
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let scoped = crate::chart::kinds::is_cluster_scoped(group, &kind);
    let own = Some(field("/metadata/namespace")).filter(|namespace| !namespace.is_empty());
    Some(DesiredResource {
        namespace: own.or_else(|| Some(project.names.namespace.clone())).filter(|_| !scoped),
        text: yaml::to_yaml(&data).unwrap_or_default() + "\n",
        place: Some(place.clone()),
        api_version,
        kind,
        name,
        data,
        hidden: false,
        belongs: false,
    })
}

/// Turns the warnings that forbid an apply into errors; returns whether there are any.
pub fn forbid_unbuildable(diagnostics: &Diagnostics) -> (Diagnostics, bool) {
    let mut all = Diagnostics::new();
    let mut any = false;
    for diagnostic in diagnostics.as_slice() {
        let mut diagnostic = diagnostic.clone();
        if [&rules::NEEDS_COMMANDS, &rules::WRITE_FORBIDDEN].contains(&diagnostic.rule) {
            diagnostic.severity = Severity::Error;
            any = true;
        }
        all.push(diagnostic);
    }
    (all, any)
}
