//! Rendering the project's chart with the values of the project.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::analysis::kubernetes::served;
use crate::chart::tree::{Tree, TreeMap};
use crate::chart::{
    self, Additions, Capabilities, Chart, JsonnetFolder, LoadOptions, Release, RenderOptions, Rendered, SecretHost,
    SecretInputs, ValuesInput,
};
use crate::config::Image;
use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::eval::Host;
use crate::plan::{ClusterChart, Sensitive, is_of_the_run, items_of};
use crate::source::{FileId, Sources, normalize_path};
use crate::syntax::yaml;

use super::load::{Project, ProjectInputs};

/// The chart of a project, rendered.
#[derive(Clone, Debug)]
pub struct ProjectRender {
    /// Manifests, hooks and notes.
    pub rendered: Rendered,
    /// Path of the chart in the project.
    pub chart_dir: String,
    /// What the record of a release in a cluster says of the chart.
    pub chart: ClusterChart,
}

/// How the chart is rendered.
#[derive(Clone, Copy, Debug, Default)]
pub struct RenderChoice {
    /// `.Release.IsUpgrade`.
    pub is_upgrade: bool,
    /// `.Release.Revision`; 0 is written as 1.
    pub revision: u64,
    /// Whether every line says where it comes from.
    pub track: bool,
    /// Whether values that nothing reads, reads of what nothing defines and the like are reported; needs `track`.
    pub lint: bool,
}

/// Returns the path of the chart in the project: `deploy.helmChartDir`, or `.helm` beside werf.yaml.
pub fn chart_dir(project: &Project) -> String {
    let beside = project.config.path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let default = format!("{beside}/.helm");
    let chosen = project.config.meta.deploy.chart_dir.as_ref().map_or(default.as_str(), |d| &d.value);
    normalize_path(chosen).unwrap_or_default()
}

/// Returns the folder of Jsonnet files, if there is one: `deploy.jsonnetDir`, or `jsonnet` in the chart.
///
/// `Err` when the folder that is named is not there, which is reported.
pub(super) fn jsonnet_dir(
    diagnostics: &mut Diagnostics,
    project: &Project,
    chart_dir: &str,
) -> Result<Option<String>, ()> {
    let exists = |dir: &str| project.files.entry(dir).ok().flatten().is_some();
    let Some(written) = &project.config.meta.deploy.jsonnet_dir else {
        let default = format!("{chart_dir}/jsonnet");
        return Ok(exists(&default).then_some(default));
    };
    let dir = normalize_path(&written.value).unwrap_or_default();
    if exists(&dir) {
        return Ok(Some(dir));
    }
    let message = format!("the Jsonnet directory `{dir}` is not in the commit");
    let d = Diagnostic::at(&rules::FILE_NOT_FOUND, written.span, message);
    diagnostics.push(d.hint("commit it, or use `--dev`"));
    Err(())
}

/// Renders the chart; `None` when there is no chart, or when it cannot be rendered, which is reported.
pub fn render(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    project: &Project,
    inputs: &ProjectInputs,
    host: &dyn Host,
    choice: RenderChoice,
) -> Option<ProjectRender> {
    let dir = chart_dir(project);
    let jsonnet_dir = jsonnet_dir(diagnostics, project, &dir).ok()?;
    if project.files.entry(&dir).ok().flatten().is_none() && jsonnet_dir.is_none() {
        if let Some(written) = &project.config.meta.deploy.chart_dir {
            let message = format!("the chart directory `{dir}` is not in the commit");
            let d = Diagnostic::at(&rules::FILE_NOT_FOUND, written.span, message);
            diagnostics.push(d.hint("commit it, or use `--dev`"));
        }
        return None;
    }
    let mut found = Diagnostics::new();
    let mut additions = Additions::read(&mut found, sources, &inputs.additions);
    // With them each run would change everything, or nothing would say what wrote it.
    additions.leave_out(is_of_the_run);
    let mut named = ClusterChart::default();
    let rendered = load_chart(&mut found, sources, project, &dir).and_then(|mut chart| {
        let secrets = chart::open_secrets(&mut found, sources, &mut chart, &inputs.secrets);
        hide(sources, &inputs.secrets, &secrets.texts);
        if found.has_errors() {
            return None;
        }
        let read_file = |path: &str| set_file(inputs, path);
        let values = values_input(project, inputs, secrets.values, &read_file);
        named = ClusterChart {
            name: chart.metadata.name.clone(),
            version: chart.metadata.version.clone(),
            app_version: Some(chart.metadata.app_version.clone()).filter(|v| !v.is_empty()),
            values: chart.values.to_json(),
            ..ClusterChart::default()
        };
        let composed = chart::compose(&mut found, sources, &chart, &values)?;
        named.config = Sensitive::new(Tree::from(composed.user.clone()).to_json());
        let host = SecretHost { host, files: &secrets.files };
        let asks = inputs.asks_cluster && (jsonnet_dir.is_some() || asks_for_apis(&composed.chart));
        let apis = if asks { host.api_versions() } else { Ok(None) };
        let apis = apis.map_err(|why| {
            found.push(Diagnostic::in_file(&rules::TEMPLATE_ERROR, dir.as_str(), why));
        });
        let mut options = options_of(project, inputs, &host, choice, (jsonnet_dir.as_deref(), apis.ok()?));
        if asks_for_apis(&composed.chart) {
            add_definitions(&composed.chart, &mut options.capabilities.api_versions);
        }
        options.additions = additions;
        let rendered = chart::render_explained(&mut found, sources, &composed, &options);
        hide(sources, &inputs.secrets, &options.host.secrets());
        if choice.lint && !found.has_errors() {
            chart::check_nulls(&mut found, &chart, &composed, &values);
            let renderings = [(composed, rendered)];
            chart::check_values(&mut found, sources, &renderings);
            return renderings.into_iter().next().map(|(_, rendered)| rendered);
        }
        Some(rendered)
    });
    let failed = found.has_errors();
    if inputs.env.is_none() {
        found.as_slice().iter().for_each(|fault| diagnostics.push(with_env_hint(fault.clone(), sources)));
    } else {
        diagnostics.extend(found);
    }
    let rendered = rendered.filter(|_| !failed)?;
    named.notes = Sensitive::new(rendered.notes.clone().unwrap_or_default());
    Some(ProjectRender { rendered, chart_dir: dir, chart: named })
}

