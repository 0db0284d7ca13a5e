//! `lint [PATH…]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::super::args::{GlobalArgs, LintArgs, LintFormat};
use super::super::error::{CliError, exit_code};
use super::super::host::ProcessHost;
use super::super::plan_file::write_atomically;
use super::super::project::{Found, Options, find, now};
use super::super::streams::Invocation;
use super::super::values::{nulls, read_file, sets, value_files};
use super::template::{capabilities, mount};
use crate::analysis::{Policy, fixed};
use crate::backend::read_folder;
use crate::diag::{Diagnostic, Diagnostics, Severity};
use crate::pipeline::{ChartInputs, ProjectInputs, check, check_chart};
use crate::report::diagnostics::{github, gitlab, json, junit, sarif, summary, text};
use crate::source::{Files, MemoryObjects, Mode, Sources, normalize_path};

pub fn run(global: &GlobalArgs, args: &LintArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    if let [path] = args.paths.as_slice()
        && is_chart(&invocation.cwd.join(global.dir.as_deref().unwrap_or("")).join(path))
    {
        return lint_chart(global, args, path, invocation);
    }
    let options = Options::all(&args.project, &args.build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    let found = find(global, options, invocation)?;
    let paths = args.paths.iter().map(|p| project_path(p, &found.inputs)).collect::<Result<Vec<_>, _>>()?;
    let mut round = findings(&found, &found.inputs, args, &paths)?;
    if args.fix {
        round = mended(round, &found, args, &paths, invocation)?;
    }
    tell(&round.list, args, invocation, &round.sources)
}

/// What one look at a project found.
struct Round {
    sources: Sources,
    list: Vec<Diagnostic>,
}

fn findings(found: &Found, inputs: &ProjectInputs, args: &LintArgs, paths: &[String]) -> Result<Round, CliError> {
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let needed = check(&mut diagnostics, &sources, inputs, &found.host);
    let mut unread = Diagnostics::new();
    let mut policy = match inputs.project_files() {
        Some(files) => Policy::read(&mut unread, &sources, &files),
        None => Policy::default(),
    };
    for setting in &args.rule {
        policy.set(setting).map_err(|why| CliError::user(format!("--rule {setting}: {why}")))?;
    }
    let mut kept = policy.apply(&diagnostics, needed, &sources);
    kept.extend(unread);
    let mut list = kept.into_sorted(&sources);
    list.retain(|d| is_shown(d, paths, &sources));
    Ok(Round { sources, list })
}

/// A folder with a Chart.yaml that is not the chart of a project.
fn is_chart(folder: &Path) -> bool {
    let of_project = folder.file_name().is_some_and(|name| name == ".helm");
    folder.join("Chart.yaml").is_file() && !folder.join("werf.yaml").exists() && !of_project
}

/// Checks a chart without a project, with its defaults and its examples.
fn lint_chart(global: &GlobalArgs, args: &LintArgs, path: &str, invocation: &mut Invocation) -> Result<u8, CliError> {
    if args.fix {
        return Err(CliError::user("--fix mends the files of a project; a chart alone is not mended"));
    }
    let cwd = invocation.cwd.join(global.dir.as_deref().unwrap_or(""));
    let place = cwd.join(path);
    let mount = mount(path, &place, &cwd);
    let files = read_folder(&place, &mount).map_err(|e| CliError::environment(format!("read the chart {path}"), e))?;
    let inputs = ChartInputs {
        files: &files,
        path: &mount,
        values_files: value_files(&args.values, &cwd)?,
        sets: sets(&args.values),
        nulls: nulls(&args.values),
        read_file: &|path| read_file(path, &cwd),
        capabilities: capabilities(&args.chart, crate::chart::Helm::V3)?,
        now: now(),
    };
    let host = ProcessHost::new(&args.chart.lookup_resources, &cwd)?;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let needed = check_chart(&mut diagnostics, &sources, &inputs, &host);
    let mut unread = Diagnostics::new();
    let mut policy = match files.subtree(&mount) {
        Ok(Some(chart)) => Policy::read(&mut unread, &sources, &chart),
        Ok(None) | Err(_) => Policy::default(),
    };
    for setting in &args.rule {
        policy.set(setting).map_err(|why| CliError::user(format!("--rule {setting}: {why}")))?;
    }
    let mut kept = policy.apply(&diagnostics, needed, &sources);
    kept.extend(unread);
    let list = kept.into_sorted(&sources);
    tell(&list, args, invocation, &sources)
}

fn tell(list: &[Diagnostic], args: &LintArgs, invocation: &mut Invocation, sources: &Sources) -> Result<u8, CliError> {
    let out = match args.output {
        LintFormat::Text => text(list, sources, invocation.streams.out_look()),
        LintFormat::Json => json(list, sources),
        LintFormat::Sarif => sarif(list, sources),
        LintFormat::Junit => junit(list, sources),
        LintFormat::Github => github(list, sources),
        LintFormat::Gitlab => gitlab(list, sources),
    };
    invocation.streams.print(&out)?;
    let counts = summary(list);
    invocation.streams.inform(if counts.is_empty() { "no findings" } else { &counts });
    let failed = list.iter().any(|d| d.severity == Severity::Error);
    Ok(if failed { exit_code::ERROR } else { exit_code::DONE })
}

/// Fixes of one round may bring others to light, or have stood in their way.
const MAX_ROUNDS: usize = 10;

/// A file that is mended: as it was read, as it becomes, and how many findings that mends.
struct Mended {
    before: String,
    after: String,
    count: usize,
}

/// Mends until nothing is left to mend, and then writes each file once. Returns what is found afterwards.
fn mended(
    first: Round,
    found: &Found,
    args: &LintArgs,
    paths: &[String],
    invocation: &mut Invocation,
) -> Result<Round, CliError> {
    let mut round = first;
    let mut files: BTreeMap<String, Mended> = BTreeMap::new();
    let mut alone: BTreeSet<String> = BTreeSet::new();
    let mut inputs = found.inputs.clone();
    for _ in 0..MAX_ROUNDS {
        let mut changes = BTreeMap::new();
        for (path, before, after) in fixed(&round.list, &round.sources) {
            let file = found.dir.join(&path);
            let is_file = std::fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file());
            let as_read = files.contains_key(&path)
                || (is_file && std::fs::read_to_string(&file).is_ok_and(|text| text == before));
            if !as_read || alone.contains(&path) {
                if alone.insert(path.clone()) {
                    let why = "it differs from what was read, try --dev";
                    invocation.streams.inform(&format!("{path} is left alone: {why}"));
                }
                continue;
            }
            let is_of =
                |d: &&Diagnostic| d.fix.as_ref().is_some_and(|fix| round.sources.get(fix.span.file).path() == path);
            let count = round.list.iter().filter(is_of).count();
            let place = normalize_path(&format!("{}/{path}", inputs.project_dir)).unwrap_or_default();
            let mode = match inputs.repository.entry(&place) {
                Ok(Some(entry)) => entry.mode,
                Ok(None) | Err(_) => Mode::File,
            };
            changes.insert(place, Some((mode, after.clone().into_bytes())));
            let known = files.entry(path).or_insert(Mended { before, after: String::new(), count: 0 });
            known.after = after;
            known.count = known.count.max(count);
        }
        if changes.is_empty() {
            break;
        }
        let overlay = MemoryObjects::over(inputs.repository.objects().clone());
        let root = overlay.with_changes(Some(inputs.repository.root()), &changes);
        let root = root.map_err(|e| CliError::environment("read the project again", e))?;
        inputs.repository = Files::new(Arc::new(overlay), root);
        inputs.disk = None;
        round = findings(found, &inputs, args, paths)?;
    }
    for (path, mended) in files.into_iter().filter(|(_, mended)| mended.before != mended.after) {
        let file = found.dir.join(&path);
        let meta = std::fs::metadata(&file).ok();
        write_atomically(&file, mended.after.as_bytes())
            .and_then(|()| meta.map_or(Ok(()), |meta| std::fs::set_permissions(&file, meta.permissions())))
            .map_err(|e| CliError::environment(format!("write the mended {path}"), e))?;
        invocation.streams.inform(&format!("mended {} in {path}", mended.count));
    }
    Ok(round)
}

/// Returns a path of the project as findings name it; a path that is not there would hide every finding.
fn project_path(typed: &str, inputs: &ProjectInputs) -> Result<String, CliError> {
    let path = normalize_path(typed).filter(|_| !typed.starts_with('/'));
    let there = |path: &String| {
        let full = normalize_path(&format!("{}/{path}", inputs.project_dir)).unwrap_or_default();
        matches!(inputs.repository.entry(&full), Ok(Some(_)))
    };
    path.filter(there).ok_or_else(|| {
        CliError::user(format!("`{typed}` is not in the project"))
            .hint("paths are relative to the project and committed")
    })
}

/// A finding is shown when its file is one of the paths or lies below one.
fn is_shown(diagnostic: &Diagnostic, paths: &[String], sources: &Sources) -> bool {
    if paths.is_empty() || paths.iter().any(String::is_empty) {
        return true;
    }
    let place = diagnostic.primary.as_ref().map(|label| sources.get(label.span.file));
    let Some(file) = place.as_ref().map(|f| f.path()).or(diagnostic.path.as_deref()) else { return true };
    paths.iter().any(|p| file == p || file.strip_prefix(p.as_str()).is_some_and(|rest| rest.starts_with('/')))
}
