//! `template NAME CHART`: what `helm template` prints, without a project.

use std::path::{Component, Path, PathBuf};

use super::super::args::{ChartArgs, HelmVersion, PrintArgs, TemplateArgs};
use super::super::charts::{DependencyDeed, Fetching, not_fetched};
use super::super::error::{CliError, exit_code};
use super::super::host::ProcessHost;
use super::super::post_render::post_render;
use super::super::project::now;
use super::super::streams::Invocation;
use super::super::values::{nulls, read_file, sets, value_files};
use super::explain_values::{Telling, refuse_beside, settings, tell, variable};
use super::render::with_origins;
use crate::backend::read_folder;
use crate::chart::repository::shown;
use crate::chart::{
    Capabilities, Chart, Helm, LoadOptions, PrintOptions, Release, RenderOptions, Rendered, ValuesInput, compose, load,
    load_archive_for, render_explained,
};
use crate::diag::Diagnostics;
use crate::eval::on_deep_stack;
use crate::pipeline::{ValueQuestion, explain_chart_values, fetch_from_registry, fetch_from_repository};
use crate::ports::{ChartSource as _, Wanted};
use crate::source::{Files, Sources};

/// Source: Helm's limit of release names.
const MAX_NAME: usize = 53;

pub fn run(args: &TemplateArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    // Huge pages would double the memory of a run that lasts some milliseconds; a program that we start inherits this.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(args.post_renderer.is_none());
    let (name, path) = name_and_chart(args)?;
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    if !args.explain.explain_values.is_empty() {
        let programs = ("--post-renderer", args.post_renderer.is_some());
        refuse_beside(&[("--origins", args.origins.origins), programs])?;
        return explain(args, name, path, invocation, &sources, diagnostics);
    }
    let (on, found) = (&mut *invocation, &mut diagnostics);
    // One thread for everything: what is loaded and what is rendered then share one heap.
    let rendered = on_deep_stack(|| rendered(args, name, path, on, &sources, found))?;
    let printed = match &rendered {
        Some(rendered) => printed(args, rendered, invocation, &sources, &mut diagnostics)?,
        None => None,
    };
    std::mem::forget(rendered);
    let failed = diagnostics.has_errors();
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    match printed {
        Some(text) if !failed => {
            invocation.streams.print(&text)?;
            Ok(exit_code::DONE)
        }
        Some(_) | None => Err(CliError::Config),
    }
}

/// Returns what is printed; `None` after a fault that leaves nothing to hand to the post-renderer.
fn printed(
    args: &TemplateArgs,
    rendered: &Rendered,
    invocation: &Invocation,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Result<Option<String>, CliError> {
    let print = print_options(&args.print);
    if args.origins.origins {
        return Ok(Some(with_origins(rendered, &print, args.origins, invocation, sources, diagnostics)));
    }
    if let Some(program) = &args.post_renderer {
        if diagnostics.has_errors() {
            return Ok(None);
        }
        let text = post_render(program, &args.post_renderer_args, rendered.manifests_text(), &invocation.cwd)?;
        return Ok(Some(rendered.print_post_rendered(diagnostics, text, &print)));
    }
    if print.show_only.is_empty() {
        return Ok(Some(rendered.print(&print)));
    }
    Ok(Some(rendered.print_only(diagnostics, &print)))
}

/// Loads, composes and renders; `None` after a fault that leaves nothing to print.
fn rendered(
    args: &TemplateArgs,
    name: String,
    path: &str,
    invocation: &mut Invocation,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Result<Option<Rendered>, CliError> {
    let cwd = invocation.cwd.as_path();
    let input = ValuesInput {
        files: value_files(&args.values, cwd)?,
        sets: sets(&args.values),
        nulls: nulls(&args.values),
        read_file: &|path| read_file(path, cwd),
        check_schema: !args.skip_schema_validation,
        ..ValuesInput::default()
    };
    let host = ProcessHost::new(&args.chart.lookup_resources, cwd)?;
    let Some(chart) = chart(args, path, invocation, sources, diagnostics)? else { return Ok(None) };
    let options = render_options(args, name, &chart, &host)?;
    let Some(values) = compose(diagnostics, sources, &chart, &input) else { return Ok(None) };
    let rendered = render_explained(diagnostics, sources, &values, &options);
    // The process ends soon; the system takes memory back faster than we do, piece by piece.
    std::mem::forget((chart, values));
    Ok(Some(rendered))
}

fn render_options<'a>(
    args: &TemplateArgs,
    name: String,
    chart: &Chart,
    host: &'a ProcessHost,
) -> Result<RenderOptions<'a>, CliError> {
    let name = if args.generate_name { format!("{}-{}", chart.name(), now().as_secs()) } else { name };
    Ok(RenderOptions {
        release: Release { name, namespace: args.namespace.clone(), revision: 1, is_upgrade: args.print.is_upgrade },
        capabilities: capabilities(&args.chart, helm(args))?,
        host,
        now: now(),
        include_crds: args.include_crds,
        lenient: true,
        track: args.origins.origins,
        text_only: !args.origins.origins,
        ..RenderOptions::default()
    })
}

