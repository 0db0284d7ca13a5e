//! Taking a release back: what `release rollback`, `dismiss` and `apply --auto-rollback` have in common.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::args::{GlobalArgs, KubeArgs, RegistryArgs, ReleasePlaceArgs, RunArgs, RunFormat, TakeBackArgs};
use super::super::charts::cache_dir;
use super::super::error::{CliError, exit_code};
use super::super::interrupt;
use super::super::plan_file::{KeyPlaces, save_plan};
use super::super::project::{Options, find};
use super::super::streams::Invocation;
use super::super::wiring::{BackEnds, DEFAULT_BUILDER, DEFAULT_REPO, Names, Reach, wire};
use super::apply::{approve, show};
use super::run_plan::{self, Run};
use crate::config::{Explicit, deploy_names};
use crate::diag::Diagnostics;
use crate::exec::Outcome;
use crate::pipeline::{
    BegunRollback, Conflicts, ReleaseError, ReleaseRequest, StageLists, begun_rollback, forbid_unbuildable,
    load_config, plan_dismiss, plan_rollback,
};
use crate::plan::{Dismissal, Inputs, Plan, Work, sealed_texts};
use crate::ports::{Hold, LockGuard, ReleaseStore, Target};
use crate::report::{RolledBack, revision};
use crate::source::{MemoryHistory, MemoryObjects, Objects, Sources};

/// How the cluster is named as a target.
const CLUSTER: &str = "cluster";

/// A release that a command line names.
pub struct Named {
    /// The release.
    pub release: String,
    /// Its namespace.
    pub namespace: String,
    /// The project that named it, where one did.
    pub dir: Option<PathBuf>,
}

impl Named {
    /// Says that it is not there.
    pub fn missing(&self) -> CliError {
        let Self { release, namespace, .. } = self;
        CliError::user(format!("there is no release `{release}` in the namespace `{namespace}`"))
            .hint("`release list` shows all that there are")
    }
}

/// Returns the names of a release: those that were typed, else those of the project.
pub fn named(
    global: &GlobalArgs,
    release: Option<&str>,
    place: &ReleasePlaceArgs,
    invocation: &Invocation,
) -> Result<Named, CliError> {
    if let (Some(release), Some(namespace)) = (release, &place.namespace) {
        return Ok(Named { release: release.to_owned(), namespace: namespace.clone(), dir: None });
    }
    let found = find(global, Options { project: Some(&place.project), ..Options::default() }, invocation)
        .map_err(|error| error.hint("outside of a project, name a release with --release and --namespace"))?;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let explicit = Explicit { release, namespace: place.namespace.as_deref() };
    let config = load_config(&mut diagnostics, &sources, &found.inputs).map(|(config, _)| config);
    let env = found.inputs.env.as_deref().unwrap_or("");
    let names = config.and_then(|config| deploy_names(&mut diagnostics, &sources, &config, env, explicit));
    let failed = diagnostics.has_errors();
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    let names = names.filter(|_| !failed).ok_or(CliError::Config)?;
    Ok(Named { release: names.release, namespace: names.namespace, dir: Some(found.dir) })
}

/// A cluster that was found.
pub struct Opened {
    back_ends: BackEnds,
    dir: PathBuf,
}

impl Opened {
    fn target(&self) -> Result<&dyn Target, CliError> {
        self.back_ends.target.as_deref().ok_or_else(|| CliError::user("there is no cluster"))
    }

    /// Returns the records of its releases.
    pub fn store(&self) -> Result<&dyn ReleaseStore, CliError> {
        self.target()?.releases().ok_or_else(|| CliError::user("there is no cluster"))
    }
}

/// Finds the cluster. `dir` is the project, where there is one: what is noted of runs is kept there.
pub fn open_cluster(
    global: &GlobalArgs,
    kube: &KubeArgs,
    dir: Option<&Path>,
    invocation: &Invocation,
) -> Result<Opened, CliError> {
    let names = Names {
        repo: DEFAULT_REPO.to_owned(),
        final_repo: None,
        secondary_repos: Vec::new(),
        target: Some(CLUSTER.to_owned()),
        builder: DEFAULT_BUILDER.to_owned(),
    };
    let dir = dir.map(Path::to_owned).or_else(|| cache_dir(&invocation.env, "releases"));
    let dir = dir.unwrap_or_else(|| invocation.cwd.clone());
    let reach = Reach::new(&RegistryArgs::default(), global, invocation).with_kube(Some(kube));
    Ok(Opened { back_ends: wire(&names, &dir, &reach)?, dir })
}

