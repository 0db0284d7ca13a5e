//! `show PLAN`.

use super::super::args::{PlanFormat, ShowArgs};
use super::super::error::{CliError, exit_code};
use super::super::plan_file::load_plan;
use super::super::streams::{Invocation, Streams};
use crate::plan::Plan;
use crate::report;

pub fn run(args: &ShowArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let saved = load_plan(&invocation.cwd.join(&args.plan))?;
    let next = format!("stagewright apply {}", args.plan);
    let text = drawn(saved.plan(), args.output, &invocation.streams, Some(&next));
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}

/// Draws a plan in any format.
pub fn drawn(plan: &Plan, format: PlanFormat, streams: &Streams, next: Option<&str>) -> String {
    let text = match format {
        // A plan holds no secrets; its JSON stays as it is, for programs know resources by their names.
        PlanFormat::Json => return report::plan_json(plan),
        PlanFormat::Text => report::plan_text(plan, streams.out_look(), next),
        PlanFormat::Markdown => report::plan_markdown(plan),
        PlanFormat::Html => report::plan_html(plan),
        PlanFormat::Github => report::plan_comment(plan, report::Forge::GitHub),
        PlanFormat::Gitlab => report::plan_comment(plan, report::Forge::GitLab),
    };
    streams.mask().hide(&text).into_owned()
}