/// Tells where values of the chart come from, in place of its manifests.
fn explain(
    args: &TemplateArgs,
    name: String,
    path: &str,
    invocation: &mut Invocation,
    sources: &Sources,
    mut diagnostics: Diagnostics,
) -> Result<u8, CliError> {
    let cwd = invocation.cwd.clone();
    let input = ValuesInput {
        files: value_files(&args.values, &cwd)?,
        sets: sets(&args.values),
        nulls: nulls(&args.values),
        read_file: &|path| read_file(path, &cwd),
        check_schema: false,
        ..ValuesInput::default()
    };
    let host = ProcessHost::new(&args.chart.lookup_resources, &cwd)?;
    let settings = settings(invocation);
    let variable = |option: &str, value: &str| variable(&settings, option, value);
    let question = ValueQuestion { paths: &args.explain.explain_values, variable: &variable };
    let answers = match chart(args, path, invocation, sources, &mut diagnostics)? {
        Some(chart) => {
            let options = RenderOptions { text_only: false, ..render_options(args, name, &chart, &host)? };
            let rendered = || {
                let mut unseen = Diagnostics::new();
                let values = compose(&mut unseen, sources, &chart, &input)?;
                let rendered = on_deep_stack(|| render_explained(&mut unseen, sources, &values, &options));
                (!unseen.has_errors()).then_some(rendered)
            };
            explain_chart_values(&mut diagnostics, sources, &chart, &input, &question, rendered)
        }
        None => None,
    };
    invocation.streams.tell_diagnostics(diagnostics, sources);
    tell(answers.ok_or(CliError::Config)?, Telling::Text, invocation)
}

fn name_and_chart(args: &TemplateArgs) -> Result<(String, &str), CliError> {
    let (name, chart) = match args.name_and_chart.as_slice() {
        [chart] => ("release-name", chart.as_str()),
        [name, chart] if !args.generate_name => (name.as_str(), chart.as_str()),
        _ => return Err(CliError::Usage("--generate-name and a release name exclude each other".into())),
    };
    let word = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        part.bytes().all(|b| inner(b) || b == b'-') && part.bytes().next().is_some_and(inner) && !part.ends_with('-')
    };
    if chart.is_empty() {
        return Err(CliError::user("the name of the chart is empty"));
    }
    if name.len() > MAX_NAME || !name.split('.').all(word) {
        return Err(CliError::user(format!("`{name}` is not a release name"))
            .hint("it has lower-case letters, digits, `-` and `.`, and at most 53 characters"));
    }
    Ok((name.to_owned(), chart))
}

fn helm(args: &TemplateArgs) -> Helm {
    match args.helm_version {
        HelmVersion::V3 => Helm::V3,
        HelmVersion::V4 => Helm::V4,
    }
}

/// Returns the capabilities that the options describe.
pub(super) fn capabilities(args: &ChartArgs, helm: Helm) -> Result<Capabilities, CliError> {
    let mut capabilities = Capabilities::of(helm);
    if let Some(version) = &args.kube_version {
        let bad = || CliError::user(format!("--kube-version {version} is not a version"));
        capabilities = capabilities.with_kube_version(version).ok_or_else(bad)?;
    }
    capabilities.api_versions.extend(args.api_versions.iter().cloned());
    Ok(capabilities)
}

/// Returns what is printed of a rendering.
pub fn print_options(args: &PrintArgs) -> PrintOptions {
    PrintOptions { no_hooks: args.no_hooks, skip_tests: args.skip_tests, show_only: args.show_only.clone() }
}

