//! `why IMAGE[/STAGE] | KIND/NAME`.

use super::super::args::{GlobalArgs, WhyArgs};
use super::super::error::{CliError, exit_code};
use super::super::project::Options;
use super::super::streams::Invocation;
use super::make_plan::{Wish, make_plan};
use crate::diag::did_you_mean;
use crate::plan::{Plan, StagePlan};
use crate::report::{why_image, why_resource, why_stage};

pub fn run(global: &GlobalArgs, args: &WhyArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let options = Options {
        project: Some(&args.project),
        build: Some(&args.build),
        deploy: Some(&args.deploy),
        values: Some(&args.values),
        chart: Some(&args.chart),
        jsonnet: Some(&args.jsonnet),
    };
    let wish = Wish { images: &[], deploy: true, applies: false, since: args.since.as_deref() };
    let made = make_plan(global, options, wish, invocation)?;
    let text = answer(&made.plan, &args.subject).ok_or_else(|| unknown(&made.plan, &args.subject))?;
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}

/// An image first, for its name may hold slashes; then a stage, then resources.
fn answer(plan: &Plan, subject: &str) -> Option<String> {
    if let Some(image) = plan.images.iter().find(|i| i.name == subject) {
        let stages: Vec<_> = plan.stages.iter().filter(|s| s.image == image.name).collect();
        return Some(why_image(image, &stages));
    }
    let (left, right) = subject.rsplit_once('/')?;
    let is_of = |s: &&StagePlan| {
        let on = s.platform.as_ref().map(|platform| format!("{}[{platform}]", s.image));
        s.stage == right && (s.image == left || on.as_deref() == Some(left))
    };
    let stages: Vec<String> = plan.stages.iter().filter(is_of).map(why_stage).collect();
    if !stages.is_empty() {
        return Some(stages.concat());
    }
    let is_meant = |address: &str| {
        let wanted = format!("/{subject}").to_lowercase();
        format!("/{address}").to_lowercase().ends_with(&wanted)
    };
    let found: Vec<String> = plan.resources.iter().filter(|r| is_meant(&r.address())).map(why_resource).collect();
    (!found.is_empty()).then(|| found.join("\n"))
}

fn unknown(plan: &Plan, subject: &str) -> CliError {
    let resources: Vec<String> = plan.resources.iter().map(|r| format!("{}/{}", r.kind, r.name)).collect();
    let stages: Vec<String> = plan.stages.iter().map(|s| format!("{}/{}", s.image, s.stage)).collect();
    let names = plan.images.iter().map(|i| i.name.as_str());
    let all = names.chain(stages.iter().map(String::as_str)).chain(resources.iter().map(String::as_str));
    let error = CliError::user(format!("there is no image, planned stage or resource `{subject}`"));
    match did_you_mean(subject, all) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`plan --log-verbose` lists all"),
    }
}
