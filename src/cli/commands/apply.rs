//! `apply [PLAN]`.

use std::path::Path;
use std::sync::Arc;

use super::super::args::{AllowedRisk, ApplyArgs, GlobalArgs, ReleaseDriver, RunArgs, RunFormat, StaleChoice, command};
use super::super::charts::cache_dir;
use super::super::environment::{Setting, in_force};
use super::super::error::{CliError, exit_code};
use super::super::interrupt;
use super::super::plan_file::{KeyPlaces, open_plan};
use super::super::project::{Options, directory};
use super::super::streams::Invocation;
use super::super::wiring::{BackEnds, Names, Reach, wire};
use super::make_plan::{Made, Wish, make_plan};
use super::run_plan::{self, Run};
use crate::backend::git::{GitHistory, RemoteRepositories, Repository};
use crate::exec::Violation;
use crate::pipeline::{lay_over, plan_again, planned_stages, stage_lists};
use crate::plan::{ClusterName, Deeds, Plan, departures, rest_anew, sealed_texts};
use crate::ports::{GitRemotes as _, RemoteReference, RemoteRepository};
use crate::report::plan_text;
use crate::source::{History, JoinedObjects, MemoryHistory, MemoryObjects, ObjectId, Objects};

pub fn run(global: &GlobalArgs, args: &ApplyArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    if let Some(path) = &args.plan {
        refuse_late(invocation)?;
        return saved(global, args, path, invocation);
    }
    let options = Options::all(&args.project, &args.build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    let wish = Wish { images: &[], deploy: true, applies: true, since: None, no_hooks: args.hooks.no_hooks };
    carry_on(args, &|invocation: &Invocation| make_plan(global, options, wish, invocation), invocation)
}

/// Makes a plan, shows it, asks and carries it out; makes it again where somebody else was faster.
pub(super) fn carry_on(
    args: &ApplyArgs,
    make: &dyn Fn(&Invocation) -> Result<Made, CliError>,
    invocation: &mut Invocation,
) -> Result<u8, CliError> {
    let run_args = run_args(args);
    let mut made = make(invocation)?;
    allow(&made.plan, args)?;
    let mut done = approved(&made, &run_args, args.resume, invocation);
    for _ in 1..MOST_PLANS {
        let Err(CliError::Stale { violations, written: false }) = &done else { break };
        // Whoever resumes means this very plan.
        if args.resume {
            break;
        }
        let list: String = violations.iter().map(|violation| format!("\n  {violation}")).collect();
        let told = format!("Since the plan was made, this changed:{list}\nIt is made again.");
        let told = invocation.streams.mask().hide(&told).into_owned();
        invocation.streams.inform(&told);
        let again = make(invocation)?;
        allow(&again.plan, args)?;
        done = if !run_args.auto_approve && is_same(&made.plan, &again.plan) {
            invocation.streams.inform("It does what was approved.");
            carried_out(&again, &run_args, false, invocation)
        } else {
            approved(&again, &run_args, false, invocation)
        };
        made = again;
    }
    done
}

/// Options that say what a plan does, and come too late for one that is saved.
const OF_PLANNING: [&str; 2] = ["--add-annotation", "--add-label"];

/// Who types such an option beside a saved plan means something that would not happen.
fn refuse_late(invocation: &Invocation) -> Result<(), CliError> {
    let settings = in_force(command(), &invocation.args, &invocation.env);
    let is_late = |setting: &Setting| setting.variable.is_none() && OF_PLANNING.contains(&setting.option.as_str());
    match settings.into_iter().find(is_late) {
        Some(Setting { option, .. }) => Err(CliError::Usage(format!(
            "{option} says what a plan does, and this one is saved: give it to `stagewright plan --out`"
        ))),
        None => Ok(()),
    }
}

/// What nobody looks at must lose nothing that is in a cluster, unless somebody said so.
fn allow(plan: &Plan, args: &ApplyArgs) -> Result<(), CliError> {
    let is_looked_at = !args.run.auto_approve || plan.inputs.cluster.is_none();
    if is_looked_at || args.allow.contains(&AllowedRisk::DataLoss) {
        return Ok(());
    }
    let lost: Vec<&str> = plan.data_losses().map(|risk| risk.address.as_str()).collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(CliError::Refused(format!(
        "data would be lost with {}, and nobody looks at this plan; review it (`plan --out`) and apply it, or allow that with \
         --allow data-loss",
        lost.join(", ")
    )))
}

/// How often a plan is made that others make stale.
const MOST_PLANS: usize = 4;

/// Says whether a plan that was made again does what another one does.
fn is_same(approved: &Plan, again: &Plan) -> bool {
    approved.images == again.images && departures(Deeds::of(approved), Deeds::of(again)).is_empty()
}

fn run_args(args: &ApplyArgs) -> RunArgs {
    RunArgs { auto_rollback: args.auto_rollback, deploy_report: args.report.path(), ..args.run.clone() }
}

/// Shows a plan that was just made, asks, and carries it out.
pub fn approved(made: &Made, args: &RunArgs, resume: bool, invocation: &mut Invocation) -> Result<u8, CliError> {
    show(&made.plan, args, invocation)?;
    let reports = args.save_build_report || args.build_report_path.is_some() || args.deploy_report.is_some();
    if made.plan.operations.is_empty() && args.output == RunFormat::Text && !reports {
        return Ok(exit_code::DONE);
    }
    approve(&made.plan, args, invocation)?;
    carried_out(made, args, resume, invocation)
}

/// Shows a plan that is to be carried out.
pub(super) fn show(plan: &Plan, args: &RunArgs, invocation: &mut Invocation) -> Result<(), CliError> {
    match args.output {
        RunFormat::Text => {
            let text = plan_text(plan, invocation.streams.out_look(), None);
            let text = invocation.streams.mask().hide(&text).into_owned();
            invocation.streams.print(&text)
        }
        // Stdout is for the outcome.
        RunFormat::Json => {
            let text = plan_text(plan, invocation.streams.err_look(), None);
            invocation.streams.inform(text.trim_end());
            Ok(())
        }
    }
}

/// Carries out a plan that was just made.
pub fn carried_out(made: &Made, args: &RunArgs, resume: bool, invocation: &mut Invocation) -> Result<u8, CliError> {
    // What goes wrong may repeat what was written.
    invocation.streams.hide(invocation.streams.mask().with(sealed_texts(&made.plan)));
    let run = Run {
        project: &made.found.dir,
        stages: stage_lists(&made.project.images),
        objects: &made.objects,
        history: &*made.found.inputs.history,
        back_ends: &made.back_ends,
        args,
        resume,
    };
    run_plan::run(&made.plan, &run, invocation)
}

pub(super) fn approve(plan: &Plan, args: &RunArgs, invocation: &Invocation) -> Result<(), CliError> {
    if args.auto_approve || plan.operations.is_empty() {
        return Ok(());
    }
    if !invocation.streams.can_ask() {
        return Err(CliError::Refused(
            "nobody can be asked, for this is no terminal; use --auto-approve, or review and apply a saved plan".into(),
        ));
    }
    match (invocation.streams.ask("Apply this plan?"), interrupt::is_set()) {
        (_, true) => Err(CliError::Interrupted),
        (true, false) => Ok(()),
        (false, false) => Err(CliError::Refused("not approved".into())),
    }
}

/// Carries a saved plan out as it was recorded, with the back ends it was made for.
fn saved(global: &GlobalArgs, args: &ApplyArgs, path: &str, invocation: &mut Invocation) -> Result<u8, CliError> {
    let dir = directory(global, invocation)?;
    let keys = KeyPlaces { env: &invocation.env, project: &dir };
    let plan = open_plan(&invocation.cwd.join(path), keys)?;
    invocation.streams.hide(invocation.streams.mask().with(sealed_texts(&plan)));
    if args.hooks.no_hooks && !plan.inputs.no_hooks {
        let text = "--no-hooks says what a plan does, and this one is saved and runs its hooks: give it to the command that plans";
        return Err(CliError::Usage(text.to_owned()));
    }
    if args.deploy.no_remove_manual_changes && !plan.inputs.no_remove_manual_changes {
        let text = "--no-remove-manual-changes says what a plan does, and this one is saved and sets them back: give it to the command \
                    that plans";
        return Err(CliError::Usage(text.to_owned()));
    }
    let mut kube = args.deploy.kube.clone();
    let context = plan.inputs.cluster.as_ref().and_then(|cluster| cluster.context.clone());
    let is_named = kube.kube_context.is_some();
    kube.kube_context = kube.kube_context.or(context);
    let is_in_config_maps = plan.inputs.release_driver.as_deref() == Some("configmap");
    kube.records.release_driver =
        Some(if is_in_config_maps { ReleaseDriver::Configmap } else { ReleaseDriver::Secret });
    let names = Names::of_plan(&plan.inputs);
    let reach = Reach::new(&args.build.registry, global, invocation).with_kube(Some(&kube));
    let back_ends = match wire(&names, &dir, &reach) {
        // Another machine may know the cluster by another name: which one it is, its uid tells.
        Err(_) if !is_named && plan.inputs.cluster.as_ref().is_some_and(|cluster| cluster.uid.is_some()) => {
            kube.kube_context = None;
            wire(&names, &dir, &reach.with_kube(Some(&kube)))?
        }
        wired => wired?,
    };
    check_cluster(&plan, &back_ends)?;
    let (objects, history) = if plan.commit.is_empty() {
        // It builds nothing, and knows no project.
        (Arc::new(MemoryObjects::new()) as Arc<dyn Objects>, Box::new(MemoryHistory::default()) as Box<dyn History>)
    } else {
        let (objects, history) = repository(&plan, &dir, invocation)?;
        (objects, Box::new(history) as Box<dyn History>)
    };
    let run = Run {
        project: &dir,
        stages: planned_stages(&plan),
        objects: &objects,
        history: history.as_ref(),
        back_ends: &back_ends,
        args: &run_args(args),
        resume: args.resume,
    };
    let mut done = run_plan::run(&plan, &run, invocation);
    for _ in 1..MOST_PLANS {
        let Err(CliError::Stale { violations, written: false }) = &done else { break };
        if args.stale == StaleChoice::Refuse || args.resume {
            break;
        }
        let fresh = fit_again(&plan, violations, &back_ends, invocation)?;
        done = run_plan::run(&fresh, &run, invocation);
    }
    done
}

/// Returns a stale plan with what it rests on now, where it would still do exactly what was approved.
fn fit_again(
    plan: &Plan,
    violations: &[Violation],
    back_ends: &BackEnds,
    invocation: &Invocation,
) -> Result<Plan, CliError> {
    let stale = |more: Vec<String>| {
        let departs = |change: String| Violation {
            operation: String::new(),
            subject: "planned again".into(),
            expected: String::new(),
            found: String::new(),
            change: Some(invocation.streams.mask().hide(&change).into_owned()),
        };
        let violations = violations.iter().cloned().chain(more.into_iter().map(departs)).collect();
        CliError::Stale { violations, written: false }
    };
    let is_of_target = |v: &Violation| ["release ", "resource "].iter().any(|what| v.subject.starts_with(what));
    let target = back_ends.target.as_deref().filter(|_| violations.iter().all(is_of_target));
    let Some(target) = target else {
        return Err(stale(vec!["only what changed in the target is planned again: make a new plan".into()]));
    };
    let again = plan_again(plan, target).map_err(|e| CliError::environment("plan again", e))?;
    let Some(again) = again else {
        return Err(stale(vec![not_again(plan).into()]));
    };
    let stands = again.problems.iter().chain(&again.blocks).map(|p| format!("{}: {}", p.address, p.message));
    let mut departs: Vec<String> = stands.collect();
    departs.extend(departures(Deeds::of(plan), Deeds { resources: &again.resources, operations: &again.operations }));
    if !departs.is_empty() {
        return Err(stale(departs));
    }
    let list: String = violations.iter().map(|violation| format!("\n  {violation}")).collect();
    let told = format!("Since the plan was made, this changed:{list}\nPlanned again, it does what was approved.");
    let told = invocation.streams.mask().hide(&told).into_owned();
    invocation.streams.inform(&told);
    Ok(rest_anew(plan, &again.operations))
}

/// Says why a plan is not planned again, and what to do.
fn not_again(plan: &Plan) -> &'static str {
    if plan.inputs.cluster.is_none() {
        "a plan for a folder is not: look at a new one, `stagewright plan --out FILE`"
    } else {
        "what is in its file does not suffice: make a new plan"
    }
}