fn told(error: ReleaseError) -> CliError {
    match error {
        ReleaseError::Diagnostics => CliError::Config,
        ReleaseError::Blocked => CliError::Refused("the plan is blocked until that is decided".into()),
        ReleaseError::Target(source) => CliError::environment("look at the release", source),
        error @ (ReleaseError::NoRelease { .. }
        | ReleaseError::NoRevision { .. }
        | ReleaseError::NoGoodRevision(_)
        | ReleaseError::NoRecords(_)) => {
            CliError::user(error.to_string()).hint("`release history` shows all revisions")
        }
    }
}

/// What a release goes back to, and how.
pub struct Back {
    /// The revision; `None`: the last before the current that was deployed with success.
    pub to: Option<u64>,
    /// What becomes of fields that controllers set.
    pub conflicts: Conflicts,
    /// Whether what people changed by hand stays.
    pub no_remove_manual_changes: bool,
    /// Whether hooks do not run.
    pub no_hooks: bool,
}

/// Deploys an older revision again.
pub fn rollback(
    named: &Named,
    opened: &Opened,
    Back { to, conflicts, no_remove_manual_changes, no_hooks }: Back,
    args: &TakeBackArgs,
    invocation: &mut Invocation,
) -> Result<u8, CliError> {
    let request = ReleaseRequest {
        target: (opened.target()?, CLUSTER),
        namespace: &named.namespace,
        release: &named.release,
        conflicts,
        no_remove_manual_changes,
        no_hooks,
    };
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let made = plan_rollback(&mut diagnostics, &sources, &request, to, None);
    tell(diagnostics, &sources, args, invocation)?;
    let (plan, to) = made.map_err(told)?;
    invocation.streams.inform(&format!("Rolls the release {} back to revision {to}.", named.release));
    carry_out(&plan, opened, args, invocation)
}

/// Deletes a release.
pub fn dismiss(
    named: &Named,
    opened: &Opened,
    with: Dismissal,
    args: &TakeBackArgs,
    invocation: &mut Invocation,
) -> Result<u8, CliError> {
    let Named { release, namespace, .. } = named;
    let conflicts = Conflicts::default();
    let target = (opened.target()?, CLUSTER);
    // What is deleted keeps nothing.
    let no_remove_manual_changes = false;
    let request = ReleaseRequest { target, namespace, release, conflicts, no_remove_manual_changes, no_hooks: false };
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let made = plan_dismiss(&mut diagnostics, &sources, &request, with);
    tell(diagnostics, &sources, args, invocation)?;
    let Some(plan) = made.map_err(told)? else {
        let text = format!("There is no release {release} in the namespace {namespace}: nothing is to be done.");
        invocation.streams.inform(&text);
        return Ok(exit_code::DONE);
    };
    carry_out(&plan, opened, args, invocation)
}

/// Tells what was found. What is to be carried out now must be possible now.
fn tell(
    diagnostics: Diagnostics,
    sources: &Sources,
    args: &TakeBackArgs,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let is_saved = args.out.is_some();
    let (diagnostics, forbidden) = if is_saved { (diagnostics, false) } else { forbid_unbuildable(&diagnostics) };
    invocation.streams.tell_diagnostics(diagnostics, sources);
    if forbidden { Err(CliError::Config) } else { Ok(()) }
}

