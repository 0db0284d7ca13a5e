//! `why IMAGE[/STAGE] | KIND/NAME`.

use super::super::args::{ConfigFormat, GlobalArgs, WhyArgs};
use super::super::error::{CliError, exit_code};
use super::super::project::Options;
use super::super::streams::Invocation;
use super::make_plan::{Made, Wish, make_plan};
use crate::diag::did_you_mean;
use crate::plan::{CauseContext, Plan, StagePlan, image_causes, reached, resource_causes};
use crate::report::{Answer, why_json, why_text};

pub fn run(global: &GlobalArgs, args: &WhyArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let options = Options::all(&args.project, &args.build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    let wish = Wish { images: &[], deploy: true, applies: false, since: args.since.as_deref(), no_hooks: false };
    let made = make_plan(global, options, wish, invocation)?;
    let answers = answers(&made, &args.subject);
    if answers.is_empty() {
        return Err(unknown(&made.plan, &args.subject));
    }
    let text = match args.output {
        ConfigFormat::Text => {
            let text = answers.iter().map(why_text).collect::<Vec<_>>().join("\n");
            invocation.streams.mask().hide(&text).into_owned()
        }
        ConfigFormat::Json => why_json(&answers),
    };
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}

/// An image first, for its name may hold slashes; then a stage, then resources.
fn answers<'a>(made: &'a Made, subject: &str) -> Vec<Answer<'a>> {
    let plan = &made.plan;
    let context = CauseContext {
        plan,
        images: &made.project.images,
        history: &*made.found.inputs.history,
        files: &made.found.inputs.repository,
        project_dir: &made.found.inputs.project_dir,
    };
    if let Some(image) = plan.images.iter().find(|i| i.name == subject) {
        return vec![Answer {
            image: Some(image),
            stages: plan.stages.iter().filter(|s| s.image == image.name).collect(),
            causes: image_causes(&context, image),
            reaches: Some(reached(&context, image)),
            ..Answer::default()
        }];
    }
    let Some((left, right)) = subject.rsplit_once('/') else { return Vec::new() };
    let is_of = |s: &&StagePlan| {
        let on = s.platform.as_ref().map(|platform| format!("{}[{platform}]", s.image));
        s.stage == right && (s.image == left || on.as_deref() == Some(left))
    };
    let stages: Vec<_> = plan.stages.iter().filter(is_of).collect();
    if !stages.is_empty() {
        return vec![Answer { stages, ..Answer::default() }];
    }
    let wanted = format!("/{subject}").to_lowercase();
    let is_meant = |address: &str| format!("/{address}").to_lowercase().ends_with(&wanted);
    let found = plan.resources.iter().filter(|r| is_meant(&r.address()));
    found
        .map(|resource| Answer {
            resource: Some(resource),
            causes: resource_causes(&context, resource),
            ..Answer::default()
        })
        .collect()
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