/// A plan for a cluster is carried out in that one.
fn check_cluster(plan: &Plan, back_ends: &BackEnds) -> Result<(), CliError> {
    let found = back_ends.target.as_ref().map_or(Ok(None), |target| target.cluster());
    let found = found.map_err(|e| CliError::environment("find the cluster of the plan", e))?;
    let (Some(expected), Some(found)) = (&plan.inputs.cluster, found) else { return Ok(()) };
    // One cluster may have several addresses, and an address several clusters, one after the other.
    let is_same = match (&expected.uid, &found.uid) {
        (Some(expected), Some(found)) => expected == found,
        (_, _) => expected.server == found.server,
    };
    if is_same {
        return Ok(());
    }
    let named = |cluster: &ClusterName| match &cluster.uid {
        Some(uid) => format!("{cluster} with the uid {uid}"),
        None => cluster.to_string(),
    };
    let (expected, found) = (named(expected), named(&found));
    let violation =
        Violation { operation: String::new(), subject: "the cluster".into(), expected, found, change: None };
    Err(CliError::Stale { violations: vec![violation], written: false })
}

/// A plan of `--dev` names content of the work tree, and so does one of `contextAddFiles`; it is hashed again, and what
/// changed meanwhile is not found. Other
/// repositories are read at the commits that the plan names.
fn repository(plan: &Plan, dir: &Path, invocation: &Invocation) -> Result<(Arc<dyn Objects>, GitHistory), CliError> {
    let failed = |e| CliError::environment("read the git repository", e);
    let repository = Arc::new(Repository::discover(dir).map_err(failed)?);
    let head = repository.head().map_err(failed)?;
    let own = if plan.inputs.dev { repository.dev_files(&head).map_err(failed)? } else { repository.files(&head) };
    let mut own = own.objects().clone();
    // What is suitable is judged from the commit of the plan.
    let history = repository.history(&repository.commit(&plan.commit).map_err(failed)?);
    if !plan.inputs.added.is_empty() {
        let failed = |e| CliError::environment("read the files of `contextAddFiles`", e);
        let tree = ObjectId::from_hex(&plan.inputs.tree);
        let tree = tree.ok_or_else(|| CliError::user("the plan names no git tree"))?;
        let overlay = MemoryObjects::over(own);
        for paths in &plan.inputs.added {
            lay_over(&overlay, tree, repository.as_ref(), paths).map_err(failed)?;
        }
        own = Arc::new(overlay);
    }
    if plan.inputs.repositories.is_empty() {
        return Ok((own, history));
    }
    let remotes = RemoteRepositories::new(dir, cache_dir(&invocation.env, "git"), &invocation.env);
    let mut others = Vec::with_capacity(plan.inputs.repositories.len());
    for taken in &plan.inputs.repositories {
        let repository = RemoteRepository { url: taken.url.clone(), login: None };
        let files = remotes.files(&repository, &RemoteReference::Head, &taken.commit);
        let files = files.map_err(|e| CliError::environment(format!("read the repository {}", taken.url), e))?;
        others.push(files.objects().clone());
    }
    Ok((Arc::new(JoinedObjects::new(own, others)), history))
}
