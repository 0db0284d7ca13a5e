//! `release list|history|get|rollback`.

use std::collections::BTreeMap;

use console::measure_text_width;
use serde_json::{Value, json};

use super::super::args::{
    GlobalArgs, RecordFormat, ReleaseCommand, ReleaseGetArgs, ReleaseHistoryArgs, ReleaseListArgs, ReleasePart,
    ReleasePlaceArgs, ReleaseRollbackArgs, TakeBackArgs,
};
use super::super::error::{CliError, exit_code};
use super::super::streams::Invocation;
use super::take_back::{self, Back, Named, named, open_cluster};
use crate::pipeline::Conflicts;
use crate::plan::{RevisionSummary, discreet_record, summarize_record};
use crate::ports::{ReleaseStore, RevisionFact, TargetError};
use crate::report::pretty_json;
use crate::syntax::yaml::to_yaml;

pub fn run(global: &GlobalArgs, command: &ReleaseCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    match command {
        ReleaseCommand::List(args) => list(global, args, invocation),
        ReleaseCommand::History(args) => history(global, args, invocation),
        ReleaseCommand::Get(args) => get(global, args, invocation),
        ReleaseCommand::Rollback(args) => rollback(global, args, invocation),
    }
}

fn failed(error: TargetError) -> CliError {
    CliError::environment("read the records of releases", error)
}

/// Who may not look into every namespace may look into one.
fn not_listed(error: TargetError, of_all: bool) -> CliError {
    if of_all && error.source.kind() == std::io::ErrorKind::PermissionDenied {
        let why = format!("{}: {}", error.attempt, error.source);
        return CliError::user(why).hint("name a namespace that you may read: --namespace NAME");
    }
    failed(error)
}

fn list(global: &GlobalArgs, args: &ReleaseListArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let opened = open_cluster(global, &args.kube, None, invocation)?;
    let store = opened.store()?;
    let revisions = store.all_revisions(args.namespace.as_deref());
    let revisions = revisions.map_err(|error| not_listed(error, args.namespace.is_none()))?;
    let mut last: BTreeMap<(String, String), RevisionFact> = BTreeMap::new();
    for fact in revisions {
        last.insert((fact.namespace.clone(), fact.release.clone()), fact);
    }
    let facts: Vec<RevisionFact> = last.into_values().collect();
    let summaries = summaries(store, &facts, invocation)?;
    if args.output == RecordFormat::Json {
        invocation.streams.print(&pretty_json(&summaries))?;
        return Ok(exit_code::DONE);
    }
    let heads = ["NAME", "NAMESPACE", "REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION"];
    let row = |s: &RevisionSummary| {
        let s = s.clone();
        vec![s.name, s.namespace, s.revision.to_string(), short_time(&s.updated), s.status, s.chart, s.app_version]
    };
    invocation.streams.print(&table(&heads, summaries.iter().map(row).collect()))?;
    Ok(exit_code::DONE)
}

fn history(global: &GlobalArgs, args: &ReleaseHistoryArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let (named, opened) = located(global, args.name.as_deref(), &args.place, invocation)?;
    let store = opened.store()?;
    let facts = store.revisions(&named.namespace, &named.release).map_err(failed)?;
    if facts.is_empty() {
        return Err(named.missing());
    }
    let summaries = summaries(store, &facts, invocation)?;
    if args.output == RecordFormat::Json {
        invocation.streams.print(&pretty_json(&summaries))?;
        return Ok(exit_code::DONE);
    }
    let heads = ["REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION", "DESCRIPTION"];
    let row = |s: &RevisionSummary| {
        let s = s.clone();
        vec![s.revision.to_string(), short_time(&s.updated), s.status, s.chart, s.app_version, s.description]
    };
    invocation.streams.print(&table(&heads, summaries.iter().map(row).collect()))?;
    Ok(exit_code::DONE)
}

fn get(global: &GlobalArgs, args: &ReleaseGetArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let (named, opened) = located(global, Some(&args.name), &args.place, invocation)?;
    let store = opened.store()?;
    let facts = store.revisions(&named.namespace, &named.release).map_err(failed)?;
    let wanted = match args.revision {
        Some(number) => facts.iter().find(|fact| fact.revision == number),
        None => facts.last(),
    };
    let wanted = match (wanted, args.revision) {
        (Some(wanted), _) => wanted,
        (None, Some(number)) if !facts.is_empty() => {
            let known: Vec<String> = facts.iter().map(|fact| fact.revision.to_string()).collect();
            return Err(CliError::user(format!("the release `{}` has no revision {number}", named.release))
                .hint(format!("it has {}", known.join(", "))));
        }
        (None, _) => return Err(named.missing()),
    };
    let record = store.records(std::slice::from_ref(wanted)).map_err(failed)?.into_iter().flatten().next();
    let record = record.ok_or_else(|| named.missing())?;
    let record = if args.show_secrets { record } else { discreet_record(&record) };
    let text = match args.output {
        RecordFormat::Json => pretty_json(&shown_json(&record, args.what)),
        RecordFormat::Text => shown_text(&record, args.what),
    };
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}