/// Loads the chart of a project.
pub(super) fn load_chart(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    project: &Project,
    dir: &str,
) -> Option<Chart> {
    let options = LoadOptions {
        project_name: Some(project.name().to_owned()),
        app_version: project.config.meta.deploy.app_version.as_ref().map(|v| v.value.clone()),
        ..LoadOptions::default()
    };
    chart::load(diagnostics, sources, &project.files, dir, &options)
}

/// Reads a file that `--set-file` names.
pub(super) fn set_file(inputs: &ProjectInputs, path: &str) -> Result<Vec<u8>, String> {
    inputs.set_files.get(path).cloned().ok_or_else(|| format!("`{path}` cannot be read"))
}

/// Returns what is laid over the defaults of the chart.
pub(super) fn values_input<'a>(
    project: &Project,
    inputs: &ProjectInputs,
    secrets: Vec<TreeMap>,
    read_file: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> ValuesInput<'a> {
    ValuesInput {
        files: inputs.values_files.iter().map(|f| (f.name.clone(), Arc::from(f.bytes.as_slice()))).collect(),
        sets: inputs.sets.clone(),
        nulls: inputs.nulls,
        secrets,
        service: Tree::from_json(&service_values(project, inputs), None).into_map().unwrap_or_default(),
        read_file,
        ..ValuesInput::default()
    }
}

/// Sees to it that secret texts are shown nowhere, whatever happens next.
pub(super) fn hide(sources: &Sources, inputs: &SecretInputs, texts: &[String]) {
    let mask = sources.mask();
    let mask = inputs.key.key().map_or_else(|| mask.clone(), |key| key.of_mask(&mask));
    sources.hide(mask.with(texts));
}

/// Adds what to do to a fault in a line that reads the environment, where none is named: it is empty there.
fn with_env_hint(fault: Diagnostic, sources: &Sources) -> Diagnostic {
    let reads_env = fault.primary.as_ref().is_some_and(|label| {
        let file = sources.get(label.span.file);
        let (before, after) = file.text().split_at_checked(label.span.start as usize).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = [before.get(start..).unwrap_or_default(), after.lines().next().unwrap_or_default()].concat();
        [".global.env", ".werf.env"].iter().any(|read| line.contains(read))
    });
    if fault.severity < Severity::Error || !reads_env {
        return fault;
    }
    fault.hint("this line reads the environment, and none is named: name one with `--env`")
}

/// Says whether templates of a chart ask for more of the cluster than its version.
fn asks_for_apis(chart: &Chart) -> bool {
    let asks = |text: &str| text.matches("Capabilities").count() > text.matches("Capabilities.KubeVersion").count();
    chart.templates.iter().any(|file| asks(&String::from_utf8_lossy(file.content.bytes())))
        || chart.subcharts.iter().any(asks_for_apis)
}

/// Adds what the definitions in `crds/` of a chart and its subcharts bring: they are there before all else is. Source: Helm,
/// which makes them, and asks then.
fn add_definitions(chart: &Chart, apis: &mut Vec<String>) {
    for file in chart.crds() {
        let text = String::from_utf8_lossy(file.content.bytes());
        // What cannot be read is reported where it is wanted.
        let nodes = yaml::decode_all(&text, FileId(u32::MAX), 0, yaml::Options::MANIFESTS).unwrap_or_default();
        let documents = nodes.iter().map(yaml::Node::to_plain);
        for data in documents.flat_map(|data| items_of(&data).cloned().unwrap_or_else(|| vec![data])) {
            let text = |value: &serde_json::Value, pointer: &str| {
                value.pointer(pointer).and_then(|v| v.as_str()).map(str::to_owned).unwrap_or_default()
            };
            let (group, kind) = (text(&data, "/spec/group"), text(&data, "/spec/names/kind"));
            let versions = data.pointer("/spec/versions").and_then(|v| v.as_array()).into_iter().flatten();
            let served = versions.filter(|v| v.get("served").is_none_or(|served| served == true));
            for version in served.map(|version| text(version, "/name")).filter(|name| !name.is_empty()) {
                apis.extend([format!("{group}/{version}"), format!("{group}/{version}/{kind}")]);
            }
        }
    }
    chart.subcharts.iter().for_each(|subchart| add_definitions(subchart, apis));
}