/// Shows a plan, and saves it; or asks, and carries it out.
fn carry_out(plan: &Plan, opened: &Opened, args: &TakeBackArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    invocation.streams.hide(invocation.streams.mask().with(sealed_texts(plan)));
    let run_args = args.run_args();
    show(plan, &run_args, invocation)?;
    if let Some(out) = &args.out {
        let keys = KeyPlaces { env: &invocation.env, project: &opened.dir };
        save_plan(plan, &invocation.cwd.join(out), keys)?;
        invocation.streams.inform(&format!("To carry it out, run:\n  stagewright apply {out}"));
        return Ok(exit_code::DONE);
    }
    approve(plan, &run_args, invocation)?;
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let run = Run {
        project: &opened.dir,
        stages: StageLists::new(),
        objects: &objects,
        history: &MemoryHistory::default(),
        back_ends: &opened.back_ends,
        args: &run_args,
        resume: false,
    };
    run_plan::run(plan, &run, invocation)
}

/// Plans to go back from the revision that failed, or to go on with that; `None` where another one came after it.
fn plan_back(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    request: &ReleaseRequest<'_>,
    failed: u64,
    begun: Option<BegunRollback>,
) -> Result<Option<(Plan, u64)>, ReleaseError> {
    let (back, to) = plan_rollback(diagnostics, sources, request, None, begun)?;
    let rests_on_ours = back.inputs.revision == Some(failed);
    Ok(rests_on_ours.then_some((back, to)))
}

/// After a failed apply, goes back to the revision that was deployed before; where nothing was written, nothing is done.
/// What failed first is told again at the end. Returns what became of the rollback, where there was one.
pub fn roll_back_failed(
    plan: &Plan,
    outcome: &Outcome,
    run: &Run<'_>,
    lock: Option<&dyn LockGuard>,
    invocation: &mut Invocation,
) -> Result<Option<RolledBack>, CliError> {
    let opened = opened(plan).filter(|(operation, _)| outcome.done.contains(operation));
    let target = run.back_ends.target.as_deref();
    let (Some((_, failed)), Some(target)) = (opened, target) else {
        invocation.streams.inform("Nothing of the release was written: there is nothing to roll back.");
        return Ok(None);
    };
    let first = outcome.failed.first().map(|failure| {
        let causes: String = failure.causes.iter().map(|cause| format!("\n  caused by: {cause}")).collect();
        format!("\n  what failed first: {}{causes}", failure.subject.name)
    });
    roll_back(&failed, (target, None), &first.unwrap_or_default(), run, lock, invocation).map(Some)
}

/// Says whether the run that is resumed had failed, and begun to go back.
pub fn has_begun_to_roll_back(plan: &Plan, run: &Run<'_>) -> Result<bool, CliError> {
    Ok(begun(plan, run)?.is_some())
}

/// Goes on with the rollback of a run that had failed, under its lock.
pub fn go_on_rolling_back(
    plan: &Plan,
    run: &Run<'_>,
    lock: Option<&dyn LockGuard>,
    invocation: &mut Invocation,
) -> Result<Option<RolledBack>, CliError> {
    // Whoever had the lock before may have gone on with it.
    let Some((failed, target, begun)) = begun(plan, run)? else { return Ok(None) };
    roll_back(&failed, (target, Some(begun)), "", run, lock, invocation).map(Some)
}

/// A revision that failed.
struct FailedRevision<'a> {
    /// Namespace and release, as the target names it.
    key: &'a str,
    revision: u64,
    /// Whether its hooks did not run: those of the rollback do not then.
    no_hooks: bool,
    /// Whether it kept what people changed by hand: its rollback does then.
    no_remove_manual_changes: bool,
}

