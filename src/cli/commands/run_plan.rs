//! Carrying out a plan: guards, lock, run, outcome; what `apply` and `build` have in common.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::args::{RunArgs, RunFormat};
use super::super::durations;
use super::super::error::{CliError, exit_code};
use super::super::interrupt;
use super::super::plan_file::write_atomically;
use super::super::streams::Invocation;
use super::super::wiring::{BackEnds, SystemClock};
use super::take_back::{go_on_rolling_back, has_begun_to_roll_back, roll_back_failed};
use crate::backend::git::{BUILD_REPORT, DEPLOY_REPORT, Repository};
use crate::exec::{
    self, Checked, Durations, Forecast, OnFailure, Options, Outcome, Ports, Violation, WorkError, check_guards,
    check_revisions,
};
use crate::pipeline::{StageLists, build_report};
use crate::plan::{Operation, Plan, Work, discreet_record, release_key};
use crate::ports::{Hold, LockError, LockGuard};
use crate::report::{RolledBack, deploy_report_json, outcome_json, outcome_line};
use crate::source::{History, Objects};

/// What a run needs besides the plan.
pub struct Run<'a> {
    /// The project's directory.
    pub project: &'a Path,
    /// The stages of its images.
    pub stages: StageLists,
    /// The repository's objects.
    pub objects: &'a Arc<dyn Objects>,
    /// The commits that led to the one that is read.
    pub history: &'a dyn History,
    /// The back ends.
    pub back_ends: &'a BackEnds,
    /// How it runs.
    pub args: &'a RunArgs,
    /// Accepts what an interrupted run left.
    pub resume: bool,
}

/// Carries a plan out and returns the exit code; where that is wanted, a release that failed is rolled back.
pub fn run(plan: &Plan, run: &Run<'_>, invocation: &mut Invocation) -> Result<u8, CliError> {
    let interrupted = interrupt::flag()?;
    heed(run, &interrupted);
    if run.resume && run.args.auto_rollback && has_begun_to_roll_back(plan, run)? {
        let told = |error| not_begun(plan, run, error, invocation);
        let (lock, _) = lock(plan, run, &interrupted, invocation).map_err(told)?;
        let rolled_back = go_on_rolling_back(plan, run, lock.as_deref(), invocation)?;
        let error = CliError::user("the rollback that was begun was gone on with");
        not_begun_but(plan, run, (error, rolled_back.as_ref()), invocation);
        return Err(CliError::Failed);
    }
    let begun = begun(plan, run, &interrupted, invocation);
    let (checked, lock) = begun.map_err(|error| not_begun(plan, run, error, invocation))?;
    let (outcome, mut reported) = carry_out(plan, run, &checked, lock.as_deref(), invocation)?;
    let verdict = verdict(&outcome);
    if run.args.auto_rollback && matches!(verdict, Err(CliError::Failed)) {
        // Under the same lock: nobody comes between.
        let rolled_back = roll_back_failed(plan, &outcome, run, lock.as_deref(), invocation)?;
        let again = write_deploy_report(plan, run, (&outcome, rolled_back.as_ref()), None, invocation);
        reported = reported.and(again);
    }
    match (verdict, reported) {
        (Ok(code), reported) => reported.map(|()| code),
        (Err(error), Ok(())) => Err(error),
        // What became of the run counts more than its report.
        (Err(error), Err(unsaved)) => {
            invocation.streams.tell(&unsaved.text(invocation.streams.err_color));
            Err(error)
        }
    }
}

/// Checks guards and takes the lock.
fn begun(
    plan: &Plan,
    run: &Run<'_>,
    interrupted: &AtomicBool,
    invocation: &Invocation,
) -> Result<(Checked, Option<Box<dyn LockGuard>>), CliError> {
    let mut checked = check(plan, run)?;
    ignore_own_folder(run)?;
    let (lock, waited) = lock(plan, run, interrupted, invocation)?;
    // Somebody else may have applied before we had the lock: while we waited, anything may have changed.
    if waited {
        checked = check(plan, run)?;
    } else {
        refuse(check_revisions(plan, &ports(run), run.resume).map_err(unchecked)?)?;
    }
    Ok((checked, lock))
}

/// Carries out what undoes another run, under its lock.
pub fn undo(
    plan: &Plan,
    run: &Run<'_>,
    lock: Option<&dyn LockGuard>,
    invocation: &mut Invocation,
) -> Result<Outcome, CliError> {
    heed(run, &interrupt::flag()?);
    let checked = check(plan, run)?;
    let (outcome, reported) = carry_out(plan, run, &checked, lock, invocation)?;
    reported?;
    Ok(outcome)
}

