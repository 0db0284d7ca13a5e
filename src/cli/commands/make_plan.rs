//! Making a plan; what `plan`, `apply`, `build` and `why` have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::args::{BuildArgs, GlobalArgs, TagArgs, command};
use super::super::environment::in_force;
use super::super::error::CliError;
use super::super::host::LiveHost;
use super::super::project::{Found, Options, find};
use super::super::streams::Invocation;
use super::super::wiring::{BackEnds, Names, Reach, wire};
use crate::config::{self, Tagged, git_pattern};
use crate::diag::Diagnostics;
use crate::pipeline::{self, PlanError, PlanRequest, Project, forbid_unbuildable, load};
use crate::plan::Plan;
use crate::source::{Objects, Sources};

/// What is planned.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// Image patterns; with any, only images are planned.
    pub images: &'a [String],
    /// Whether resources are planned.
    pub deploy: bool,
    /// Whether the plan is carried out afterwards: what the builder cannot do is then an error.
    pub applies: bool,
    /// Compares with this commit instead of with what was stored or applied last.
    pub since: Option<&'a str>,
    /// Whether hooks do not run.
    pub no_hooks: bool,
}

/// A plan, and what it takes to carry it out.
pub struct Made {
    /// The plan.
    pub plan: Plan,
    /// The project.
    pub found: Found,
    /// The objects that it builds from.
    pub objects: Arc<dyn Objects>,
    /// What was read from it.
    pub project: Project,
    /// The back ends.
    pub back_ends: BackEnds,
}

/// Makes a plan and tells all findings.
pub fn make_plan(
    global: &GlobalArgs,
    options: Options<'_>,
    wish: Wish<'_>,
    invocation: &Invocation,
) -> Result<Made, CliError> {
    if wish.deploy && options.deploy.is_some_and(|deploy| deploy.target.is_none()) {
        refuse_forgotten_target(invocation)?;
    }
    let found = find(global, options, invocation)?;
    make_plan_of(found, global, options, wish, invocation)
}

/// Makes a plan for what was found, and tells all findings.
pub fn make_plan_of(
    mut found: Found,
    global: &GlobalArgs,
    options: Options<'_>,
    wish: Wish<'_>,
    invocation: &Invocation,
) -> Result<Made, CliError> {
    if found.inputs.bundle.is_some() && options.deploy.is_some_and(|deploy| deploy.target.is_none()) {
        refuse_forgotten_target(invocation)?;
    }
    let build = options.build.cloned().unwrap_or_default();
    let names = Names::of_options(&build, options.deploy.filter(|_| wish.deploy));
    let reach = Reach::new(&build.registry, global, invocation).with_kube(options.deploy.map(|d| &d.kube));
    let back_ends = wire(&names, &found.dir, &reach)?;
    ask_cluster(&mut found, &back_ends, wish)?;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let plan = planned(&mut diagnostics, &sources, &found, &back_ends, &names, options, wish);
    invocation.streams.hide(sources.mask());
    let (diagnostics, forbidden) = if wish.applies { forbid_unbuildable(&diagnostics) } else { (diagnostics, false) };
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    if forbidden {
        return Err(CliError::Config);
    }
    let (plan, project) = plan?;
    Ok(Made { plan, found, objects: project.objects.clone(), project, back_ends })
}

/// Options that name a cluster.
const CLUSTER_OPTIONS: [&str; 3] = ["--kube-config", "--kube-config-base64", "--kube-context"];

/// Who names a cluster means it: a run that writes to a folder instead must not look like a deploy.
fn refuse_forgotten_target(invocation: &Invocation) -> Result<(), CliError> {
    let settings = in_force(command(), &invocation.args, &invocation.env);
    let named = settings.into_iter().find(|setting| CLUSTER_OPTIONS.contains(&setting.option.as_str()));
    let Some(named) = named else { return Ok(()) };
    let option = named.variable.map_or(named.option.clone(), |variable| format!("{variable} ({})", named.option));
    Err(CliError::Usage(format!(
        "{option} is for --target cluster: name the target\n  to deploy, add --target cluster, or set \
         STAGEWRIGHT_TARGET=cluster; for a folder, add --target dir:PATH"
    )))
}