/// Finds the chart: on disk, else where the options and its name say.
fn chart(
    args: &TemplateArgs,
    path: &str,
    invocation: &Invocation,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Result<Option<Chart>, CliError> {
    let cwd = invocation.cwd.as_path();
    let options = LoadOptions { helm: helm(args), ..LoadOptions::default() };
    let place = cwd.join(path);
    if place.is_file() {
        let bytes = std::fs::read(&place).map_err(|e| CliError::environment(format!("read the chart {path}"), e))?;
        return Ok(load_archive_for(diagnostics, sources, path, &bytes, helm(args)));
    }
    if place.is_dir() {
        let mount = mount(path, &place, cwd);
        let read =
            || read_folder(&place, &mount).map_err(|e| CliError::environment(format!("read the chart {path}"), e));
        let files = read()?;
        if args.dependency_update && lacks_dependencies(&files, &mount) {
            let fetching = Fetching::new(&args.fetch, std::iter::empty(), invocation)?;
            let update = DependencyDeed::Update;
            if fetching.bring_dependencies(update, &place, &mount, sources, diagnostics, invocation)?.is_none() {
                return Ok(None);
            }
            return Ok(load(diagnostics, sources, &read()?, &mount, &options));
        }
        return Ok(load(diagnostics, sources, &files, &mount, &options));
    }
    let (name, bytes) = fetched(args, path, invocation)?;
    Ok(load_archive_for(diagnostics, sources, &name, &bytes, helm(args)))
}

/// Says whether a declared dependency is not in charts/.
fn lacks_dependencies(files: &Files, mount: &str) -> bool {
    let (mut unseen, sources) = (Diagnostics::new(), Sources::new());
    let Some(chart) = load(&mut unseen, &sources, files, mount, &LoadOptions::default()) else { return false };
    let is_there = |name: &str| chart.subcharts.iter().any(|sub| sub.name() == name);
    chart.metadata.dependencies.iter().any(|d| !is_there(&d.name))
}

/// Fetches a chart that is not on disk: the name of its archive, and the archive.
fn fetched(args: &TemplateArgs, path: &str, invocation: &Invocation) -> Result<(String, Vec<u8>), CliError> {
    let server = args.repo.as_deref().unwrap_or(path);
    let fetching = Fetching::new(&args.fetch, std::iter::once(server).filter(|s| s.contains("://")), invocation)?;
    let range = match (&args.version, args.devel) {
        (Some(version), _) => version.trim(),
        (None, true) => ">0.0.0-0",
        (None, false) => "",
    };
    let failed = |error| not_fetched(format!("fetch the chart {}", shown(path)), error);
    if let Some(reference) = path.strip_prefix("oci://") {
        return fetch_from_registry(&fetching.source, reference, range).map_err(failed);
    }
    if let Some(repo) = &args.repo {
        let found = match repo.strip_prefix("oci://") {
            Some(base) => {
                let reference = format!("{}/{path}", base.trim_end_matches('/'));
                fetch_from_registry(&fetching.source, &reference, range)
            }
            None => fetch_from_repository(&fetching.source, fetching.cache.as_ref(), repo, path, range),
        };
        return found.map_err(failed);
    }
    if path.starts_with("https://") || path.starts_with("http://") {
        let bytes = fetching.source.get(path, Wanted::Archive).map_err(failed)?;
        return Ok((shown(path).rsplit('/').next().unwrap_or_default().to_owned(), bytes));
    }
    if path.contains("://") {
        return Err(CliError::user(format!("{} is no address of a chart", shown(path)))
            .hint("write oci://…, https://…, or the folder or archive of a chart"));
    }
    let named = path.split_once('/').and_then(|(repository, name)| {
        let found = fetching.repositories.iter().find(|r| r.name == repository)?;
        Some((found, name))
    });
    if let (Some((repository, name)), false) = (named, path.starts_with(['.', '/'])) {
        let (source, cache) = (&fetching.source, fetching.cache.as_ref());
        return fetch_from_repository(source, cache, &repository.url, name, range).map_err(failed);
    }
    Err(CliError::user(format!("there is no chart {path}"))
        .hint("give the folder or the archive of a chart, oci://…, or a name and --repo URL"))
}

/// How diagnostics name the folder: as it was typed where that is below the current directory, else by its name.
pub fn mount(path: &str, place: &Path, cwd: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str().unwrap_or("chart")),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let full: PathBuf = place.canonicalize().unwrap_or_else(|_| place.to_owned());
                let inside = cwd.canonicalize().ok().and_then(|cwd| full.strip_prefix(cwd).ok().map(Path::to_owned));
                let shown = inside.or_else(|| full.file_name().map(PathBuf::from)).unwrap_or_default();
                return shown.to_string_lossy().into_owned();
            }
        }
    }
    parts.join("/")
}
