//! `run [IMAGE] [-- COMMAND…]`: builds what is missing, and runs the image.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::super::args::{GlobalArgs, RunArgs, RunImageArgs};
use super::super::docker_options;
use super::super::error::{CliError, exit_code};
use super::super::interrupt;
use super::super::project::{Options, directory};
use super::super::streams::Invocation;
use super::super::wiring::{DEFAULT_REPO, Names, Reach, open_store, runner};
use super::apply::carried_out;
use super::make_plan::{Wish, make_plan};
use crate::backend::git::BUILD_REPORT;
use crate::digest::Sha224Digest;
use crate::ports::{BuildContext, ImageRun, StageId};
use crate::report::plan_text;
use crate::signature::SignedImage;
use crate::source::{MemoryObjects, Objects};
use crate::stage::{ImageRef, Platform};

pub fn run(global: &GlobalArgs, args: &RunImageArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    if args.use_build_report {
        return reported(global, args, invocation);
    }
    let options = Options { project: Some(&args.project), build: Some(&args.build), ..Options::default() };
    let images: Vec<String> = args.image.iter().cloned().collect();
    let wish = Wish { images: &images, deploy: false, applies: true, since: None, no_hooks: false };
    let made = make_plan(global, options, wish, invocation)?;
    let names: Vec<&str> = made.project.images.iter().map(|image| image.name.as_str()).collect();
    let name = chosen(&names, args.image.as_deref())?;
    let image = made.project.images.iter().find(|image| image.name == name);
    let image = image.ok_or_else(|| CliError::user(format!("there is no image `{name}`")))?;
    // Of several platforms the one of this machine, if it is among them.
    let on = |chain: &&SignedImage| chain.platform.as_ref().is_some_and(|p| p.architecture == architecture());
    let chain = image.chains().iter().find(on).or(image.chains().first()).unwrap_or(image);
    let platform = chain.stages.last().map(|(stage, _)| stage.request.platform.clone());
    let platform = platform.ok_or_else(|| CliError::user(format!("image `{name}` has no stages")))?;
    let reference = ImageRef::Project { name: image.name.clone(), signature: chain.signature };
    let wanted = wanted(ImageRun::of(reference, platform), args, invocation)?;
    if !made.plan.operations.is_empty() {
        // Stdout is for the command.
        let text = plan_text(&made.plan, invocation.streams.err_look(), None);
        invocation.streams.inform(text.trim_end());
        let run = RunArgs { auto_approve: true, ..args.run.clone() };
        let code = carried_out(&made, &run, false, invocation)?;
        if code != exit_code::DONE {
            return Ok(code);
        }
    }
    let reach = Reach::new(&args.build.registry, global, invocation);
    let context = BuildContext::new(&made.objects, made.back_ends.store.as_ref());
    started(args, &wanted, &context, (&made.found.dir, &reach))
}

/// What is read of a build report.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    images: BTreeMap<String, Reported>,
    #[serde(default)]
    images_by_platform: BTreeMap<String, BTreeMap<String, Reported>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reported {
    docker_tag: String,
    #[serde(default)]
    stages: Vec<ReportedStage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReportedStage {
    docker_tag: String,
}

impl Reported {
    /// The image by its signature; by its last stage where its tag is one of the user's choice.
    fn reference(&self, name: &str) -> Option<ImageRef> {
        if let Some(signature) = Sha224Digest::from_hex(&self.docker_tag) {
            return Some(ImageRef::Project { name: name.to_owned(), signature });
        }
        let id = StageId::parse(&self.stages.last()?.docker_tag)?;
        Some(ImageRef::Stage { digest: id.digest, created_ms: Some(id.created_ms), content: None })
    }
}

/// Runs an image that a build report names; neither git nor `werf.yaml` is looked at.
fn reported(global: &GlobalArgs, args: &RunImageArgs, invocation: &Invocation) -> Result<u8, CliError> {
    let path = args.run.build_report_path.as_deref().unwrap_or(BUILD_REPORT);
    let attempt = || format!("read the build report {path}");
    let text = std::fs::read_to_string(invocation.cwd.join(path)).map_err(|e| CliError::environment(attempt(), e))?;
    let report: Report = serde_json::from_str(&text).map_err(|e| {
        CliError::user(format!("{path} is no build report: {e}"))
            .hint("`build --save-build-report` writes one, as JSON")
    })?;
    let names: Vec<&str> = report.images.keys().map(String::as_str).collect();
    let name = chosen(&names, args.image.as_deref())?;
    let platform = Platform { architecture: architecture().into(), ..Platform::linux_amd64() };
    let here = report.images_by_platform.get(&platform.to_string()).and_then(|images| images.get(name));
    let reference = here.or(report.images.get(name)).and_then(|image| image.reference(name));
    let reference = reference.ok_or_else(|| CliError::user(format!("{path} names no stored image `{name}`")))?;
    let dir = directory(global, invocation)?;
    let reach = Reach::new(&args.build.registry, global, invocation);
    let repo = args.build.repo.as_deref().unwrap_or(DEFAULT_REPO);
    let store = open_store("--repo", repo, &dir, &reach)?;
    let wanted = wanted(ImageRun::of(reference, platform), args, invocation)?;
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    started(args, &wanted, &BuildContext::new(&objects, store.as_ref()), (&dir, &reach))
}

/// Adds what was typed.
fn wanted(mut run: ImageRun, args: &RunImageArgs, invocation: &Invocation) -> Result<ImageRun, CliError> {
    run.arguments.clone_from(&args.command);
    run.terminal = invocation.streams.has_terminal();
    if let Some(text) = &args.docker_options {
        docker_options::apply(&mut run, text, &invocation.cwd, &|name| invocation.env.get(name).cloned())?;
    }
    for (asked, shell) in [(args.shell, "/bin/sh"), (args.bash, "/bin/bash")] {
        if asked {
            run.entrypoint = Some(vec![shell.to_owned()]);
        }
    }
    Ok(run)
}

fn started(
    args: &RunImageArgs,
    wanted: &ImageRun,
    context: &BuildContext<'_>,
    (dir, reach): (&Path, &Reach),
) -> Result<u8, CliError> {
    let names = Names::of_options(&args.build, None);
    let runner = runner(&names.builder, dir, reach)?;
    let signal = interrupt::handed_on()?;
    let status = runner.run_image(wanted, context, &signal);
    let status = status.map_err(|e| CliError::environment(format!("run image `{}`", wanted.image), e))?;
    Ok(u8::try_from(status).unwrap_or(1))
}

/// The architecture of this machine, as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The image that is named, or the only one.
fn chosen<'a>(names: &[&'a str], name: Option<&'a str>) -> Result<&'a str, CliError> {
    let there = || {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        format!("there are {}", names.join(", "))
    };
    match (name, names) {
        (Some(name), _) if names.contains(&name) => Ok(name),
        (Some(name), _) => Err(CliError::user(format!("run {name}: this names no single image")).hint(there())),
        (None, [one]) => Ok(one),
        (None, _) => Err(CliError::user("there are several images; say which one to run").hint(there())),
    }
}