/// Looks at all that guards speak of; what does not hold is refused.
fn check(plan: &Plan, run: &Run<'_>) -> Result<Checked, CliError> {
    let mut checked = check_guards(plan, &ports(run), run.resume).map_err(unchecked)?;
    refuse(std::mem::take(&mut checked.violations))?;
    Ok(checked)
}

/// From now on the time of a run counts.
pub fn heed(run: &Run<'_>, interrupted: &Arc<AtomicBool>) {
    let timeout = (run.args.timeout > 0).then(|| Duration::from_secs(run.args.timeout));
    if let Some(target) = run.back_ends.target.as_deref() {
        target.heed(interrupted, timeout.and_then(|limit| Instant::now().checked_add(limit)));
    }
}

fn ports<'a>(run: &Run<'a>) -> Ports<'a> {
    Ports {
        objects: run.objects,
        store: run.back_ends.store.as_ref(),
        final_store: run.back_ends.final_store.as_deref(),
        builder: run.back_ends.builder.as_ref(),
        target: run.back_ends.target.as_deref(),
        history: run.history,
        clock: &SystemClock,
    }
}

/// Carries out a plan whose guards hold, and tells the outcome. Says too whether it could be reported.
fn carry_out(
    plan: &Plan,
    run: &Run<'_>,
    checked: &Checked,
    lock: Option<&dyn LockGuard>,
    invocation: &mut Invocation,
) -> Result<(Outcome, Result<(), CliError>), CliError> {
    let interrupted = interrupt::flag()?;
    let forecast = Forecast::new(&plan.operations, &durations::read(&run.back_ends.durations));
    let options = Options {
        parallel: run.args.parallel_tasks_limit.max(1),
        on_failure: if run.args.fail_fast { OnFailure::Stop } else { OnFailure::Continue },
        resume: run.resume,
        introspect: run.args.introspect_error && invocation.streams.can_ask(),
        forecast: &forecast,
        cancelled: &interrupted,
        no_wait: run.args.no_wait,
        timeout_ms: (run.args.timeout > 0).then(|| run.args.timeout.saturating_mul(1000)),
        checked: Some(checked),
        lock,
    };
    let total = plan.operations.iter().filter(|operation| operation.work != Work::Gate).count();
    let progress = invocation.streams.progress(total, &forecast, !run.args.introspect_error);
    let progress = Arc::new(progress);
    let noting = Arc::downgrade(&progress);
    run.back_ends.notices.hand_to(Some(Arc::new(move |text| {
        if let Some(progress) = noting.upgrade() {
            progress.note(text);
        }
    })));
    let taken = Mutex::new(Durations::new());
    let ran = exec::run(plan, &ports(run), &options, &|event| {
        durations::note(&mut taken.lock().unwrap_or_else(PoisonError::into_inner), &event);
        progress.tell(&event);
    });
    run.back_ends.notices.hand_to(None);
    // Takes the display away.
    drop(progress);
    let ran = ran.map_err(|e| CliError::environment("see what the interrupted run did", e));
    let outcome = ran.map_err(|error| not_begun(plan, run, error, invocation))?;
    let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
    let saved = if outcome.is_success() { save_report(plan, run, &taken, invocation) } else { Ok(()) };
    durations::write(&run.back_ends.durations, taken);
    let reported = save_deploy_report(plan, run, (&outcome, None), None, invocation);
    if let Some(Hold::Lost(why)) = lock.map(LockGuard::hold)
        && !outcome.is_success()
    {
        invocation.streams.tell(&format!("the lock of the release was lost, and nothing new was begun: {why}"));
    }
    if let Some(notes) = notes(plan).filter(|_| outcome.is_success()) {
        invocation.streams.inform(&format!("\n{}\n", notes.trim_end()));
    }
    if run.args.output == RunFormat::Text || !run.args.has_result || !outcome.is_success() {
        tell(&outcome, run.args.output, invocation)?;
    }
    // What became of the run is told first.
    Ok((outcome, saved.and(reported)))
}

/// Returns the notes of a release that a plan deploys to a cluster, as they may be shown. Whoever goes back knows them.
fn notes(plan: &Plan) -> Option<String> {
    let (_, payload) = plan.operations.iter().find_map(|operation| operation.work.opened())?;
    let record = discreet_record(&serde_json::from_str(payload).ok()?);
    if record.pointer("/info/status").and_then(Value::as_str) == Some("pending-rollback") {
        return None;
    }
    let notes = record.pointer("/info/notes")?.as_str()?;
    (!notes.trim().is_empty()).then(|| notes.to_owned())
}

