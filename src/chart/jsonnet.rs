//! Jsonnet beside templates: files that make manifests of the same release, and charts that they render.
//!
//! What lives here: which files are evaluated and what they are told, which data is a manifest, and
//! `std.native('helmTemplate')`. What does not: the evaluator (`eval::jsonnet`).
//!
//! The one idea: a result is searched for objects with `apiVersion` and `kind`, so any shape of libraries will do.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::diag::rules::{CHART_FILES, JSONNET_ERROR};
use crate::diag::{Diagnostic, Diagnostics};
use crate::digest::Sha224Digest;
use crate::eval::jsonnet::{External, HelmCall, JsonnetInput, evaluate};
use crate::eval::{FuncError, Host, NoHost, RenderEnv, SetOptions, TemplateSet, Value, on_deep_stack};
use crate::source::{FileId, Files, Sources, Span};

use super::HookEvent;
use super::load::{LoadOptions, load, load_archive};
use super::manifest::{Manifest, RenderedFile};
use super::objects::{Capabilities, to_value};
use super::render::{Release, RenderOptions, render};
use super::tree::Tree;
use super::values::{ChartValues, ValuesInput, compose};

/// A folder of Jsonnet files and what they are told.
#[derive(Clone, Debug)]
pub struct JsonnetFolder<'a> {
    /// The project's tree, which imports read.
    pub files: &'a Files,
    /// The folder: every `*.jsonnet` directly in it is evaluated.
    pub path: String,
    /// `std.extVar('stagewright').images`.
    pub images: Json,
    /// `std.extVar('stagewright').env`.
    pub env: Option<String>,
    /// Further external variables.
    pub ext_vars: BTreeMap<String, External>,
    /// Arguments for files that are functions.
    pub arguments: BTreeMap<String, External>,
}

/// Evaluates the files of a Jsonnet folder; every object with `apiVersion` and `kind` is a manifest.
pub fn render_jsonnet(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    folder: &JsonnetFolder<'_>,
    values: &ChartValues,
    options: &RenderOptions<'_>,
    files: &mut Vec<RenderedFile>,
) -> Vec<String> {
    let release = &options.release;
    let input = serde_json::json!({
        "values": values.values.to_json(),
        "release": {
            "name": release.name,
            "namespace": release.namespace,
            "revision": release.revision,
            "isInstall": !release.is_upgrade,
            "isUpgrade": release.is_upgrade,
        },
        "images": folder.images,
        "env": folder.env,
    });
    let mut ext_vars = folder.ext_vars.clone();
    ext_vars.insert("stagewright".to_owned(), External::Data(input));
    let mut read = BTreeSet::new();
    let charts = Charts::new(sources, folder.files, options);
    for entry in jsonnet_files(folder) {
        let helm_template = charts.clone();
        let input = JsonnetInput {
            files: folder.files,
            entry: &entry,
            ext_vars: &ext_vars,
            arguments: &folder.arguments,
            helm_template: Some(Rc::new(move |call: &HelmCall| helm_template.render(call))),
        };
        let Some(output) = evaluate(diagnostics, sources, &input) else { continue };
        let text = folder.files.read(&entry).unwrap_or_default();
        let file = sources.add(entry.as_str(), String::from_utf8_lossy(&text));
        read.extend(output.read);
        let base = entry.rsplit('/').next().unwrap_or(&entry);
        let name = format!("{}/jsonnet/{base}", values.chart.name());
        leaves(diagnostics, &output.value, &name, file, files);
    }
    read.into_iter().collect()
}

fn jsonnet_files(folder: &JsonnetFolder<'_>) -> Vec<String> {
    let Ok(Some((_, entry))) = folder.files.resolve(&folder.path) else { return Vec::new() };
    let Ok(tree) = folder.files.objects().tree(entry.id) else { return Vec::new() };
    let names = tree.entries().iter().map(|e| e.name.to_string()).filter(|name| name.ends_with(".jsonnet"));
    names.map(|name| format!("{}/{name}", folder.path)).collect()
}