fn shown_json(record: &Value, what: ReleasePart) -> Value {
    let part = |key: &str| record.get(key).cloned().unwrap_or(Value::Null);
    match what {
        ReleasePart::All => record.clone(),
        ReleasePart::Values => part("config"),
        ReleasePart::Manifest => part("manifest"),
        ReleasePart::Hooks => part("hooks"),
        ReleasePart::Notes => record.pointer("/info/notes").cloned().unwrap_or_else(|| json!("")),
    }
}

fn shown_text(record: &Value, what: ReleasePart) -> String {
    let line_end = |text: &str| if text.trim().is_empty() { String::new() } else { format!("{}\n", text.trim_end()) };
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    match what {
        ReleasePart::Values => {
            let values = record.get("config").filter(|values| !values.is_null()).cloned().unwrap_or_else(|| json!({}));
            line_end(&to_yaml(&values).unwrap_or_default())
        }
        ReleasePart::Manifest => line_end(&text("/manifest")),
        ReleasePart::Notes => line_end(&text("/info/notes")),
        ReleasePart::Hooks => {
            let hooks = record.get("hooks").and_then(Value::as_array).into_iter().flatten();
            let hook = |hook: &Value| {
                let of = |key: &str| hook.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                let manifest = of("manifest");
                let has_source = manifest.starts_with("# Source: ");
                let source = if has_source { String::new() } else { format!("# Source: {}\n", of("path")) };
                format!("---\n{source}{}", line_end(&manifest))
            };
            hooks.map(hook).collect()
        }
        ReleasePart::All => {
            let summary = summarize_record(record);
            let head = format!(
                "NAME: {}\nNAMESPACE: {}\nREVISION: {}\nUPDATED: {}\nSTATUS: {}\nCHART: {}\nDESCRIPTION: {}\n",
                summary.name,
                summary.namespace,
                summary.revision,
                summary.updated,
                summary.status,
                summary.chart,
                summary.description
            );
            let part = |title: &str, what| format!("\n{title}:\n{}", shown_text(record, what));
            [
                head,
                part("USER-SUPPLIED VALUES", ReleasePart::Values),
                part("HOOKS", ReleasePart::Hooks),
                part("MANIFEST", ReleasePart::Manifest),
                part("NOTES", ReleasePart::Notes),
            ]
            .concat()
        }
    }
}

fn rollback(global: &GlobalArgs, args: &ReleaseRollbackArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let (name, revision) = name_and_revision(&args.name_and_revision)?;
    if name.is_some() && args.release.is_some() {
        return Err(CliError::Usage("the release is named twice: as an argument, and by --release".to_owned()));
    }
    let (named, opened) = match (name, &args.release) {
        (Some(name), _) => located(global, Some(name), &args.place, invocation)?,
        (None, release) => {
            let named = named(global, release.as_deref(), &args.place, invocation)?;
            let opened = open_cluster(global, &args.place.kube, named.dir.as_deref(), invocation)?;
            (named, opened)
        }
    };
    let conflicts = match (args.force_conflicts, args.yield_conflicts) {
        (true, _) => Conflicts::Force,
        (false, true) => Conflicts::Yield,
        (false, false) => Conflicts::Refuse,
    };
    let run = TakeBackArgs { deploy_report: args.report.path(), ..args.run.clone() };
    let back = Back {
        to: revision,
        conflicts,
        no_remove_manual_changes: args.no_remove_manual_changes,
        no_hooks: args.hooks.no_hooks,
    };
    take_back::rollback(&named, &opened, back, &run, invocation)
}

/// A number alone is a revision; a release whose name is a number is named by `--release`, or with a revision.
fn name_and_revision(words: &[String]) -> Result<(Option<&str>, Option<u64>), CliError> {
    let number = |word: &str| {
        let number = word.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| CliError::Usage(format!("`{word}` is no revision; those of a release begin with 1")))
    };
    match words {
        [] => Ok((None, None)),
        [word] if word.bytes().all(|b| b.is_ascii_digit()) => Ok((None, Some(number(word)?))),
        [name] => Ok((Some(name), None)),
        [name, revision, ..] => Ok((Some(name), Some(number(revision)?))),
    }
}