/// Saves the build report, where one is wanted.
fn save_report(plan: &Plan, run: &Run<'_>, took: &Durations, invocation: &Invocation) -> Result<(), CliError> {
    let path = match &run.args.build_report_path {
        Some(path) => path,
        None if run.args.save_build_report => BUILD_REPORT,
        None => return Ok(()),
    };
    let attempt = || format!("save the build report to {path}");
    let report = build_report(plan, &run.stages, took, run.back_ends.store.as_ref());
    let report = report.map_err(|e| CliError::environment(attempt(), e))?;
    let text = if path.ends_with(".env") { report.to_env() } else { report.to_json() };
    std::fs::write(invocation.cwd.join(path), text).map_err(|e| CliError::environment(attempt(), e))?;
    tell_if_it_counts(plan, run, path, invocation);
    Ok(())
}

/// A report in the work tree is a file of it like any other, unless it has the usual name.
fn tell_if_it_counts(plan: &Plan, run: &Run<'_>, path: &str, invocation: &Invocation) {
    let file = invocation.cwd.join(path);
    let is_usual = file.file_name().is_some_and(|name| name == BUILD_REPORT || name == DEPLOY_REPORT);
    if !plan.inputs.dev || is_usual {
        return;
    }
    let counts = Repository::discover(run.project).is_ok_and(|repository| !repository.is_ignored(&file));
    if counts {
        invocation.streams.inform(&format!(
            "The report {path} lies in the work tree, and is a part of what the next run with --dev reads: name it in .gitignore."
        ));
    }
}

/// Saves the report of a deploy, where one is wanted; `error` says why it was not begun.
fn save_deploy_report(
    plan: &Plan,
    run: &Run<'_>,
    outcomes: (&Outcome, Option<&RolledBack>),
    error: Option<&CliError>,
    invocation: &Invocation,
) -> Result<(), CliError> {
    write_deploy_report(plan, run, outcomes, error, invocation)?;
    if let Some(path) = &run.args.deploy_report {
        tell_if_it_counts(plan, run, path, invocation);
    }
    Ok(())
}

/// As [`save_deploy_report`], where all else about its file has been told.
fn write_deploy_report(
    plan: &Plan,
    run: &Run<'_>,
    (outcome, rollback): (&Outcome, Option<&RolledBack>),
    error: Option<&CliError>,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let Some(path) = &run.args.deploy_report else { return Ok(()) };
    let error = error.map(|error| error.text(false));
    let text = deploy_report_json(plan, (outcome, rollback), error.as_deref(), &invocation.streams.mask());
    // What a cluster says of a failure is nobody else's business.
    write_atomically(&invocation.cwd.join(path), text.as_bytes())
        .map_err(|e| CliError::environment(format!("save the deploy report to {path}"), e))
}

/// Reports a run that was not begun; that it cannot be reported is told beside the error.
fn not_begun(plan: &Plan, run: &Run<'_>, error: CliError, invocation: &Invocation) -> CliError {
    not_begun_but(plan, run, (error, None), invocation)
}

/// As [`not_begun`], where a rollback was gone on with instead.
fn not_begun_but(
    plan: &Plan,
    run: &Run<'_>,
    (error, rolled_back): (CliError, Option<&RolledBack>),
    invocation: &Invocation,
) -> CliError {
    if let Err(unsaved) = save_deploy_report(plan, run, (&Outcome::default(), rolled_back), Some(&error), invocation) {
        invocation.streams.tell(&unsaved.text(invocation.streams.err_color));
    }
    error
}

fn unchecked(error: WorkError) -> CliError {
    CliError::environment("check the plan", error)
}

fn refuse(violations: Vec<Violation>) -> Result<(), CliError> {
    if violations.is_empty() { Ok(()) } else { Err(CliError::Stale { violations, written: false }) }
}

/// How often it is looked whether a lock is free, and whether we are interrupted.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(50));

