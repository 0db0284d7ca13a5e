//! `includes update`, `includes ls-files`, `includes get-file`.

use std::collections::BTreeMap;

use super::super::args::{
    GlobalArgs, IncludesCommand, IncludesGetArgs, IncludesListArgs, IncludesUpdateArgs, ProjectArgs,
};
use super::super::error::{CliError, exit_code};
use super::super::project::{Found, Options, find};
use super::super::streams::Invocation;
use crate::config::{INCLUDES_FILE, INCLUDES_LOCK, Included};
use crate::diag::Diagnostics;
use crate::pipeline::{load_includes, update_includes};
use crate::source::glob::PathMatcher;
use crate::source::{Files, FilesError, Sources, normalize_path};

pub fn run(global: &GlobalArgs, command: &IncludesCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    match command {
        IncludesCommand::Update(args) => update(global, args, invocation),
        IncludesCommand::LsFiles(args) => list(global, args, invocation),
        IncludesCommand::GetFile(args) => get(global, args, invocation),
    }
}

/// The file of includes is read from the work tree: it and the lock are committed together.
fn update(global: &GlobalArgs, args: &IncludesUpdateArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let project = ProjectArgs { dev: true, ..args.project.clone() };
    let found = find(global, Options { project: Some(&project), ..Options::default() }, invocation)?;
    let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
    let text = update_includes(&mut diagnostics, &sources, &found.inputs);
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    let text = text.ok_or(CliError::Config)?;
    let file = found.dir.join(INCLUDES_LOCK);
    if std::fs::read_to_string(&file).is_ok_and(|before| before == text) {
        invocation.streams.inform("The lock is up to date.");
        return Ok(exit_code::DONE);
    }
    std::fs::write(&file, &text).map_err(|e| CliError::environment(format!("write {INCLUDES_LOCK}"), e))?;
    invocation.streams.inform(&format!("{INCLUDES_LOCK} written: commit it with {INCLUDES_FILE}."));
    Ok(exit_code::DONE)
}

fn list(global: &GlobalArgs, args: &IncludesListArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let filter = args.filter.as_deref().map(sources_of).transpose()?;
    let globs = args.globs.iter().map(String::as_str).filter(|glob| *glob != "*");
    let matcher = PathMatcher::new(globs, []).map_err(|e| CliError::user(e.to_string()))?;
    let (own, included) = load(global, &args.project, invocation)?;
    let rows = rows(&own, &included).map_err(unreadable)?;
    let is_wanted = |source: &str| match &filter {
        None => true,
        Some(texts) => texts.iter().any(|t| if source == "local" { t == "local" } else { source.contains(t.as_str()) }),
    };
    let rows: Vec<_> =
        rows.into_iter().filter(|(path, (source, _))| matcher.matches(path) && is_wanted(source)).collect();
    let width = rows.iter().map(|(path, _)| path.chars().count()).max().unwrap_or(0);
    let text: String = rows.iter().map(|(path, (_, shown))| format!("{path:<width$}  {shown}\n")).collect();
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}

fn sources_of(filter: &str) -> Result<Vec<String>, CliError> {
    let list = filter.strip_prefix("source=").map(|list| list.split(',').map(str::trim).filter(|t| !t.is_empty()));
    let hint = "write --filter source=local, or a part of an address; several with commas";
    let list = list.ok_or_else(|| CliError::user(format!("--filter {filter} is no filter")).hint(hint))?;
    Ok(list.map(str::to_owned).collect())
}

/// Path, source and what is shown of it.
type Rows = BTreeMap<String, (String, String)>;

fn rows(own: &Files, included: &Included) -> Result<Rows, FilesError> {
    let mut rows = Rows::new();
    for path in included.names(own)?.into_keys() {
        let Some(file) = included.get(&path) else { continue };
        rows.insert(path, (file.repository.clone(), file.shown.clone()));
    }
    let local = || ("local".to_owned(), "local".to_owned());
    rows.extend(own.walk("")?.into_iter().map(|(path, _)| (path, local())));
    Ok(rows)
}

fn get(global: &GlobalArgs, args: &IncludesGetArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let (own, included) = load(global, &args.project, invocation)?;
    let path = normalize_path(&args.path).unwrap_or_default();
    let content = match own.read(&path) {
        Err(FilesError::NotFound { .. }) => match included.get(&path) {
            Some(file) => file.read(),
            None => {
                return Err(CliError::user(format!("neither the project nor an include has the file {}", args.path))
                    .hint("`stagewright includes ls-files` lists the files"));
            }
        },
        read => read,
    };
    invocation.streams.print_bytes(&content.map_err(unreadable)?)?;
    Ok(exit_code::DONE)
}

fn unreadable(error: FilesError) -> CliError {
    CliError::environment("read the files of the project", error)
}

fn load(
    global: &GlobalArgs,
    project: &ProjectArgs,
    invocation: &mut Invocation,
) -> Result<(Files, Included), CliError> {
    let Found { inputs, .. } = find(global, Options { project: Some(project), ..Options::default() }, invocation)?;
    let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
    let loaded = load_includes(&mut diagnostics, &sources, &inputs);
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    loaded.ok_or(CliError::Config)
}
