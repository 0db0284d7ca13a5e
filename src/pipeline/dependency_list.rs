//! What a chart declares of its dependencies, and whether it is there. Source: `helm dependency list`.

use crate::chart::constraint::{Constraint, parse_version};
use crate::chart::metadata::Dependency;
use crate::chart::{Chart, LoadOptions, is_archive, load, load_archive};
use crate::diag::{Diagnostics, Severity};
use crate::source::{Files, Mode, Sources};

/// What is declared, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencyList {
    /// Name, version, repository and status of each; `None` when nothing is declared.
    pub rows: Option<Vec<[String; 4]>>,
    /// What lies in `charts/` and is not declared, or is no chart.
    pub warnings: Vec<String>,
}

/// Lists the dependencies of the chart in the folder `path` of `files`; `shown` is how the folder was typed.
/// `None` when the chart cannot be used, which is reported.
pub fn list_dependencies(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    files: &Files,
    path: &str,
    shown: &str,
) -> Option<DependencyList> {
    let mut found = Diagnostics::new();
    let chart = load(&mut found, sources, files, path, &LoadOptions::default());
    let Some(chart) = chart else {
        diagnostics.extend(found);
        return None;
    };
    let charts = format!("{}/charts", shown.trim_end_matches('/')).trim_start_matches("./").to_owned();
    if chart.metadata.dependencies.is_empty() {
        return Some(nothing(&charts));
    }
    let there = Vendored::read(sources, files, &format!("{path}/charts"));
    let status = |d: &Dependency| match there.archive_status(d) {
        Some(status) => status,
        None => loaded_status(&chart, d),
    };
    let rows = chart.metadata.dependencies.iter().map(|d| row(d, status(d))).collect();
    let declared = |name: &str| chart.metadata.dependencies.iter().any(|d| d.name == name);
    let warning = |(file, found): &(String, Option<(String, String)>)| match found {
        None => Some(format!("WARNING: {:?} is not a chart.", format!("{charts}/{file}"))),
        Some((name, _)) if declared(name) => None,
        Some(_) => Some(format!("WARNING: {:?} is not in Chart.yaml.", format!("{charts}/{file}"))),
    };
    Some(DependencyList { rows: Some(rows), warnings: there.0.iter().filter_map(warning).collect() })
}

/// Lists the dependencies of a chart that lies in an archive.
pub fn list_dependencies_of_archive(chart: &Chart, shown: &str) -> DependencyList {
    if chart.metadata.dependencies.is_empty() {
        return nothing(&format!("{shown}/charts"));
    }
    let rows = chart.metadata.dependencies.iter().map(|d| row(d, loaded_status(chart, d))).collect();
    DependencyList { rows: Some(rows), warnings: Vec::new() }
}

fn nothing(charts: &str) -> DependencyList {
    DependencyList { rows: None, warnings: vec![format!("WARNING: no dependencies at {charts}")] }
}

fn row(dependency: &Dependency, status: &str) -> [String; 4] {
    [
        dependency.name.clone(),
        dependency.version.clone(),
        crate::chart::repository::shown(&dependency.repository),
        status.to_owned(),
    ]
}

/// What lies in `charts/`: file name, and name and version of the chart in it where there is one.
struct Vendored(Vec<(String, Option<(String, String)>)>);

impl Vendored {
    fn read(sources: &Sources, files: &Files, folder: &str) -> Self {
        let folder = folder.trim_start_matches('/');
        let entry = files.resolve(folder).ok().flatten();
        let tree = entry.and_then(|(_, entry)| files.objects().tree(entry.id).ok());
        let of = |name: String, mode: Mode| {
            let mut found = Diagnostics::new();
            let path = format!("{folder}/{name}");
            let chart = match mode {
                Mode::Directory => load(&mut found, sources, files, &path, &LoadOptions::default()),
                Mode::File | Mode::Executable | Mode::Symlink if is_archive(&name) => {
                    let bytes = files.read(&path).ok()?;
                    load_archive(&mut found, sources, &path, &bytes)
                }
                Mode::File | Mode::Executable | Mode::Symlink | Mode::Submodule => return None,
            };
            let failed = found.as_slice().iter().any(|d| d.severity == Severity::Error);
            let chart = chart.filter(|_| !failed).map(|c| (c.metadata.name, c.metadata.version));
            Some((name, chart))
        };
        let entries = tree.iter().flat_map(|tree| tree.entries().iter());
        Self(entries.filter(|e| !e.name.starts_with('.')).filter_map(|e| of(e.name.to_string(), e.mode)).collect())
    }

    /// What the archive of a dependency tells; `None` when there is none that is meant.
    fn archive_status(&self, dependency: &Dependency) -> Option<&'static str> {
        let prefix = format!("{}-", dependency.name);
        let version = |file: &str| Some(file.strip_prefix(&prefix)?.strip_suffix(".tgz")?.to_owned());
        let mut archives: Vec<_> = self.0.iter().filter(|(file, _)| version(file).is_some()).collect();
        if archives.len() > 1 {
            // `web-ui-1.0.0.tgz` is no archive of `web`
            archives.retain(|(file, _)| version(file).is_some_and(|v| semver::Version::parse(&v).is_ok()));
            if archives.len() > 1 {
                return Some("too many matches");
            }
        }
        let (_, found) = archives.first()?;
        Some(match found {
            None => "corrupt",
            Some((name, _)) if *name != dependency.name => "misnamed",
            Some((_, version)) => version_fault(dependency, version).unwrap_or("ok"),
        })
    }
}

fn loaded_status(chart: &Chart, dependency: &Dependency) -> &'static str {
    match chart.subcharts.iter().rfind(|sub| sub.name() == dependency.name) {
        None => "missing",
        Some(sub) => version_fault(dependency, &sub.metadata.version).unwrap_or("unpacked"),
    }
}

fn version_fault(dependency: &Dependency, version: &str) -> Option<&'static str> {
    if version == dependency.version {
        return None;
    }
    match (Constraint::parse(&dependency.version), parse_version(version)) {
        (Some(range), Some(version)) if range.allows(&version) => None,
        (Some(_), Some(_)) => Some("wrong version"),
        (None, _) | (_, None) => Some("invalid version"),
    }
}

/// Lays the rows out as Helm does: every column filled up, a tab between two.
pub fn dependency_table(rows: &[[String; 4]], max_width: usize) -> String {
    let head = ["NAME", "VERSION", "REPOSITORY", "STATUS"].map(str::to_owned);
    let mut widths = [0; 4];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(max_width));
        }
    }
    let mut out = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            if cell.chars().count() <= width {
                return format!("{cell:width$}");
            }
            let kept: String = cell.chars().take(width.saturating_sub(3)).collect();
            format!("{kept}...")
        });
        out += &cells.collect::<Vec<_>>().join("\t");
        out.push('\n');
    }
    out
}