impl<'a> FailedRevision<'a> {
    fn request(&self, target: &'a dyn Target) -> ReleaseRequest<'a> {
        let (namespace, release) = self.key.split_once('/').unwrap_or(("default", self.key));
        // Nobody can be asked.
        let (target, conflicts) = ((target, CLUSTER), Conflicts::Yield);
        let Self { no_hooks, no_remove_manual_changes, .. } = *self;
        ReleaseRequest { target, namespace, release, conflicts, no_remove_manual_changes, no_hooks }
    }
}

/// Says whether the release was opened: before that there is no revision.
fn is_opened(plan: &Plan, outcome: &Outcome) -> bool {
    plan.operations.iter().any(|operation| operation.work.opened().is_some() && outcome.done.contains(&operation.id))
}

/// Returns the operation that opens a release, and the revision that it makes.
fn opened(plan: &Plan) -> Option<(&String, FailedRevision<'_>)> {
    plan.operations.iter().find_map(|operation| {
        let Work::OpenRelease { release, revision, .. } = &operation.work else { return None };
        let (key, revision) = (release, *revision);
        let Inputs { no_hooks, no_remove_manual_changes, .. } = plan.inputs;
        Some((&operation.id, FailedRevision { key, revision, no_hooks, no_remove_manual_changes }))
    })
}

type Begun<'a> = (FailedRevision<'a>, &'a dyn Target, BegunRollback);

fn begun<'a>(plan: &'a Plan, run: &Run<'a>) -> Result<Option<Begun<'a>>, CliError> {
    let target = run.back_ends.target.as_deref().filter(|target| target.releases().is_some());
    let (Some((_, failed)), Some(target)) = (opened(plan), target) else { return Ok(None) };
    let begun = begun_rollback(&failed.request(target), failed.revision).map_err(told)?;
    Ok(begun.map(|begun| (failed, target, begun)))
}

fn roll_back(
    failed: &FailedRevision<'_>,
    (target, begun): (&dyn Target, Option<BegunRollback>),
    first: &str,
    run: &Run<'_>,
    lock: Option<&dyn LockGuard>,
    invocation: &mut Invocation,
) -> Result<RolledBack, CliError> {
    let request = failed.request(target);
    let release = request.release;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    // The time of the apply is over; going back has its own.
    run_plan::heed(run, &interrupt::flag()?);
    let made = match lock.map(LockGuard::hold) {
        Some(Hold::Lost(_)) => Ok(None),
        Some(Hold::Sure | Hold::Unsure) | None => {
            plan_back(&mut diagnostics, &sources, &request, failed.revision, begun)
        }
    };
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    let mut rolled_back = RolledBack::default();
    let verdict = match made {
        Ok(None) => "was not rolled back: somebody else has taken it over; see `release history`".to_owned(),
        Ok(Some((back, to))) => {
            let what = if begun.is_some() { "goes on to roll" } else { "rolls" };
            invocation
                .streams
                .inform(&format!("The apply failed: {what} the release {release} back to revision {to}."));
            invocation.streams.hide(invocation.streams.mask().with(sealed_texts(&back)));
            show(&back, run.args, invocation)?;
            rolled_back.to = Some(to);
            // What nobody was asked about must lose nothing.
            if back.data_losses().next().is_some() {
                format!("was not rolled back to revision {to}, which would lose data; see `release rollback`")
            } else {
                // Stdout is for the outcome of the apply.
                // The report of the apply tells of both.
                let args = RunArgs { output: RunFormat::Text, deploy_report: None, ..run.args.clone() };
                let again = Run { stages: StageLists::new(), args: &args, resume: begun.is_some(), ..*run };
                match run_plan::undo(&back, &again, lock, invocation) {
                    Ok(outcome) => {
                        rolled_back.is_done = outcome.is_success();
                        rolled_back.revision = revision(&back).filter(|_| is_opened(&back, &outcome));
                        rolled_back.outcome = Some(outcome);
                        if rolled_back.is_done {
                            format!("was rolled back to revision {to}")
                        } else {
                            format!("was not rolled back to revision {to}: the rollback failed too")
                        }
                    }
                    Err(error) => format!("was not rolled back to revision {to}\n  {}", error.text(false)),
                }
            }
        }
        Err(ReleaseError::NoGoodRevision(_)) => "was not rolled back: it has no revision to go back to".to_owned(),
        Err(ReleaseError::Diagnostics | ReleaseError::Blocked) => {
            "was not rolled back: its plan has the errors above".to_owned()
        }
        Err(error) => format!("was not rolled back\n  {}", told(error).text(false)),
    };
    let text = format!("error: the apply failed, and the release {release} {verdict}{first}");
    let text = invocation.streams.mask().hide(&text).into_owned();
    invocation.streams.tell(&text);
    Ok(RolledBack { message: format!("the release {release} {verdict}"), ..rolled_back })
}
