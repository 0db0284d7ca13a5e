//! Checking: everything that can be found without a store or a target; `lint` and the editor call the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::analysis::images::{ImageFact, report_unknown, report_unused};
use crate::analysis::kubernetes::{Extent, Release, check_release};
use crate::analysis::{dockerfile, helpers};
use crate::chart::strvals::SetKind;
use crate::chart::tree::TreeMap;
use crate::chart::{self, Capabilities, LoadOptions, Nulls, RenderOptions, Rendered, ValuesInput};
use crate::config::{INCLUDES_FILE, ImageIndex};
use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::eval::Host;
use crate::source::{FileId, Files, Sources, normalize_path};
use crate::stage::BUILD_PLATFORM;
use crate::syntax::dockerfile::{Build, Target, parse, platform_args};

use super::load::{Project, ProjectInputs, load};
use super::plan::report_directives;
use super::render::{ProjectRender, RenderChoice, chart_dir, render};

/// Loads, signs and renders a project and reports every fault that can be found.
///
/// Returns how many of the findings come from loading and rendering: with an error among them nothing can be planned.
pub fn check(diagnostics: &mut Diagnostics, sources: &Sources, inputs: &ProjectInputs, host: &dyn Host) -> usize {
    let inputs = &ProjectInputs { checks_only: true, ..inputs.clone() };
    let Some(project) = load(diagnostics, sources, inputs) else { return diagnostics.as_slice().len() };
    check_images(diagnostics, sources, &project);
    let choice = RenderChoice { track: true, lint: true, ..RenderChoice::default() };
    let made = render(diagnostics, sources, &project, inputs, host, choice);
    let needed = diagnostics.as_slice().len();
    report_directives(diagnostics, made.as_ref());
    let (chart, templates) = (format!("{}/templates/", chart_dir(&project)), format!("{}/", inputs.templates_dir));
    let shares = shares_templates(inputs);
    let is_own = |path: &str| path.starts_with(&chart) || (!shares && path.starts_with(&templates));
    check_helpers(diagnostics, sources, is_own);
    if let Some(made) = made {
        check_render(diagnostics, sources, &project, inputs, &made);
    }
    needed
}

/// Reports what is wrong or risky in images that are read without a fault.
fn check_images(diagnostics: &mut Diagnostics, sources: &Sources, project: &Project) {
    let config = &project.config;
    let needed: BTreeSet<ImageIndex> = config.graph.edges.iter().map(|edge| edge.needed).collect();
    let mut builds: BTreeMap<String, Vec<Build>> = BTreeMap::new();
    for (index, image) in config.images.iter().enumerate() {
        if !image.is_final && !needed.contains(&ImageIndex(index)) {
            let message = format!("no image needs the image `{}`, and no manifest can", image.shown_name());
            let found = Diagnostic::at(&rules::UNUSED_IMAGE, image.name.span, message);
            diagnostics.push(found.hint("take it out, or take out `final: false`"));
        }
        let spec = image.image_spec.iter().flat_map(|spec| &spec.env);
        let section = image.stapel().and_then(|stapel| stapel.docker.as_ref()).into_iter().flat_map(|d| &d.env);
        for (name, value) in spec.chain(section) {
            dockerfile::check_setting(diagnostics, name, &value.value, value.span);
        }
        let Some(docker) = image.dockerfile() else { continue };
        for (name, value) in &docker.args {
            dockerfile::check_setting(diagnostics, name, &value.value.value, value.value.span);
        }
        let platform = image.platforms.first().map_or("linux/amd64", |platform| platform.value.as_str());
        let mut build = Build {
            target: docker.target.as_ref().map(|target| Target { text: target.value.clone(), span: None }),
            args: docker.args.iter().map(|(name, value)| (name.clone(), value.value.value.clone())).collect(),
            platform: platform_args(platform, BUILD_PLATFORM),
        };
        // An image of the project has a signature for a tag.
        let known = image.dependencies.iter().flat_map(|dependency| &dependency.imports);
        build.args.extend(known.map(|import| (import.target.value.clone(), "image:signature".to_owned())));
        let path = normalize_path(&format!("{}/{}", docker.context.value, docker.dockerfile.value)).unwrap_or_default();
        builds.entry(path).or_default().push(build);
    }
    let mut files: BTreeMap<String, FileId> = BTreeMap::new();
    for (id, file) in sources.all() {
        files.entry(file.path().to_owned()).or_insert(id);
    }
    for (path, builds) in &builds {
        let Some(id) = files.get(path) else { continue };
        let text = sources.get(*id).text().clone();
        // Its faults are reported already.
        let parsed = parse(&mut Diagnostics::new(), *id, &text);
        dockerfile::check(diagnostics, &parsed, builds);
    }
}

