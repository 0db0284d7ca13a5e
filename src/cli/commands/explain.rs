//! `explain [RULE]`.

use super::super::args::ExplainArgs;
use super::super::error::{CliError, exit_code};
use super::super::streams::Invocation;
use crate::diag::{Rule, Severity, did_you_mean, rules};

pub fn run(args: &ExplainArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let text = match &args.rule {
        Some(name) => find(name)?.page.to_owned(),
        None => index(),
    };
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}

fn find(name: &str) -> Result<&'static Rule, CliError> {
    let found = rules::ALL.iter().find(|rule| rule.name == name);
    found.copied().ok_or_else(|| {
        let error = CliError::user(format!("there is no rule `{name}`"));
        let near: Vec<&str> = match did_you_mean(name, rules::ALL.iter().map(|r| r.name)) {
            Some(near) => vec![near],
            None => {
                rules::ALL.iter().map(|r| r.name).filter(|rule| !name.is_empty() && rule.starts_with(name)).collect()
            }
        };
        match near.as_slice() {
            [] => error.hint("`explain` without a name lists all rules"),
            [near] => error.hint(format!("did you mean `{near}`?")),
            many => error.hint(format!("did you mean one of `{}`?", many.join("`, `"))),
        }
    })
}

fn index() -> String {
    let widest = rules::ALL.iter().map(|r| r.name.len()).max().unwrap_or(0);
    let line = |r: &&&Rule| format!("{:<widest$}  {:<7}  {}\n", r.name, word(r.severity), r.summary);
    rules::ALL.iter().map(|r| line(&r)).collect()
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