/// Finds where a release is: as it is said, as the project says, or where in the cluster there is one of this name.
fn located(
    global: &GlobalArgs,
    name: Option<&str>,
    place: &ReleasePlaceArgs,
    invocation: &Invocation,
) -> Result<(Named, take_back::Opened), CliError> {
    let (Some(name), None) = (name, &place.namespace) else {
        let named = named(global, name, place, invocation)?;
        let opened = open_cluster(global, &place.kube, named.dir.as_deref(), invocation)?;
        return Ok((named, opened));
    };
    let opened = open_cluster(global, &place.kube, None, invocation)?;
    let all = opened.store()?.all_revisions(None).map_err(|error| not_listed(error, true))?;
    let mut namespaces: Vec<String> = all.into_iter().filter(|f| f.release == name).map(|f| f.namespace).collect();
    namespaces.dedup();
    match namespaces.as_slice() {
        [namespace] => {
            let named = Named { release: name.to_owned(), namespace: namespace.clone(), dir: None };
            Ok((named, opened))
        }
        [] => Err(CliError::user(format!("there is no release `{name}` in the cluster"))
            .hint("`release list` shows all that there are")),
        several => Err(CliError::user(format!("there are several releases `{name}`"))
            .hint(format!("name one by its namespace, with --namespace: {}", several.join(", ")))),
    }
}

/// Sums up revisions; what is no record of a release is told, and left out.
fn summaries(
    store: &dyn ReleaseStore,
    facts: &[RevisionFact],
    invocation: &mut Invocation,
) -> Result<Vec<RevisionSummary>, CliError> {
    let mut found = Vec::new();
    for (fact, summary) in facts.iter().zip(store.summaries(facts).map_err(failed)?) {
        let RevisionFact { namespace, release, revision, .. } = fact.clone();
        match summary {
            // Names and numbers are those under which it was found.
            Some(summary) => found.push(RevisionSummary { name: release, namespace, revision, ..summary }),
            None => invocation.streams.tell(&format!(
                "warning: the record of revision {revision} of {namespace}/{release} cannot be read, and is left out"
            )),
        }
    }
    Ok(found)
}

/// Seconds are enough for people.
fn short_time(text: &str) -> String {
    let (head, rest) = text.split_once('.').unwrap_or((text, ""));
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{head}{zone}")
}

/// Draws a table; the last column is as wide as it likes.
fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut all: Vec<Vec<String>> = vec![heads.iter().map(|head| (*head).to_owned()).collect()];
    all.extend(rows);
    let width = |column: usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let gap = width.saturating_sub(measure_text_width(cell)) + 2;
            let cell: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            line += &format!("{cell}{}", " ".repeat(gap));
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_takes_a_release_a_revision_or_both() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            name_and_revision(&words).map(|(name, revision)| (name.map(str::to_owned), revision)).map_err(|e| e.code())
        };
        let shop = Some("shop".to_owned());
        assert_eq!(read(&[]), Ok((None, None)));
        assert_eq!(read(&["3"]), Ok((None, Some(3))));
        assert_eq!(read(&["shop"]), Ok((shop.clone(), None)));
        assert_eq!(read(&["shop", "3"]), Ok((shop, Some(3))));
        assert_eq!(read(&["shop", "last"]), Err(64));
        assert_eq!(read(&["0"]), Err(64));
    }

    #[test]
    fn who_may_not_list_everything_is_told_to_name_a_namespace() {
        let error = |kind| TargetError { attempt: "list".into(), source: std::io::Error::new(kind, "no") };
        let denied = std::io::ErrorKind::PermissionDenied;
        assert!(not_listed(error(denied), true).text(false).contains("--namespace NAME"));
        assert!(!not_listed(error(denied), false).text(false).contains("--namespace"));
        assert!(!not_listed(error(std::io::ErrorKind::Other), true).text(false).contains("--namespace"));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["shop".to_owned(), "1".to_owned()], vec!["a-longer-name".to_owned(), "12".to_owned()]];
        assert_eq!(table(&["NAME", "N"], rows), "NAME           N\nshop           1\na-longer-name  12\n");
        assert_eq!(short_time("2026-11-22T18:00:01.123456789Z"), "2026-11-22T18:00:01Z");
        assert_eq!(short_time("2026-11-22T18:00:01.5+02:00"), "2026-11-22T18:00:01+02:00");
    }
}
