//! What the main job costs, step by step, on generated projects of 10, 100 and 1,000 images.
//!
//! `make bench` prints a table; `docs/performance.md` keeps the figures. Nothing here is a timed test: figures are
//! compared within one run.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod project;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagewright::backend::git::Repository;
use stagewright::backend::{OciLayout, manifest_folder::ManifestFolder};
use stagewright::config;
use stagewright::diag::Diagnostics;
use stagewright::eval::NoHost;
use stagewright::pipeline::{PlanRequest, Project, ProjectInputs, RenderChoice, load, load_config, plan, render};
use stagewright::source::Sources;

const RUNS: u32 = 7;

/// Returns the best of several runs.
fn best(mut f: impl FnMut()) -> Duration {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed()
        })
        .min()
        .unwrap()
}

fn ms(d: Duration) -> String {
    format!("{:.1}", d.as_secs_f64() * 1e3)
}

fn inputs(repository: &Arc<Repository>) -> ProjectInputs {
    let head = repository.head().unwrap();
    ProjectInputs::new(repository.files(&head), config::Commit { hash: head.hash, ..config::Commit::default() })
}

fn loaded(sources: &Sources, inputs: &ProjectInputs) -> Project {
    let mut d = Diagnostics::new();
    load(&mut d, sources, inputs).unwrap_or_else(|| panic!("{:#?}", d.as_slice()))
}

fn stagewright(dir: &std::path::Path, args: &[&str]) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
    command.args(args).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

/// Peak memory of a finished `plan`. Unit: MB; nothing where the system does not tell.
fn peak_memory(dir: &std::path::Path) -> String {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%M", env!("CARGO_BIN_EXE_stagewright"), "plan"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).unwrap_or_default();
    let kb: Option<f64> = text.lines().last().and_then(|l| l.trim().parse().ok());
    kb.map_or_else(|| "-".to_owned(), |kb| format!("{:.0}", kb / 1024.0))
}

fn main() {
    println!("times in ms, best of {RUNS}; memory in MB");
    println!(
        "{:>7} {:>7} {:>10} | {:>8} {:>8} {:>8} {:>8} | {:>9} {:>9} {:>7} {:>8}",
        "images", "files", "resources", "parse", "sign", "render", "plan", "process", "ls-tree", "memory", "lint"
    );
    for (images, files) in [(10, 100), (100, 100), (1000, 50)] {
        let dir = tempfile::tempdir().unwrap();
        let resources = project::generate(dir.path(), images, files);
        assert!(stagewright(dir.path(), &["apply", "--auto-approve"]), "the generated project is applied");
        let open = || Arc::new(Repository::discover(dir.path()).unwrap());
        let parse = best(|| {
            let (sources, inputs) = (Sources::new(), inputs(&open()));
            assert!(load_config(&mut Diagnostics::new(), &sources, &inputs).is_some());
        });
        let load = best(|| {
            let (sources, inputs) = (Sources::new(), inputs(&open()));
            assert_eq!(loaded(&sources, &inputs).images.len(), images);
        });
        let sources = Sources::new();
        let inputs = inputs(&open());
        let project = loaded(&sources, &inputs);
        let rendering = best(|| {
            let found = render(&mut Diagnostics::new(), &sources, &project, &inputs, &NoHost, RenderChoice::default());
            assert_eq!(found.unwrap().rendered.manifests.len(), resources);
        });
        let planning = best(|| {
            let store = OciLayout::new(dir.path().join(".stagewright/store"));
            let target = ManifestFolder::new(dir.path().join(".stagewright/manifests"));
            let request = PlanRequest {
                force_adoption: false,
                force_conflicts: false,
                yield_conflicts: false,
                no_remove_manual_changes: false,
                no_hooks: false,
                cannot_run: &|_| None,
                final_store: None,
                secondary_repos: &[],
                project: &project,
                inputs: &inputs,
                images: &[],
                deploy: true,
                store: (&store, "oci"),
                target: Some((&target, "dir")),
                builder: "native",
                selection: stagewright::plan::StageSelection::Either,
                custom_tags: &std::collections::BTreeMap::new(),
                runs_commands: false,
                host: &NoHost,
            };
            let plan = plan(&mut Diagnostics::new(), &sources, &request).unwrap();
            assert!(plan.operations.is_empty(), "the second plan is empty");
        });
        let process = best(|| assert!(stagewright(dir.path(), &["plan"])));
        let linting = best(|| assert!(stagewright(dir.path(), &["lint"])));
        let listing = best(|| {
            let mut git = Command::new("git");
            git.args(["ls-tree", "-r", "HEAD"]).current_dir(dir.path()).stdout(Stdio::null());
            assert!(git.status().unwrap().success());
        });
        println!(
            "{images:>7} {:>7} {resources:>10} | {:>8} {:>8} {:>8} {:>8} | {:>9} {:>9} {:>7} {:>8}",
            images * files,
            ms(parse),
            ms(load.saturating_sub(parse)),
            ms(rendering),
            ms(planning.saturating_sub(rendering)),
            ms(process),
            ms(listing),
            peak_memory(dir.path()),
            ms(linting)
        );
    }
    let dir = tempfile::tempdir().unwrap();
    project::generate(dir.path(), 100, 20);
    project::spread(dir.path(), 50);
    let linting = best(|| assert!(stagewright(dir.path(), &["lint"])));
    println!("lint of 100 images, 2000 files and 50 templates: {} ms, budget 150", ms(linting));
}