/// Collects manifests from nested maps and lists; the path to each is part of its name.
fn leaves(diagnostics: &mut Diagnostics, value: &Json, name: &str, file: FileId, files: &mut Vec<RenderedFile>) {
    let inner = |key: &str| format!("{name}{}/{key}", if name.contains('#') { "" } else { "#" });
    match value {
        Json::Null => {}
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(diagnostics, item, &inner(&index.to_string()), file, files);
            }
        }
        Json::Object(map) if map.contains_key("apiVersion") && map.contains_key("kind") => {
            let tree = Tree::from_json(value, None);
            match crate::eval::functions::yaml::yaml_text(&to_value(&tree)) {
                Ok(text) => {
                    let template = Some(file);
                    files.push(RenderedFile { name: name.to_owned(), text, template, ..RenderedFile::default() });
                }
                Err(message) => {
                    let span = Span::new(file, 0, 0);
                    let message = format!("`{name}` cannot be written as YAML: {message}");
                    diagnostics.push(Diagnostic::at(&JSONNET_ERROR, span, message));
                }
            }
        }
        Json::Object(map) => {
            for (key, item) in map {
                leaves(diagnostics, item, &inner(key), file, files);
            }
        }
        Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            let span = Span::new(file, 0, 0);
            let message = format!("`{name}` is no manifest: objects with `apiVersion` and `kind` are expected");
            diagnostics.push(Diagnostic::at(&JSONNET_ERROR, span, message));
        }
    }
}

/// What charts rendered from Jsonnet share with the release.
///
/// Owned, because the evaluator keeps its natives by itself.
#[derive(Clone)]
struct Charts {
    sources: Sources,
    files: Files,
    release: Release,
    capabilities: Capabilities,
    now: Duration,
    host: Rc<SeededHost>,
}

/// A host that answers as a world without a cluster, with chance from one seed.
struct SeededHost {
    seed: [u8; 32],
    drawn: AtomicU64,
}

impl Host for SeededHost {
    fn call(&self, function: &str, args: &[Value]) -> Result<Value, FuncError> {
        NoHost.call(function, args)
    }

    fn random(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(28) {
            let drawn = self.drawn.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            let block = Sha224Digest::of_bytes(&[self.seed.as_slice(), drawn.as_slice()].concat());
            chunk.iter_mut().zip(block.bytes()).for_each(|(to, from)| *to = from);
        }
    }
}

/// Source: Tanka, `helmTemplate`.
const NAME_FORMAT: &str = "{{ print .kind \"_\" .metadata.name | snakecase }}";

impl Charts {
    fn new(sources: &Sources, files: &Files, options: &RenderOptions<'_>) -> Self {
        let mut seed = [0; 32];
        options.host.random(&mut seed);
        Self {
            sources: sources.clone(),
            files: files.clone(),
            release: options.release.clone(),
            capabilities: options.capabilities.clone(),
            now: options.now,
            host: Rc::new(SeededHost { seed, drawn: AtomicU64::new(0) }),
        }
    }

    /// Renders a chart of the project; the result maps `kind_name` to each manifest. Source: Tanka, `helmTemplate`.
    fn render(&self, call: &HelmCall) -> Result<Json, Diagnostics> {
        let mut found = Diagnostics::new();
        let result = Choice::read(&call.options).map_err(|message| {
            found.push(Diagnostic::in_file(&JSONNET_ERROR, &call.from, format!("helmTemplate: {message}")));
        });
        let manifests = result.ok().and_then(|choice| self.manifests(&mut found, call, choice));
        match manifests {
            Some(map) if !found.has_errors() => Ok(Json::Object(map)),
            Some(_) | None => Err(found),
        }
    }

    fn manifests(&self, found: &mut Diagnostics, call: &HelmCall, choice: Choice) -> Option<Map<String, Json>> {
        let chart = self.chart(found, call)?;
        let values = ValuesInput {
            files: vec![("helmTemplate values".to_owned(), choice.values.to_string().into_bytes().into())],
            ..ValuesInput::default()
        };
        let values = compose(found, &self.sources, &chart, &values)?;
        let mut capabilities = self.capabilities.clone();
        if let Some(version) = &choice.kube_version {
            let Some(told) = capabilities.clone().with_kube_version(version) else {
                let message = format!("helmTemplate: kubeVersion `{version}` is not a version");
                found.push(Diagnostic::in_file(&JSONNET_ERROR, &call.from, message));
                return None;
            };
            capabilities = told;
        }
        capabilities.api_versions.extend(choice.api_versions);
        let options = RenderOptions {
            release: Release {
                name: call.name.clone(),
                namespace: choice.namespace.unwrap_or_else(|| self.release.namespace.clone()),
                ..self.release.clone()
            },
            capabilities,
            host: &*self.host,
            now: self.now,
            include_crds: choice.include_crds,
            ..RenderOptions::default()
        };
        let rendered = render(found, &self.sources, &values, &options);
        let hooks = rendered
            .hooks
            .iter()
            .filter(|hook| !(choice.no_hooks || choice.skip_tests && hook.runs_at(HookEvent::Test)));
        let mut named = Vec::new();
        for (name, text) in &rendered.crds {
            let file = self.sources.add(name.as_str(), text.as_str());
            let options = crate::syntax::yaml::Options::MANIFESTS;
            let nodes = crate::syntax::yaml::parse_documents(found, &self.sources, file, options);
            named.extend(nodes.iter().filter(|n| !n.is_null()).map(crate::syntax::yaml::Node::to_plain));
        }
        let has_data = |m: &&Manifest| !m.data.is_null();
        named.extend(rendered.manifests.iter().chain(hooks).filter(has_data).map(|m| m.data.clone()));
        self.keyed(found, call, &choice.name_format, named)
    }