/// Templates see what the cluster of the release is, unless they are told otherwise.
fn ask_cluster(found: &mut Found, back_ends: &BackEnds, wish: Wish<'_>) -> Result<(), CliError> {
    let Some(target) = back_ends.target.as_deref().filter(|_| wish.deploy) else { return Ok(()) };
    if found.inputs.kube_version.is_none() {
        let version = target.kube_version().map_err(|e| CliError::environment("ask the target for its version", e))?;
        found.inputs.asks_cluster = version.is_some();
        found.inputs.kube_version = version;
    }
    Ok(())
}

fn planned(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    found: &Found,
    back_ends: &BackEnds,
    names: &Names,
    options: Options<'_>,
    wish: Wish<'_>,
) -> Result<(Plan, Project), CliError> {
    let default = BuildArgs::default();
    let build = options.build.unwrap_or(&default);
    let project = load(diagnostics, sources, &found.inputs).ok_or(CliError::Config)?;
    let custom_tags = custom_tags(&project, &build.tags)?;
    let request = PlanRequest {
        project: &project,
        inputs: &found.inputs,
        images: wish.images,
        deploy: wish.deploy,
        store: (back_ends.store.as_ref(), &names.repo),
        final_store: back_ends.final_store.as_deref().zip(names.final_repo.as_deref()),
        secondary_repos: &names.secondary_repos,
        target: back_ends.target.as_deref().zip(names.target.as_deref()),
        builder: &names.builder,
        selection: build.stage_selection.into(),
        custom_tags: &custom_tags,
        runs_commands: back_ends.runs_commands,
        cannot_run: &|platform| back_ends.cannot_run(platform),
        force_adoption: options.deploy.is_some_and(|deploy| deploy.force_adoption),
        force_conflicts: options.deploy.is_some_and(|deploy| deploy.force_conflicts),
        yield_conflicts: options.deploy.is_some_and(|deploy| deploy.yield_conflicts),
        no_remove_manual_changes: options.deploy.is_some_and(|deploy| deploy.no_remove_manual_changes),
        no_hooks: wish.no_hooks,
        host: &LiveHost::new(&found.host, back_ends.target.as_deref().filter(|_| wish.deploy)),
    };
    let plan = match wish.since {
        None => pipeline::plan(diagnostics, sources, &request),
        Some(rev) => pipeline::plan_since(diagnostics, sources, &request, &found.at(rev)?),
    };
    match plan {
        Ok(plan) => Ok((plan, project)),
        Err(PlanError::Diagnostics) => Err(CliError::Config),
        Err(PlanError::Blocked) => Err(CliError::Refused("the plan is blocked until that is decided".into())),
        Err(PlanError::Observe(source)) => Err(CliError::environment("look at the stage store and the target", source)),
    }
}

/// Returns the tags of the user's choice for the final images, by image name.
fn custom_tags(project: &Project, tags: &TagArgs) -> Result<BTreeMap<String, Vec<String>>, CliError> {
    let finals = project.images.iter().filter(|image| image.is_final);
    let images: Vec<Tagged<'_>> =
        finals.map(|image| Tagged { name: &image.name, signature: image.signature }).collect();
    let named = images.iter().any(|image| !image.name.is_empty());
    let git = [&tags.tag_git_branch, &tags.tag_git_tag, &tags.tag_git_commit].into_iter().flatten();
    let git = git.map(|name| git_pattern(name, named));
    let patterns: Vec<String> = tags.add_custom_tag.iter().cloned().chain(git).collect();
    let added = config::custom_tags(&patterns, &images);
    let mut tags = added.map_err(|why| CliError::user(format!("--add-custom-tag: {why}")))?;
    // What templates name must be there.
    for (image, used) in &project.used_tags {
        let tags = tags.entry(image.clone()).or_default();
        if !tags.contains(used) {
            tags.push(used.clone());
        }
    }
    Ok(tags)
}