fn options_of<'a>(
    project: &'a Project,
    inputs: &ProjectInputs,
    host: &'a dyn Host,
    choice: RenderChoice,
    (jsonnet_dir, apis): (Option<&str>, Option<Vec<String>>),
) -> RenderOptions<'a> {
    let mut capabilities = Capabilities::default();
    if let Some(version) = &inputs.kube_version {
        capabilities.kube_version = if version.starts_with('v') { version.clone() } else { format!("v{version}") };
    }
    // Unlike Helm without a cluster, which knows groups alone, and among them many that no cluster serves any more.
    let known = || served(&capabilities.kube_version).into_iter().collect();
    capabilities.api_versions = apis.unwrap_or_else(known);
    capabilities.api_versions.extend(inputs.api_versions.iter().cloned());
    RenderOptions {
        release: Release {
            name: project.names.release.clone(),
            namespace: project.names.namespace.clone(),
            revision: i64::try_from(choice.revision.max(1)).unwrap_or(i64::MAX),
            is_upgrade: choice.is_upgrade,
        },
        track: choice.track,
        capabilities,
        host,
        now: inputs.now,
        include_crds: true,
        werf_functions: true,
        jsonnet: jsonnet_dir.map(|path| JsonnetFolder {
            files: &project.files,
            path: path.to_owned(),
            images: match &inputs.bundle {
                Some(opened) => opened.references(),
                None => image_map(project, |reference| reference),
            },
            env: inputs.env.clone(),
            ext_vars: inputs.jsonnet.ext_vars.clone(),
            arguments: inputs.jsonnet.arguments.clone(),
        }),
        ..RenderOptions::default()
    }
}

fn final_images(project: &Project) -> impl Iterator<Item = (&str, String)> {
    let finals = project.images.iter().filter(|i| i.is_final);
    finals.map(|i| (i.name.as_str(), project.tag_of(i)))
}

fn image_map(project: &Project, make: impl Fn(String) -> String) -> Value {
    let named = final_images(project).filter(|(name, _)| !name.is_empty());
    let map: Map<String, Value> =
        named.map(|(name, tag)| (name.to_owned(), Value::String(make(project.reference(&tag))))).collect();
    Value::Object(map)
}

/// Returns what werf puts under `werf` and `global`; digests are not among it: they are known only after the build.
///
/// Source: werf 2.x, service values.
pub fn service_values(project: &Project, inputs: &ProjectInputs) -> Value {
    if let Some(opened) = &inputs.bundle {
        let (version, env) = (env!("CARGO_PKG_VERSION"), inputs.env.as_deref());
        return opened.bundle.service_values(version, &project.names.namespace, env);
    }
    let tags: Map<String, Value> = final_images(project)
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, tag)| (name.to_owned(), Value::String(tag)))
        .collect();
    let date =
        json!({ "human": inputs.commit.date_human, "unix": inputs.commit.date_unix.parse::<i64>().unwrap_or(0) });
    let mut common = Map::new();
    common.insert("name".into(), json!(project.name()));
    common.insert("version".into(), json!(env!("CARGO_PKG_VERSION")));
    common.insert("repo".into(), json!(project.repo_address));
    // Empty where none is named, so that templates may compare it. Source: werf 2.x, stubs of `render` and `lint`.
    let env = inputs.env.as_deref().unwrap_or("");
    common.insert("env".into(), json!(env));
    common.insert("namespace".into(), json!(project.names.namespace));
    common.insert("commit".into(), json!({ "hash": inputs.commit.hash, "date": date }));
    let mut werf = common.clone();
    werf.insert("image".into(), image_map(project, |reference| reference));
    werf.insert("tag".into(), Value::Object(tags));
    let nameless: Vec<&Image> =
        project.config.images.iter().filter(|i| i.is_final && i.name.value.is_empty()).collect();
    if !nameless.is_empty()
        && let Some((_, tag)) = final_images(project).find(|(name, _)| name.is_empty())
    {
        werf.insert("is_nameless_image".into(), json!(true));
        werf.insert("nameless_image".into(), json!(project.reference(&tag)));
    }
    let images: Map<String, Value> = final_images(project)
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, tag)| (name.to_owned(), chart::image_parts(&project.repo_address, &tag, None)))
        .collect();
    common.insert("images".into(), Value::Object(images));
    let mut global = Map::new();
    global.insert("env".into(), json!(env));
    global.insert("werf".into(), Value::Object(common));
    json!({ "werf": werf, "global": global })
}
