//! `run [IMAGE] [-- COMMAND…]`: builds what is missing, and runs the image.

use std::collections::BTreeMap;

use super::super::args::{GlobalArgs, RunArgs, RunImageArgs};
use super::super::docker_options;
use super::super::error::{CliError, exit_code};
use super::super::interrupt;
use super::super::project::Options;
use super::super::streams::Invocation;
use super::super::wiring::{Names, Reach, runner};
use super::apply::carried_out;
use super::make_plan::{Made, Wish, make_plan};
use crate::ports::{BuildContext, ImageRun};
use crate::report::plan_text;
use crate::signature::SignedImage;
use crate::stage::ImageRef;

pub fn run(global: &GlobalArgs, args: &RunImageArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let options = Options { project: Some(&args.project), build: Some(&args.build), ..Options::default() };
    let images: Vec<String> = args.image.iter().cloned().collect();
    let wish = Wish { images: &images, deploy: false, applies: true, since: None };
    let made = make_plan(global, options, wish, invocation)?;
    let image = chosen(&made, args.image.as_deref())?;
    // Of several platforms the one of this machine, if it is among them.
    let on = |chain: &&SignedImage| chain.platform.as_ref().is_some_and(|p| p.architecture == architecture());
    let chain = image.chains().iter().find(on).or(image.chains().first()).unwrap_or(image);
    let platform = chain.stages.last().map(|(stage, _)| stage.request.platform.clone());
    let platform = platform.ok_or_else(|| CliError::user(format!("image `{}` has no stages", image.name)))?;
    let reference = ImageRef::Project { name: image.name.clone(), signature: chain.signature };
    let mut wanted = ImageRun::of(reference, platform);
    wanted.arguments.clone_from(&args.command);
    wanted.terminal = invocation.streams.has_terminal();
    let env: &BTreeMap<String, String> = &invocation.env;
    if let Some(text) = &args.docker_options {
        docker_options::apply(&mut wanted, text, &invocation.cwd, &|name| env.get(name).cloned())?;
    }
    for (asked, shell) in [(args.shell, "/bin/sh"), (args.bash, "/bin/bash")] {
        if asked {
            wanted.entrypoint = Some(vec![shell.to_owned()]);
        }
    }
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
    let names = Names::of_options(&args.build, None);
    let runner = runner(&names.builder, &made.found.dir, &reach)?;
    let signal = interrupt::handed_on()?;
    let context = BuildContext::new(&made.objects, made.back_ends.store.as_ref());
    let status = runner.run_image(&wanted, &context, &signal);
    let status = status.map_err(|e| CliError::environment(format!("run image `{}`", image.name), e))?;
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
fn chosen<'a>(made: &'a Made, name: Option<&str>) -> Result<&'a SignedImage, CliError> {
    let images = &made.project.images;
    let names = || {
        let names: Vec<String> = images.iter().map(|i| format!("`{}`", i.name)).collect();
        names.join(", ")
    };
    match (name, images.as_slice()) {
        (Some(name), _) => images.iter().find(|image| image.name == name).ok_or_else(|| {
            CliError::user(format!("run {name}: this names no single image")).hint(format!("there are {}", names()))
        }),
        (None, [one]) => Ok(one),
        (None, _) => {
            let what = "the project has several images; say which one to run".to_owned();
            Err(CliError::user(what).hint(format!("there are {}", names())))
        }
    }
}
