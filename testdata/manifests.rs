//! The check of manifests over charts of the world: what it finds with their defaults, and how long it takes.
//!
//! `CHARTS=FOLDER:FOLDER cargo test --test suite public_charts -- --ignored --nocapture` prints every error and how often
//! each rule speaks; every error is read by a person.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stagewright::analysis::kubernetes::{Extent, Release, findings};
use stagewright::backend::read_folder;
use stagewright::chart::{Capabilities, LoadOptions, RenderOptions, Rendered, ValuesInput, compose, load, render};
use stagewright::diag::{Diagnostics, Severity};
use stagewright::source::Sources;

fn charts_below(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("Chart.yaml").is_file() {
        found.push(folder.to_owned());
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut below: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    below.sort();
    below.iter().for_each(|path| charts_below(path, found));
}

fn rendered(folder: &Path) -> Option<Rendered> {
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let files = read_folder(folder, "chart").ok()?;
    let chart = load(&mut diagnostics, &sources, &files, "chart", &LoadOptions::default())?;
    let values = compose(&mut diagnostics, &sources, &chart, &ValuesInput::default())?;
    let options = RenderOptions { include_crds: true, lenient: true, ..RenderOptions::default() };
    let made = render(&mut diagnostics, &sources, &values, &options);
    (!diagnostics.has_errors()).then_some(made)
}

#[test]
#[ignore = "needs charts of the world, named by CHARTS"]
fn public_charts() {
    let mut charts = Vec::new();
    let folders = std::env::var("CHARTS").unwrap();
    folders.split(':').for_each(|folder| charts_below(Path::new(folder), &mut charts));
    let mut counts: BTreeMap<(Severity, &str), usize> = BTreeMap::new();
    let (mut shown, mut resources, mut with_errors, mut spent) = (0, 0, 0, Duration::ZERO);
    for folder in &charts {
        let Some(made) = rendered(folder) else { continue };
        let release = Release {
            manifests: &made.manifests,
            hooks: &made.hooks,
            crds: &made.crds,
            kube_version: Capabilities::default().kube_version,
            version_is_given: false,
        };
        shown += 1;
        resources += made.manifests.len() + made.hooks.len();
        let start = Instant::now();
        let found = findings(&release, Extent::All);
        spent += start.elapsed();
        let mut bad = false;
        for (manifest, finding) in found.iter().flat_map(|(m, list)| list.iter().map(move |f| (m, f))) {
            *counts.entry((finding.severity, finding.rule.name)).or_default() += 1;
            if finding.severity == Severity::Error || std::env::var("SHOW").is_ok_and(|rule| rule == finding.rule.name)
            {
                bad |= finding.severity == Severity::Error;
                let (kind, name, source) = (&manifest.kind, &manifest.name, &manifest.source);
                println!("{}: {source}: {kind}/{name}: {}: {}", folder.display(), finding.rule.name, finding.message);
            }
        }
        with_errors += usize::from(bad);
    }
    println!(
        "{shown} of {} charts rendered, {resources} resources, {with_errors} charts with errors, {spent:?}",
        charts.len()
    );
    for ((severity, rule), count) in counts {
        println!("{severity:?} {rule}: {count}");
    }
}
