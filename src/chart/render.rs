//! Renders a chart: all templates of the tree over Helm's objects, and Jsonnet files beside them, to manifests.
//!
//! What lives here: the order of files, the objects of each chart, NOTES.txt, crds/, the printed text. What does
//! not: pieces and heads (`manifest`), templates (`eval`).
//!
//! The one idea: everything that crosses the rendering thread is plain data; values of the engine live and die
//! inside it. Source: Helm 3.20, `helm template`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::diag::rules::{CHART_FILES, CHART_KUBE_VERSION, CHART_LIBRARY, TEMPLATE_NOT_FOUND};
use crate::diag::{Diagnostic, Diagnostics, Severity};
use crate::eval::{
    Dict, DictKind, FunctionSet, Host, NoHost, RenderEnv, Str, TemplateSet, Value, ValueIndex, on_deep_stack,
};
use crate::source::glob::ShellPattern;
use crate::source::{FileId, Sources};

use super::additions::Additions;
use super::constraint::{Constraint, parse_version};
use super::helm::Helm;
use super::jsonnet::{JsonnetFolder, render_jsonnet};
use super::load::Chart;
use super::manifest::{Manifest, Reading, RenderedFile, pieces, read_all, report_duplicates};
use super::objects::{Capabilities, FilesObject, chart_object, release_object, to_dict, to_indexed_dict};
use super::values::ChartValues;

/// The release that is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Counts from 1.
    pub revision: i64,
    /// Whether there is an earlier revision.
    pub is_upgrade: bool,
}

impl Default for Release {
    /// Returns what `helm template` takes when nothing is said.
    fn default() -> Self {
        Self { name: "release-name".into(), namespace: "default".into(), revision: 1, is_upgrade: false }
    }
}

/// How a chart is rendered.
#[derive(Clone)]
pub struct RenderOptions<'a> {
    /// `.Release`.
    pub release: Release,
    /// `.Capabilities`.
    pub capabilities: Capabilities,
    /// Answers `lookup` and what else depends on the world.
    pub host: &'a dyn Host,
    /// What `now` tells. Unit: since the Unix epoch, UTC.
    pub now: Duration,
    /// Whether crds/ is part of the manifests.
    pub include_crds: bool,
    /// Whether notes of subcharts are part of the notes.
    pub sub_notes: bool,
    /// Whether each line's origin is recorded.
    pub track: bool,
    /// Whether templates may call werf's functions too.
    pub werf_functions: bool,
    /// Whether only the texts of manifests are wanted: their data stays null.
    pub text_only: bool,
    /// Whether faults that Helm prints without a word are warnings only.
    pub lenient: bool,
    /// Jsonnet files that make manifests of the same release.
    pub jsonnet: Option<JsonnetFolder<'a>>,
    /// What is added to every manifest, those of crds/ left out.
    pub additions: Additions,
}

impl Default for RenderOptions<'_> {
    fn default() -> Self {
        Self {
            release: Release::default(),
            capabilities: Capabilities::default(),
            host: &NoHost,
            now: Duration::ZERO,
            include_crds: false,
            sub_notes: false,
            track: false,
            werf_functions: false,
            text_only: false,
            lenient: false,
            jsonnet: None,
            additions: Additions::default(),
        }
    }
}

/// What a chart renders to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// The resources of the release, in the order of installation.
    pub manifests: Vec<Manifest>,
    /// The hooks, in the order of installation.
    pub hooks: Vec<Manifest>,
    /// NOTES.txt.
    pub notes: Option<String>,
    /// Files below crds/: name as Helm has it, and text; asked for with `include_crds`.
    pub crds: Vec<(String, String)>,
    /// Files that Jsonnet read, by path.
    pub jsonnet_read: Vec<String>,
    /// Paths of the values that templates read, present or not (`web.image.tag`); told when tracked.
    pub values_read: BTreeSet<String>,
}

/// Which part of a rendering is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrintOptions {
    /// Leaves hooks out (`--no-hooks`).
    pub no_hooks: bool,
    /// Leaves test hooks out (`--skip-tests`).
    pub skip_tests: bool,
    /// Prints only these templates, as paths or patterns below the chart (`--show-only`).
    pub show_only: Vec<String>,
}

