//! `plan [IMAGE…]`.

use super::super::args::{GlobalArgs, PlanArgs, PlanFormat};
use super::super::error::{CliError, exit_code};
use super::super::plan_file::{KeyPlaces, save_plan};
use super::super::project::Options;
use super::super::streams::Invocation;
use super::explain_values::{self, Telling, refuse_beside};
use super::make_plan::{Made, Wish, make_plan};
use super::show::drawn;
use crate::plan::{Plan, sealed_texts};
use crate::source::Mask;

pub fn run(global: &GlobalArgs, args: &PlanArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let options = Options::all(&args.project, &args.build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    if !args.explain.explain_values.is_empty() {
        return explain_values::run(global, options, (&args.explain.explain_values, telling(args)?), invocation);
    }
    let wish = Wish {
        images: &args.images,
        deploy: args.images.is_empty(),
        applies: false,
        since: None,
        no_hooks: args.hooks.no_hooks,
    };
    let made = make_plan(global, options, wish, invocation)?;
    let verb = if args.images.is_empty() { "apply" } else { "build" };
    tell_plan(&made, (args.out.as_deref(), args.output, args.exit_code), verb, invocation)
}

/// Saves a plan where it is wanted, shows it, and returns the exit code; `verb` carries it out.
pub(super) fn tell_plan(
    made: &Made,
    (out, output, exit_code): (Option<&str>, PlanFormat, bool),
    verb: &str,
    invocation: &mut Invocation,
) -> Result<u8, CliError> {
    let plan = &made.plan;
    if let Some(out) = out {
        let keys = KeyPlaces { env: &invocation.env, project: &made.found.dir };
        save_plan(plan, &invocation.cwd.join(out), keys)?;
    }
    // What was typed may be a value of a Secret.
    let next = next(out, verb, &invocation.args);
    let next = Mask::default().with(sealed_texts(plan)).hide(&next).into_owned();
    let text = drawn(plan, output, &invocation.streams, Some(&next));
    invocation.streams.print(&text)?;
    Ok(code(plan, exit_code))
}

/// Says how values are told: there is no plan that could be saved.
fn telling(args: &PlanArgs) -> Result<Telling, CliError> {
    refuse_beside(&[("--out", args.out.is_some()), ("the names of images", !args.images.is_empty())])?;
    match args.output {
        PlanFormat::Text => Ok(Telling::Text),
        PlanFormat::Json => Ok(Telling::Json),
        PlanFormat::Markdown | PlanFormat::Html | PlanFormat::Github | PlanFormat::Gitlab => {
            Err(CliError::Usage("--explain-values is told as text, or as JSON (-o json)".into()))
        }
    }
}

/// Returns the command that carries the plan out: the one that was typed, as `apply` or `build`.
fn next(out: Option<&str>, verb: &str, typed: &[std::ffi::OsString]) -> String {
    if let Some(out) = out {
        return format!("stagewright apply {out}");
    }
    let mut words = vec!["stagewright".to_owned()];
    let mut rest = typed.iter().skip(1).map(|w| w.to_string_lossy().into_owned());
    let mut replaced = false;
    while let Some(word) = rest.next() {
        match word.as_str() {
            "plan" if !replaced => {
                replaced = true;
                words.push(verb.to_owned());
            }
            "--exit-code" => {}
            "-o" | "--output" => {
                rest.next();
            }
            other if other.starts_with("--output=") || other.starts_with("-o=") => {}
            other if other.contains([' ', '$', '\'', '"', '*', '&', ';', '|', '<', '>']) => {
                words.push(format!("'{}'", other.replace('\'', "'\\''")));
            }
            other => words.push(other.to_owned()),
        }
    }
    words.join(" ")
}

fn code(plan: &Plan, asked: bool) -> u8 {
    if !asked || (!plan.has_changes() && !plan.is_record_only()) {
        exit_code::DONE
    } else if plan.is_record_only() {
        exit_code::RECORD_ONLY
    } else {
        exit_code::CHANGES
    }
}
