//! `chart dependency build|update|list`.

use std::path::Path;

use super::super::args::{ChartCommand, DependencyArgs, DependencyCommand, DependencyListArgs};
use super::super::charts::{DependencyDeed, Fetching};
use super::super::error::{CliError, exit_code};
use super::super::streams::Invocation;
use super::template::mount;
use crate::backend::read_folder;
use crate::chart::load_archive;
use crate::chart::lock::read_requirements;
use crate::chart::repository::Location;
use crate::diag::Diagnostics;
use crate::pipeline::{DependencyFiles, dependency_table, list_dependencies, list_dependencies_of_archive};
use crate::source::Sources;

pub fn run(command: &ChartCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    let ChartCommand::Dependency(command) = command;
    match command {
        DependencyCommand::Build(args) => bring(DependencyDeed::Build, args, invocation),
        DependencyCommand::Update(args) => bring(DependencyDeed::Update, args, invocation),
        DependencyCommand::List(args) => list(args, invocation),
    }
}

fn bring(deed: DependencyDeed, args: &DependencyArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
    let place = chart_folder(&args.chart, &invocation.cwd)?;
    let mount = mount(&args.chart, &place, &invocation.cwd);
    let fetching = {
        let files = read_folder(&place, &mount)
            .map_err(|e| CliError::environment(format!("read the chart {}", args.chart), e))?;
        let found = read_requirements(&mut Diagnostics::new(), &sources, &files, &mount);
        let list = found.iter().flat_map(|found| &found.list).map(|r| r.dependency.repository.as_str());
        let remote = list.filter(|r| matches!(Location::of(r), Location::Http(_) | Location::Oci(_)));
        Fetching::new(&args.fetch, remote, invocation)?
    };
    let brought = fetching.bring_dependencies(deed, &place, &mount, &sources, &mut diagnostics, invocation)?;
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    let Some(brought) = brought else { return Err(CliError::Config) };
    invocation.streams.inform(&told(&brought));
    Ok(exit_code::DONE)
}

/// One sentence of what was done.
fn told(files: &DependencyFiles) -> String {
    if files.archives.is_empty() && files.outdated.is_empty() && files.lock.is_none() {
        return "Nothing to fetch.".to_owned();
    }
    let count = |n: usize| if n == 1 { "1 chart".to_owned() } else { format!("{n} charts") };
    let mut parts = vec![format!("{} in charts/", count(files.archives.len()))];
    if !files.outdated.is_empty() {
        parts.push(format!("{} removed", files.outdated.join(", ")));
    }
    parts.push(match &files.lock {
        Some((name, _)) => format!("{name} written"),
        None => "the lock is up to date".to_owned(),
    });
    format!("{}.", parts.join("; "))
}

fn list(args: &DependencyListArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
    let file = invocation.cwd.join(&args.chart);
    let found = if file.is_file() {
        let bytes =
            std::fs::read(&file).map_err(|e| CliError::environment(format!("read the chart {}", args.chart), e))?;
        let chart = load_archive(&mut diagnostics, &sources, &args.chart, &bytes);
        chart.map(|chart| list_dependencies_of_archive(&chart, &args.chart))
    } else {
        let place = chart_folder(&args.chart, &invocation.cwd)?;
        let mount = mount(&args.chart, &place, &invocation.cwd);
        let files = read_folder(&place, &mount)
            .map_err(|e| CliError::environment(format!("read the chart {}", args.chart), e))?;
        list_dependencies(&mut diagnostics, &sources, &files, &mount, &args.chart)
    };
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    let Some(found) = found else { return Err(CliError::Config) };
    let mut out = found.rows.map(|rows| dependency_table(&rows, args.max_col_width) + "\n").unwrap_or_default();
    out.extend(found.warnings.iter().map(|warning| format!("{warning}\n")));
    invocation.streams.print(&out)?;
    Ok(exit_code::DONE)
}

fn chart_folder(chart: &str, cwd: &Path) -> Result<std::path::PathBuf, CliError> {
    let place = cwd.join(chart);
    if place.is_dir() {
        return Ok(place);
    }
    if place.is_file() {
        return Err(CliError::user(format!("{chart} is an archive")).hint("unpack it: only folders are changed"));
    }
    Err(CliError::user(format!("there is no chart {chart}")).hint("give the folder of a chart"))
}