/// A release is applied by one process at a time; images need no lock. Says too whether somebody was waited for.
fn lock(
    plan: &Plan,
    run: &Run<'_>,
    interrupted: &AtomicBool,
    invocation: &Invocation,
) -> Result<(Option<Box<dyn LockGuard>>, bool), CliError> {
    let release = plan.operations.iter().find_map(|o| match &o.work {
        Work::RecordRelease { release, .. } | Work::ForgetRelease { release } => Some(release),
        Work::BuildStage { .. }
        | Work::TagImage { .. }
        | Work::TagIndex { .. }
        | Work::CopyImage { .. }
        | Work::OpenRelease { .. }
        | Work::WriteResource { .. }
        | Work::DeleteResource { .. }
        | Work::AwaitResource { .. }
        | Work::RecordHooks { .. }
        | Work::Gate => None,
    });
    // One that has no record yet is locked by its name.
    let changes = |o: &Operation| matches!(o.work, Work::WriteResource { .. } | Work::DeleteResource { .. });
    let of_inputs = plan
        .operations
        .iter()
        .any(changes)
        .then(|| Some(release_key(plan.inputs.namespace.as_ref()?, plan.inputs.release.as_ref()?)));
    let Some(release) = release.cloned().or(of_inputs.flatten()) else { return Ok((None, false)) };
    let (name, holder) = (format!("release {release}"), holder(&invocation.env));
    let own = run.back_ends.lock.as_ref();
    let mut locks = run.back_ends.target.as_deref().and_then(|target| target.lock()).unwrap_or(own);
    let start = Instant::now();
    let limit = Duration::from_secs(run.args.lock_timeout);
    let mut told = None;
    loop {
        let error = match locks.try_lock(&name, &holder) {
            Ok(guard) => return Ok((Some(guard), told.is_some())),
            Err(error) => error,
        };
        match &error {
            LockError::Held { holder, .. } if start.elapsed() < limit => {
                if told.as_ref() != Some(holder) {
                    let seconds = run.args.lock_timeout;
                    invocation
                        .streams
                        .inform(&format!("{error}; it is waited for, {seconds} s at most (--lock-timeout)"));
                    told = Some(holder.clone());
                }
            }
            LockError::Held { .. } => return Err(CliError::Locked(error.to_string())),
            LockError::Unable(why) => {
                invocation.streams.inform(&format!(
                    "warning: the release cannot be locked in the cluster, only on this machine: {why}"
                ));
                locks = own;
                continue;
            }
            LockError::Io { .. } => return Err(CliError::environment("take the lock", error)),
        }
        let next = Instant::now() + LOOKS.0.min(limit.saturating_sub(start.elapsed()));
        while Instant::now() < next {
            if interrupted.load(Ordering::Relaxed) {
                return Err(CliError::Interrupted);
            }
            std::thread::sleep(LOOKS.1);
        }
    }
}

/// Tells others who we are.
fn holder(env: &BTreeMap<String, String>) -> String {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let user = set("USER").or_else(|| set("LOGNAME")).map_or("somebody", String::as_str);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let github = || {
        let (server, repository) = (set("GITHUB_SERVER_URL")?, set("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", set("GITHUB_RUN_ID")?))
    };
    let job = set("CI_JOB_URL").or_else(|| set("BUILD_URL")).cloned().or_else(github);
    let job = job.map(|job| format!(", {job}")).unwrap_or_default();
    format!("process {} of {user} on {host}{job}", std::process::id())
}

/// What we keep in the project is not meant for its repository.
fn ignore_own_folder(run: &Run<'_>) -> Result<(), CliError> {
    let own = run.project.join(".stagewright");
    let file = own.join(".gitignore");
    if !run.back_ends.folders.iter().any(|f| f.starts_with(&own)) || file.exists() {
        return Ok(());
    }
    let write = std::fs::create_dir_all(&own).and_then(|()| std::fs::write(&file, "*\n"));
    write.map_err(|e| CliError::environment(format!("write {}", file.display()), e))
}

fn tell(outcome: &Outcome, format: RunFormat, invocation: &mut Invocation) -> Result<(), CliError> {
    match format {
        RunFormat::Json => {
            let text = outcome_json(outcome, &invocation.streams.mask());
            invocation.streams.print(&text)?;
        }
        RunFormat::Text => invocation.streams.inform(&outcome_line(outcome)),
    }
    Ok(())
}

/// Returns the exit code of an outcome.
fn verdict(outcome: &Outcome) -> Result<u8, CliError> {
    let violations: Vec<Violation> = outcome.failed.iter().filter_map(|f| f.stale.clone()).collect();
    match (outcome.is_success(), outcome.is_cancelled()) {
        (true, _) => Ok(exit_code::DONE),
        (false, true) => Err(CliError::Interrupted),
        (false, false) if !violations.is_empty() => {
            Err(CliError::Stale { violations, written: !outcome.done.is_empty() })
        }
        (false, false) => Err(CliError::Failed),
    }
}
