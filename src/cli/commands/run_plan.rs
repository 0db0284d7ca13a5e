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
use super::super::streams::Invocation;
use super::super::wiring::{BackEnds, SystemClock};
use super::take_back::roll_back_failed;
use crate::exec::{
    self, Durations, Forecast, OnFailure, Options, Outcome, Ports, Violation, WorkError, check_guards, check_revisions,
};
use crate::pipeline::{StageLists, build_report};
use crate::plan::{Plan, Work, discreet_record};
use crate::ports::{Hold, LockError, LockGuard};
use crate::report::{outcome_json, outcome_line};
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
    let outcome = carry_out(plan, run, invocation)?;
    let verdict = verdict(&outcome);
    if run.args.auto_rollback && matches!(verdict, Err(CliError::Failed)) {
        roll_back_failed(plan, &outcome, run, invocation)?;
    }
    verdict
}

/// Carries a plan out and tells the outcome.
pub fn carry_out(plan: &Plan, run: &Run<'_>, invocation: &mut Invocation) -> Result<Outcome, CliError> {
    let ports = Ports {
        objects: run.objects,
        store: run.back_ends.store.as_ref(),
        final_store: run.back_ends.final_store.as_deref(),
        builder: run.back_ends.builder.as_ref(),
        target: run.back_ends.target.as_deref(),
        history: run.history,
        clock: &SystemClock,
    };
    let interrupts = interrupt::flag()?;
    let timeout = (run.args.timeout > 0).then(|| Duration::from_secs(run.args.timeout));
    if let Some(target) = ports.target {
        target.heed(&interrupts.flag, timeout.and_then(|limit| Instant::now().checked_add(limit)));
    }
    refuse(check_guards(plan, &ports, run.resume))?;
    ignore_own_folder(run)?;
    let (lock, waited) = lock(plan, run, &interrupts.flag, invocation)?;
    // Somebody else may have applied before we had the lock: while we waited, anything may have changed.
    let check = if waited { check_guards } else { check_revisions };
    refuse(check(plan, &ports, run.resume))?;
    let forecast = Forecast::new(&plan.operations, &durations::read(&run.back_ends.durations));
    let options = Options {
        parallel: run.args.parallel_tasks_limit.max(1),
        on_failure: if run.args.fail_fast { OnFailure::Stop } else { OnFailure::Continue },
        resume: run.resume,
        introspect: run.args.introspect_error && invocation.streams.can_ask(),
        forecast: &forecast,
        cancelled: &interrupts.flag,
        no_wait: run.args.no_wait,
        timeout_ms: (run.args.timeout > 0).then(|| run.args.timeout.saturating_mul(1000)),
        lock: lock.as_deref(),
    };
    let progress = invocation.streams.progress(plan.operations.len(), &forecast, !run.args.introspect_error);
    let progress = Arc::new(progress);
    let noting = Arc::downgrade(&progress);
    run.back_ends.notices.hand_to(Some(Arc::new(move |text| {
        if let Some(progress) = noting.upgrade() {
            progress.note(text);
        }
    })));
    let taken = Mutex::new(Durations::new());
    let outcome = exec::run(plan, &ports, &options, &|event| {
        durations::note(&mut taken.lock().unwrap_or_else(PoisonError::into_inner), &event);
        progress.tell(&event);
    });
    run.back_ends.notices.hand_to(None);
    // Takes the display away.
    drop(progress);
    let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
    if outcome.is_success() {
        save_report(plan, run, &taken, invocation)?;
    }
    durations::write(&run.back_ends.durations, taken);
    if let Some(Hold::Lost(why)) = lock.as_deref().map(LockGuard::hold)
        && !outcome.is_success()
    {
        invocation.streams.tell(&format!("the lock of the release was lost, and nothing new was begun: {why}"));
    }
    if let Some(notes) = notes(plan).filter(|_| outcome.is_success()) {
        invocation.streams.inform(&format!("\n{}\n", notes.trim_end()));
    }
    tell(&outcome, run.args.output, invocation)?;
    Ok(outcome)
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

/// Where the build report is saved when no file is named. Source: werf 2.x.
pub const BUILD_REPORT: &str = ".werf-build-report.json";

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
    std::fs::write(invocation.cwd.join(path), text).map_err(|e| CliError::environment(attempt(), e))
}

fn refuse(violations: Result<Vec<Violation>, WorkError>) -> Result<(), CliError> {
    let violations = violations.map_err(|e| CliError::environment("check the plan", e))?;
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
    let Some(release) = release else { return Ok((None, false)) };
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