/// Says whether there are other configurations beside werf.yaml, which use the same templates.
fn shares_templates(inputs: &ProjectInputs) -> bool {
    let files = inputs.project_files();
    let names = files.and_then(|files| files.objects().tree(files.root()).ok());
    let other = |name: &str| {
        let is_known = ["werf.yaml", "werf.yml", INCLUDES_FILE].contains(&name) || name == inputs.giterminism_path;
        let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        name.starts_with("werf") && is_yaml && !is_known
    };
    inputs.config_path.is_some() || names.is_some_and(|tree| tree.entries().iter().any(|entry| other(&entry.name)))
}

/// Reports helpers of own templates that nothing includes.
fn check_helpers(diagnostics: &mut Diagnostics, sources: &Sources, is_own: impl Fn(&str) -> bool) {
    let all = sources.all();
    helpers::report_unused(diagnostics, all.iter().map(|(id, file)| (*id, &**file)), is_own);
}

/// Reports what is wrong or risky in what the chart of a project renders to.
fn check_render(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    project: &Project,
    inputs: &ProjectInputs,
    made: &ProjectRender,
) {
    check_release(diagnostics, sources, &release(inputs, &made.rendered), Extent::All);
    let tag = |name: &str| project.images.iter().find(|i| i.name == name).map(|i| i.signature.to_string());
    let named = project.config.images.iter().filter(|i| i.is_final && !i.name.value.is_empty());
    let facts: Vec<ImageFact<'_>> = named
        .filter_map(|i| {
            let name = i.name.value.as_str();
            Some(ImageFact { name, tag: tag(name)?, span: Some(i.name.span) })
        })
        .collect();
    let manifests = || made.rendered.manifests.iter().chain(&made.rendered.hooks);
    report_unused(diagnostics, &facts, manifests());
    report_unknown(diagnostics, sources, &facts, manifests(), &made.rendered.values_read);
}

/// Reports what the API server would refuse in a rendering; it is made again with places when there is any.
pub(super) fn report_refused(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    (project, inputs, host): (&Project, &ProjectInputs, &dyn Host),
    choice: RenderChoice,
    made: &ProjectRender,
) {
    let mut found = Diagnostics::new();
    check_release(&mut found, sources, &release(inputs, &made.rendered), Extent::Errors);
    if found.has_errors() && !choice.track {
        let choice = RenderChoice { track: true, ..choice };
        if let Some(made) = render(&mut Diagnostics::new(), sources, project, inputs, host, choice) {
            found = Diagnostics::new();
            check_release(&mut found, sources, &release(inputs, &made.rendered), Extent::Errors);
        }
    }
    // what the server cannot read at all stops a plan; of the rest the server itself has the last word
    let certain = [
        rules::MANIFEST_WRONG_TYPE.name,
        rules::MANIFEST_MISSING_FIELD.name,
        rules::MANIFEST_UNKNOWN_KIND.name,
        rules::MANIFEST_SELECTOR.name,
    ];
    for diagnostic in found.as_slice() {
        let mut diagnostic = diagnostic.clone();
        if !certain.contains(&diagnostic.rule.name) {
            diagnostic.severity = Severity::Warning;
        }
        diagnostics.push(diagnostic);
    }
}

/// Returns a rendering as the checks of manifests take it.
fn release<'a>(inputs: &ProjectInputs, rendered: &'a Rendered) -> Release<'a> {
    Release {
        manifests: &rendered.manifests,
        hooks: &rendered.hooks,
        crds: &rendered.crds,
        kube_version: inputs.kube_version.clone().unwrap_or_else(|| Capabilities::default().kube_version),
        version_is_given: inputs.kube_version.is_some(),
    }
}