/// Renders a chart with its values; faults go to `diagnostics`, and what could be rendered is returned.
pub fn render(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    values: &ChartValues,
    options: &RenderOptions<'_>,
) -> Rendered {
    let chart = &values.chart;
    check_chart(diagnostics, chart, &options.capabilities);
    let mut jobs = BTreeMap::new();
    collect(chart, &mut Vec::new(), &mut jobs);
    let mut jobs: Vec<Job> = jobs.into_values().collect();
    // deeper files first, then by name, last first: so the definitions of the root chart win
    jobs.sort_by(|a, b| (b.name.matches('/').count(), &b.name).cmp(&(a.name.matches('/').count(), &a.name)));
    let functions = match chart.helm {
        _ if options.werf_functions => FunctionSet::werf_chart(),
        Helm::V3 => FunctionSet::helm(),
        Helm::V4 => FunctionSet::helm4(),
    };
    let errors = error_count(diagnostics);
    let texts: Vec<(&str, FileId)> = jobs.iter().map(|job| (job.name.as_str(), job.file)).collect();
    let set = chart.parsed.get(diagnostics, sources, functions, &texts);
    if error_count(diagnostics) > errors {
        return Rendered::default();
    }
    let (mut files, values_read) = render_files(diagnostics, sources, &set, &jobs, values, options);
    if options.text_only {
        // A run that only prints ends soon: the system takes the programs back faster than we do, piece by piece.
        std::mem::forget(set);
    }
    let notes = take_notes(&mut files, chart, options.sub_notes);
    let mut read = Vec::new();
    if let Some(folder) = &options.jsonnet {
        read = render_jsonnet(diagnostics, sources, folder, values, options, &mut files);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let reading = Reading {
        sources,
        namespace: &options.release.namespace,
        helm: chart.helm,
        nowhere: FileId(u32::MAX),
        data: !options.text_only,
    };
    let mut found = Diagnostics::new();
    let (mut manifests, mut hooks) = read_all(&mut found, &files, &reading);
    manifests.iter_mut().chain(&mut hooks).for_each(|manifest| options.additions.add_to(manifest));
    report_duplicates(&mut found, sources, &manifests);
    for diagnostic in found.as_slice() {
        let mut diagnostic = diagnostic.clone();
        if options.lenient && diagnostic.rule.name != "manifest-yaml" {
            diagnostic.severity = Severity::Warning;
        }
        diagnostics.push(diagnostic);
    }
    let mut crds = Vec::new();
    if options.include_crds {
        collect_crds(chart, &mut crds);
    }
    report_unread(diagnostics, chart);
    Rendered { manifests, hooks, notes, crds, jsonnet_read: read, values_read }
}

/// Renders like [`render`], and where there are errors once more with tracking, so that they tell calls and values.
pub fn render_explained(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    values: &ChartValues,
    options: &RenderOptions<'_>,
) -> Rendered {
    let mut found = Diagnostics::new();
    let mut rendered = render(&mut found, sources, values, options);
    if found.has_errors() && !options.track {
        found = Diagnostics::new();
        rendered =
            render(&mut found, sources, values, &RenderOptions { track: true, text_only: false, ..options.clone() });
    }
    diagnostics.extend(found);
    rendered
}

impl Rendered {
    /// Returns what `helm template` prints.
    pub fn print(&self, options: &PrintOptions) -> String {
        self.print_with(self.manifests_text(), options)
    }

    /// Returns the text of the manifests without hooks, as a post-renderer gets it. Source: Helm 3.
    pub fn manifests_text(&self) -> String {
        let crds = self.crds.iter().map(|(name, text)| name.len() + text.len());
        let all = self.manifests.iter().chain(&self.hooks).map(|m| m.source.len() + m.text.len());
        // each with the separator and the line of its source
        let size: usize = crds.chain(all).map(|size| size + 32).sum();
        let mut out = String::with_capacity(size);
        for (name, text) in &self.crds {
            out.push_str("---\n# Source: ");
            out.push_str(name);
            out.push('\n');
            out.push_str(text);
            out.push('\n');
        }
        self.manifests.iter().for_each(|manifest| manifest.print(&mut out));
        out
    }

    fn print_with(&self, manifests: String, options: &PrintOptions) -> String {
        let lead = manifests.len() - manifests.trim_start().len();
        let mut out = manifests;
        out.truncate(out.trim_end().len());
        out.drain(..lead.min(out.len()));
        out.push('\n');
        if !options.no_hooks {
            self.printed_hooks(options).for_each(|hook| hook.print(&mut out));
        }
        out
    }

    /// Returns what `helm template --post-renderer` prints, of a text that a post-renderer gave back.
    ///
    /// With `--show-only` the pieces are known by their `# Source:` lines; a pattern without a match goes to
    /// `diagnostics`.
    pub fn print_post_rendered(&self, diagnostics: &mut Diagnostics, text: String, options: &PrintOptions) -> String {
        let all = self.print_with(text, options);
        if options.show_only.is_empty() {
            return all;
        }
        let source = |piece: &str| {
            let line = piece.lines().find_map(|line| line.strip_prefix("# Source: "))?;
            Some(line.split_once('/')?.1.to_owned())
        };
        let texts = pieces(&all).into_iter().filter_map(|(start, end)| all.get(start..end));
        let named: Vec<(String, &str)> = texts.filter_map(|piece| Some((source(piece)?, piece))).collect();
        let mut out = String::new();
        for pattern in &options.show_only {
            let glob = ShellPattern::new(pattern).ok();
            let before = out.len();
            for (_, piece) in named.iter().filter(|(path, _)| glob.as_ref().is_some_and(|g| g.matches(path))) {
                out.push_str("---\n");
                out.push_str(piece);
                out.push('\n');
            }
            if out.len() == before {
                let message = format!("could not find template {pattern} in chart");
                diagnostics.push(Diagnostic::in_file(&TEMPLATE_NOT_FOUND, pattern, message));
            }
        }
        out
    }

    /// Returns the manifests that are printed, in their order.
    pub fn shown(&self, options: &PrintOptions) -> Vec<&Manifest> {
        let globs: Vec<ShellPattern> = options.show_only.iter().filter_map(|p| ShellPattern::new(p).ok()).collect();
        let below = |m: &Manifest| m.source.split_once('/').map_or("", |(_, rest)| rest).to_owned();
        let is_shown = |m: &&Manifest| options.show_only.is_empty() || globs.iter().any(|g| g.matches(&below(m)));
        let hooks = self.printed_hooks(options).filter(|_| !options.no_hooks);
        self.manifests.iter().chain(hooks).filter(is_shown).collect()
    }

    fn printed_hooks(&self, options: &PrintOptions) -> impl Iterator<Item = &Manifest> {
        let skip = options.skip_tests;
        self.hooks.iter().filter(move |h| !(skip && h.runs_at(super::HookEvent::Test)))
    }

    /// Returns what `helm template --show-only` prints; a pattern without a match goes to `diagnostics`.
    pub fn print_only(&self, diagnostics: &mut Diagnostics, options: &PrintOptions) -> String {
        let crds = self.crds.iter().filter_map(|(name, text)| {
            let (start, end) = pieces(text).first().copied()?;
            Some((name.as_str(), text.get(start..end)?))
        });
        let manifests = self.manifests.iter().map(|m| (m.source.as_str(), m.text.as_str()));
        let hooks = self.printed_hooks(options).filter(|_| !options.no_hooks);
        let hooks = hooks.map(|m| (m.source.as_str(), m.text.as_str()));
        let all: Vec<(&str, &str)> = crds.chain(manifests).chain(hooks).collect();
        let mut out = String::new();
        for pattern in &options.show_only {
            let glob = ShellPattern::new(pattern).ok();
            let below = |source: &str| source.split_once('/').map_or("", |(_, rest)| rest).to_owned();
            let shown = all.iter().filter(|(source, _)| glob.as_ref().is_some_and(|g| g.matches(&below(source))));
            let before = out.len();
            for (source, text) in shown {
                out.push_str("---\n# Source: ");
                out.push_str(source);
                out.push('\n');
                out.push_str(text);
                out.push('\n');
            }
            if out.len() == before {
                let message = format!("could not find template {pattern} in chart");
                diagnostics.push(Diagnostic::in_file(&TEMPLATE_NOT_FOUND, pattern, message));
            }
        }
        out
    }
}

fn error_count(diagnostics: &Diagnostics) -> usize {
    diagnostics.as_slice().iter().filter(|d| d.severity == Severity::Error).count()
}

fn check_chart(diagnostics: &mut Diagnostics, chart: &Chart, capabilities: &Capabilities) {
    let at = |rule, message: String| match chart.metadata.span {
        Some(span) => Diagnostic::at(rule, span, message),
        None => Diagnostic::in_file(rule, &chart.place, message),
    };
    if chart.metadata.is_library() {
        diagnostics.push(at(&CHART_LIBRARY, "library charts are not installable".to_owned()));
    }
    let wanted = &chart.metadata.kube_version;
    let fits = || {
        let version = parse_version(&capabilities.kube_version)?;
        // charts cannot know the suffixes of vendors
        let plain = semver::Version::new(version.major, version.minor, version.patch);
        let constraint = Constraint::parse(wanted)?;
        Some(constraint.allows(&version) || constraint.allows(&plain))
    };
    if !wanted.is_empty() && fits() != Some(true) {
        let version = &capabilities.kube_version;
        let message = format!("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {version}");
        diagnostics.push(at(&CHART_KUBE_VERSION, message));
    }
}

/// One template to render.
struct Job {
    /// The name as Helm has it.
    name: String,
    base_path: String,
    file: FileId,
    /// Names of the subcharts that lead to its chart.
    path: Vec<String>,
}

/// Collects the templates of a tree; where charts share a path, those of the last one. Source: Helm, its map of them.
fn collect(chart: &Chart, path: &mut Vec<String>, jobs: &mut BTreeMap<String, Job>) {
    for template in chart.templates.iter() {
        let base = template.name.rsplit('/').next().unwrap_or(&template.name);
        if let (Some(file), true) = (template.source, !chart.metadata.is_library() || base.starts_with('_')) {
            let name = format!("{}/{}", chart.path, template.name);
            let base_path = format!("{}/templates", chart.path);
            jobs.insert(name.clone(), Job { name, base_path, file, path: path.clone() });
        }
    }
    for subchart in &chart.subcharts {
        path.push(subchart.name().to_owned());
        collect(subchart, path, jobs);
        path.pop();
    }
}

/// Reports the files whose content was asked for and could not be read.
fn report_unread(diagnostics: &mut Diagnostics, chart: &Chart) {
    for (file, cause) in chart.files.iter().filter_map(|file| Some((file, file.content.failure()?))) {
        diagnostics.push(Diagnostic::in_file(&CHART_FILES, format!("{}/{}", chart.place, file.name), cause));
    }
    chart.subcharts.iter().for_each(|subchart| report_unread(diagnostics, subchart));
}

fn collect_crds(chart: &Chart, crds: &mut Vec<(String, String)>) {
    for file in chart.crds() {
        let text = String::from_utf8_lossy(file.content.bytes()).into_owned();
        crds.push((format!("{}/{}", chart.path, file.name), text));
    }
    for subchart in &chart.subcharts {
        collect_crds(subchart, crds);
    }
}

fn render_files(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    set: &TemplateSet,
    jobs: &[Job],
    values: &ChartValues,
    options: &RenderOptions<'_>,
) -> (Vec<RenderedFile>, BTreeSet<String>) {
    let env = RenderEnv { host: options.host, now: options.now, sources, track: options.track };
    let work = || {
        let mut index = ValueIndex::default();
        let scopes = Scopes::new(values, options, sources, &mut index);
        let kind = values_kind(values.chart.helm);
        let mut session = set.session(env);
        session.index_values(index);
        let mut results = Vec::new();
        for job in jobs {
            let base = job.name.rsplit('/').next().unwrap_or(&job.name);
            if base.starts_with('_') {
                continue;
            }
            let Some(scope) = scopes.of(&job.path) else { continue };
            let template = [("Name", job.name.as_str()), ("BasePath", job.base_path.as_str())];
            let template = template.map(|(key, text)| (Str::from(key), Value::str(text)));
            scope.insert(Str::from("Template"), Value::Dict(Rc::new(Dict::from_entries(kind, template))));
            let result = session.render(&job.name, Value::Dict(scope));
            results.push(result.map_err(|error| error.to_diagnostic()).map(|rendered| {
                RenderedFile {
                    name: job.name.clone(),
                    text: String::from_utf8(rendered.text)
                        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
                    template: Some(job.file),
                    pieces: rendered.origins.unwrap_or_default(),
                    table: Arc::default(),
                }
            }));
        }
        if options.track {
            let table = Arc::new(session.origin_table());
            results.iter_mut().flatten().for_each(|file| file.table = table.clone());
        }
        (results, session.read_paths().into_iter().collect())
    };
    let mut files = Vec::new();
    let mut faults: Vec<(Diagnostic, usize)> = Vec::new();
    let (results, read) = on_deep_stack(work);
    for result in results {
        match result {
            Ok(file) => files.push(file),
            Err(fault) => match faults.iter_mut().find(|(first, _)| is_same_fault(first, &fault)) {
                Some((_, more)) => *more += 1,
                None => faults.push((fault, 0)),
            },
        }
    }
    for (fault, more) in faults {
        let many = || format!("{more} more templates fail at this place");
        diagnostics.push(if more == 0 { fault } else { fault.hint(many()) });
    }
    (files, read)
}

/// Says whether two templates failed at the same place for the same reason, as callers of one definition do.
fn is_same_fault(first: &Diagnostic, other: &Diagnostic) -> bool {
    first.primary.is_some() && first.primary == other.primary && first.message == other.message
}

/// The root objects of all charts of a tree.
struct Scopes {
    root: Rc<Dict>,
}

impl Scopes {
    fn new(values: &ChartValues, options: &RenderOptions<'_>, sources: &Sources, index: &mut ValueIndex) -> Self {
        let empty = super::tree::TreeMap::new();
        let table = values.values.as_map().unwrap_or(&empty);
        let kind = values_kind(values.chart.helm);
        let dict = if options.track { to_indexed_dict(table, kind, sources, index) } else { to_dict(table, kind) };
        let root_values = Value::Dict(Rc::new(dict));
        let shared = [release_object(&options.release), options.capabilities.object(values.chart.helm)];
        Self { root: scope(&values.chart, root_values, &shared, true) }
    }

    /// Finds the root object of a subchart.
    fn of(&self, path: &[String]) -> Option<Rc<Dict>> {
        path.iter().try_fold(self.root.clone(), |at, name| {
            let subcharts = at.get(b"Subcharts")?;
            subcharts.as_dict()?.get(name.as_bytes())?.as_dict().cloned()
        })
    }
}

/// Returns the type of `.` and `.Values`.
fn values_kind(helm: Helm) -> DictKind {
    match helm {
        Helm::V3 => DictKind::Values,
        Helm::V4 => DictKind::Values4,
    }
}

fn scope(chart: &Chart, values: Value, shared: &[Value; 2], is_root: bool) -> Rc<Dict> {
    let below = |subchart: &Chart| {
        let table = values.as_dict().and_then(|v| v.get(subchart.name().as_bytes()));
        let table = table.filter(|t| t.as_dict().is_some());
        let table = table.unwrap_or_else(|| Value::Dict(Rc::new(Dict::new(values_kind(chart.helm)))));
        (Str::from(subchart.name()), Value::Dict(scope(subchart, table, shared, false)))
    };
    let subcharts = Value::dict(chart.subcharts.iter().map(below));
    let [release, capabilities] = shared;
    Rc::new(Dict::from_entries(
        values_kind(chart.helm),
        [
            (Str::from("Chart"), chart_object(&chart.metadata, is_root, chart.helm)),
            (Str::from("Files"), FilesObject::all(&chart.files)),
            (Str::from("Release"), release.clone()),
            (Str::from("Capabilities"), capabilities.clone()),
            (Str::from("Values"), values),
            (Str::from("Subcharts"), subcharts),
        ],
    ))
}

/// Takes NOTES.txt files out and returns the note that is shown.
fn take_notes(files: &mut Vec<RenderedFile>, chart: &Chart, sub_notes: bool) -> Option<String> {
    let root = format!("{}/templates/NOTES.txt", chart.name());
    let mut shown = Vec::new();
    files.retain(|file| {
        let is_note = file.name.ends_with("NOTES.txt");
        if is_note && (sub_notes || file.name == root) {
            shown.push((file.name != root, file.name.clone(), file.text.clone()));
        }
        !is_note
    });
    shown.sort();
    let texts: Vec<String> = shown.into_iter().map(|(_, _, text)| text).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{LineOrigin, LoadOptions, ValuesInput, compose, load};
    use crate::source::MemoryObjects;

    const META: (&str, &str) = ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n");

    fn render_files(
        files: &[(&'static str, &'static str)],
        change: impl Fn(&mut RenderOptions<'_>),
    ) -> (Rendered, Vec<String>, Sources) {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = MemoryObjects::files(files.iter().copied());
        let options = LoadOptions { project_name: Some("c".into()), ..LoadOptions::default() };
        let chart = load(&mut diagnostics, &sources, &files, "c", &options).expect("a chart");
        let values = compose(&mut diagnostics, &sources, &chart, &ValuesInput::default()).expect("values");
        let jsonnet = JsonnetFolder {
            files: &files,
            path: "c/jsonnet".into(),
            images: serde_json::json!({"web": "repo:tag"}),
            env: Some("dev".into()),
            ext_vars: std::collections::BTreeMap::new(),
            arguments: std::collections::BTreeMap::new(),
        };
        let mut options = RenderOptions { jsonnet: Some(jsonnet), ..RenderOptions::default() };
        change(&mut options);
        let rendered = render(&mut diagnostics, &sources, &values, &options);
        let text = |d: &Diagnostic| {
            let label = d.primary.as_ref().expect("a place");
            let (file, at) = sources.locate(label.span);
            format!("{file}:{}: {} ({})", at.line, d.message, label.text)
        };
        let faults = diagnostics.as_slice().iter().map(text).collect();
        (rendered, faults, sources)
    }

    #[test]
    fn jsonnet_makes_manifests_of_the_same_release() {
        let main = "local s = std.extVar('stagewright');
            { web: { deployment: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: s.release.name },
              spec: { image: s.images.web, replicas: s.values.replicas, env: s.env } } }, none: null }";
        let files = [
            ("c/values.yaml", "replicas: 3"),
            ("c/jsonnet/main.jsonnet", main),
            ("c/jsonnet/lib.libsonnet", "{}"),
            ("c/jsonnet/list.jsonnet", "[{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' } }]"),
            ("c/templates/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}"),
        ];
        let (rendered, faults, _) = render_files(&files, |_| {});
        assert_eq!(faults, [] as [String; 0]);
        assert_eq!(
            rendered.print(&PrintOptions::default()),
            "---\n# Source: c/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n\
             ---\n# Source: c/jsonnet/list.jsonnet#/0\napiVersion: v1\nkind: Service\nmetadata:\n  name: a\n\
             ---\n# Source: c/jsonnet/main.jsonnet#/web/deployment\napiVersion: apps/v1\nkind: Deployment\n\
             metadata:\n  name: release-name\nspec:\n  env: dev\n  image: repo:tag\n  replicas: 3\n"
        );
        assert_eq!(rendered.jsonnet_read, ["c/jsonnet/list.jsonnet", "c/jsonnet/main.jsonnet"]);
        let (_, faults, _) = render_files(&[("c/jsonnet/a.jsonnet", "{ x: 1 }")], |_| {});
        assert!(faults[0].contains("`c/jsonnet/a.jsonnet#/x` is no manifest"), "{faults:?}");
    }

    #[test]
    fn a_fault_in_rendered_text_names_the_template_line() {
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n{{- include \"inner\" . }}\n";
        let inner = "{{ define \"inner\" }}\ndata:\n  k: {{ .Values.text }}\n{{- end }}";
        let files =
            [META, ("c/templates/a.yaml", template), ("c/templates/_i.tpl", inner), ("c/values.yaml", "text: 'a: b'")];
        let (_, faults, _) = render_files(&files, |options| options.track = true);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("c/templates/_i.tpl:3: the rendered manifest is not valid YAML"), "{faults:?}");
        assert!(faults[0].ends_with("(rendered as line 6: k: a: b)"), "{faults:?}");
    }

    #[test]
    fn faults_of_one_template_do_not_hide_those_of_another() {
        let files = [META, ("c/templates/a.yaml", "{{ fail \"one\" }}"), ("c/templates/b.yaml", "{{ .Values.x.y }}")];
        let (_, faults, _) = render_files(&files, |_| {});
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn one_fault_that_many_templates_meet_is_told_once() {
        let bad = "{{ include \"bad\" . }}";
        let files = [
            META,
            ("c/templates/_b.tpl", "{{ define \"bad\" }}{{ .Values.x.y }}{{ end }}"),
            ("c/templates/a.yaml", bad),
            ("c/templates/b.yaml", bad),
            ("c/templates/c.yaml", bad),
        ];
        let (_, faults, _) = render_files(&files, |_| {});
        assert_eq!(faults.len(), 1, "{faults:?}");
    }

    #[test]
    fn lines_know_their_templates() {
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n";
        let (rendered, _, sources) = render_files(&[META, ("c/templates/a.yaml", template)], |o| o.track = true);
        let manifest = rendered.manifests.first().expect("a manifest");
        let line = |line: &LineOrigin| sources.locate(line.span.expect("a place")).1.line;
        assert_eq!(manifest.lines.iter().map(line).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(manifest.text.lines().count(), 4);
    }

    #[test]
    fn reads_of_values_are_told() {
        let template =
            "kind: {{ .Values.web.kind }}\nx: {{ .Values.nope }}{{ with .Values.web.image }}{{ .tag }}{{ end }}";
        let values = "web: {kind: A, image: {tag: v1, name: n}}\nunused: 1";
        let files = [META, ("c/templates/a.yaml", template), ("c/values.yaml", values)];
        let (rendered, _, _) = render_files(&files, |options| options.track = true);
        let read: Vec<&str> = rendered.values_read.iter().map(String::as_str).collect();
        assert_eq!(read, ["nope", "web", "web.image", "web.image.tag", "web.kind"]);
    }

    #[test]
    fn only_some_templates_are_printed() {
        let files = [
            META,
            ("c/templates/a.yaml", "kind: A"),
            ("c/templates/sub/b.yaml", "kind: B"),
            ("c/templates/NOTES.txt", "notes {{ .Release.Name }}"),
        ];
        let (rendered, _, _) = render_files(&files, |options| options.lenient = true);
        assert_eq!(rendered.notes.as_deref(), Some("notes release-name"));
        let mut diagnostics = Diagnostics::new();
        let show_only = vec!["templates/*/b.yaml".to_owned(), "templates/nope.yaml".to_owned()];
        let options = PrintOptions { show_only, ..PrintOptions::default() };
        let printed = rendered.print_only(&mut diagnostics, &options);
        assert_eq!(printed, "---\n# Source: c/templates/sub/b.yaml\nkind: B\n");
        assert_eq!(diagnostics.as_slice().len(), 1);
    }

    #[test]
    fn charts_that_do_not_fit_are_refused() {
        let library = ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\ntype: library\nkubeVersion: '>=9'\n");
        let (_, faults, _) = render_files(&[library], |_| {});
        assert_eq!(faults.len(), 2, "{faults:?}");
        let vendor = ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\nkubeVersion: '>=1.25'\n");
        let gke = Capabilities::default().with_kube_version("v1.29.3-gke.100").expect("a version");
        let (_, faults, _) = render_files(&[vendor], |options| options.capabilities = gke.clone());
        assert_eq!(faults, [] as [String; 0]);
    }
}