    fn chart(&self, found: &mut Diagnostics, call: &HelmCall) -> Option<super::load::Chart> {
        if call.chart.ends_with(".tgz") {
            return match self.files.read(&call.chart) {
                Ok(bytes) => load_archive(found, &self.sources, &call.chart, &bytes),
                Err(error) => {
                    found.push(Diagnostic::in_file(&CHART_FILES, &call.chart, error.to_string()));
                    None
                }
            };
        }
        load(found, &self.sources, &self.files, &call.chart, &LoadOptions::default())
    }

    fn keyed(
        &self,
        found: &mut Diagnostics,
        call: &HelmCall,
        format: &str,
        manifests: Vec<Json>,
    ) -> Option<Map<String, Json>> {
        let file = self.sources.add("nameFormat", format);
        let mut set = TemplateSet::new(SetOptions::helm());
        set.parse(found, &self.sources, "nameFormat", file);
        if found.has_errors() {
            return None;
        }
        let env = RenderEnv { host: &NoHost, now: self.now, sources: &self.sources, track: false };
        let keys = on_deep_stack(|| {
            let mut session = set.session(env);
            let mut key_of = |data: &Json| {
                let rendered = session.render("nameFormat", to_value(&Tree::from_json(data, None)));
                rendered.map(|r| String::from_utf8_lossy(&r.text).into_owned()).map_err(|e| e.to_diagnostic())
            };
            manifests.iter().map(&mut key_of).collect::<Vec<_>>()
        });
        let mut map = Map::new();
        for (key, data) in keys.into_iter().zip(manifests) {
            match key {
                Ok(key) if map.contains_key(&key) => {
                    let message = format!("helmTemplate: two manifests of `{}` are named `{key}`", call.chart);
                    let hint = "give `nameFormat` a template that tells them apart";
                    found.push(Diagnostic::in_file(&JSONNET_ERROR, &call.from, message).hint(hint));
                }
                Ok(key) => drop(map.insert(key, data)),
                Err(fault) => found.push(fault),
            }
        }
        Some(map)
    }
}

/// The third argument of `helmTemplate`.
struct Choice {
    values: Json,
    namespace: Option<String>,
    include_crds: bool,
    kube_version: Option<String>,
    api_versions: Vec<String>,
    no_hooks: bool,
    skip_tests: bool,
    name_format: String,
}

impl Choice {
    fn read(options: &Json) -> Result<Self, String> {
        let mut choice = Self {
            values: Json::Object(Map::new()),
            namespace: None,
            include_crds: true,
            kube_version: None,
            api_versions: Vec::new(),
            no_hooks: false,
            skip_tests: false,
            name_format: NAME_FORMAT.to_owned(),
        };
        let Some(options) = options.as_object() else { return Err("the options must be an object".to_owned()) };
        for (key, value) in options {
            let wrong = |wanted: &str| format!("`{key}` must be {wanted}");
            let text = || value.as_str().map(str::to_owned).ok_or_else(|| wrong("a string"));
            let flag = || value.as_bool().ok_or_else(|| wrong("true or false"));
            match key.as_str() {
                "values" if value.is_object() => choice.values = value.clone(),
                "values" => return Err(wrong("an object")),
                "namespace" => choice.namespace = Some(text()?),
                "includeCrds" => choice.include_crds = flag()?,
                "kubeVersion" => choice.kube_version = Some(text()?),
                "apiVersions" => {
                    let list = value.as_array().ok_or_else(|| wrong("a list of strings"))?;
                    let texts = list.iter().map(|v| v.as_str().map(str::to_owned));
                    choice.api_versions = texts.collect::<Option<_>>().ok_or_else(|| wrong("a list of strings"))?;
                }
                "noHooks" => choice.no_hooks = flag()?,
                "skipTests" => choice.skip_tests = flag()?,
                "nameFormat" => choice.name_format = text()?,
                "calledFrom" => drop(text()?),
                _ => {
                    return Err(format!(
                        "there is no option `{key}`; there are values, namespace, includeCrds, kubeVersion, \
                         apiVersions, noHooks, skipTests, nameFormat and calledFrom"
                    ));
                }
            }
        }
        Ok(choice)
    }
}