/// A chart without a project.
pub struct ChartInputs<'a> {
    /// The files around the chart.
    pub files: &'a Files,
    /// The chart's folder in them.
    pub path: &'a str,
    /// `-f`: name and content.
    pub values_files: Vec<(String, Arc<[u8]>)>,
    /// `--set` and its family, in order.
    pub sets: Vec<(SetKind, String)>,
    /// What a null in values means.
    pub nulls: Nulls,
    /// Reads what `--set-file` names.
    pub read_file: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// `.Capabilities`.
    pub capabilities: Capabilities,
    /// The time. Unit: since the Unix epoch, UTC.
    pub now: Duration,
}

/// Loads a chart and renders it with its defaults and with each `ci/*-values.yaml`; reports every fault.
///
/// That the defaults alone are refused by `required` or `fail` is a note: such a chart wants values.
///
/// Returns how many of the findings come from loading and rendering.
pub fn check_chart(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    inputs: &ChartInputs<'_>,
    host: &dyn Host,
) -> usize {
    let Some(chart) = chart::load(diagnostics, sources, inputs.files, inputs.path, &LoadOptions::default()) else {
        return diagnostics.as_slice().len();
    };
    if chart.metadata.is_library() {
        return diagnostics.as_slice().len();
    }
    let is_example = |name: &str| name.starts_with("ci/") && name.ends_with("-values.yaml");
    let examples = chart.files.iter().filter(|f| is_example(&f.name)).map(|f| {
        let name = if inputs.path.is_empty() { f.name.clone() } else { format!("{}/{}", inputs.path, f.name) };
        f.content.shared().map(|bytes| vec![(name, bytes)]).unwrap_or_default()
    });
    let is_bare = inputs.values_files.is_empty() && inputs.sets.is_empty();
    let mut renderings = Vec::new();
    for (number, files) in std::iter::once(inputs.values_files.clone()).chain(examples).enumerate() {
        let values = ValuesInput {
            files,
            sets: if number == 0 { inputs.sets.clone() } else { Vec::new() },
            nulls: inputs.nulls,
            read_file: inputs.read_file,
            ..ValuesInput::default()
        };
        let mut found = Diagnostics::new();
        let composed = chart::compose(&mut found, sources, &chart, &values);
        if let Some(composed) = composed.as_ref().filter(|_| number == 0) {
            chart::check_nulls(&mut found, &chart, composed, &values);
        }
        let options = RenderOptions {
            capabilities: inputs.capabilities.clone(),
            host,
            now: inputs.now,
            track: true,
            include_crds: true,
            ..RenderOptions::default()
        };
        let rendered = composed.map(|mut composed| {
            let rendered = chart::render(&mut found, sources, &composed, &options);
            if number > 0 {
                composed.user = TreeMap::new();
            }
            (composed, rendered)
        });
        for mut diagnostic in found.into_sorted(sources) {
            let refused = matches!(diagnostic.rule.name, "template-error" | "values-invalid");
            if number == 0 && is_bare && refused {
                diagnostic.severity = Severity::Note;
                diagnostic.message += " (rendered with the defaults of the chart)";
            }
            diagnostics.push(diagnostic);
        }
        renderings.extend(rendered);
    }
    let needed = diagnostics.as_slice().len();
    let templates =
        if inputs.path.is_empty() { "templates/".to_owned() } else { format!("{}/templates/", inputs.path) };
    check_helpers(diagnostics, sources, |path| path.starts_with(&templates));
    for (_, rendered) in &renderings {
        let release = Release {
            manifests: &rendered.manifests,
            hooks: &rendered.hooks,
            crds: &rendered.crds,
            version_is_given: inputs.capabilities.kube_version != Capabilities::default().kube_version,
            kube_version: inputs.capabilities.kube_version.clone(),
        };
        check_release(diagnostics, sources, &release, Extent::All);
    }
    chart::check_values(diagnostics, sources, &renderings);
    needed
}
