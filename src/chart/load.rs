//! Loads charts: from a tree of files or from an archive, with all their subcharts.
//!
//! What lives here: the folder layout, `.helmignore`, archives and their limits. What does not: which subcharts
//! are switched on (`dependencies`) and values (`values`).
//!
//! The one idea: a folder and an archive are both a list of named files; a chart is made of such a list, and the
//! files below `charts/NAME/` are again such a list.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use crate::diag::rules::{CHART_ARCHIVE, CHART_FILES, CHART_METADATA, HELMIGNORE_NEGATION, VALUES_FILE};
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::glob::HelmIgnore;
use crate::source::{Entry, FileId, Files, FilesError, Mode, ObjectId, Sources, Span};
use crate::syntax::yaml::{self, Node};

use super::content::Content;
use super::helm::Helm;
use super::metadata::Metadata;
use super::parsed::ParsedTemplates;
use super::tree::{Tree, TreeMap};
use super::values::merge;

/// The largest file of a chart that is read. Unit: bytes. Source: Helm's default.
pub(super) const MAX_FILE: u64 = 5 << 20;
/// The largest sum of the files of an archive. Unit: bytes. Source: Helm's default.
const MAX_ARCHIVE: u64 = 100 << 20;
/// How many files a chart may have.
const MAX_FILES: usize = 100_000;
/// How many folders a chart may have; links make more of them than there are.
const MAX_FOLDERS: usize = 20_000;
/// How deep values may nest; layers are laid by recursion.
const MAX_VALUES_DEPTH: usize = 250;
/// How deep subcharts may nest.
const MAX_NESTING: usize = 20;

/// A chart as loaded, its subcharts included.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What Chart.yaml says.
    pub metadata: Metadata,
    /// What values.yaml says.
    pub values: Tree,
    /// values.schema.json.
    pub schema: Option<ChartFile>,
    /// The files below `templates/`, named from the chart's folder.
    pub templates: Arc<[ChartFile]>,
    /// The files that `.Files` shows, by name.
    pub files: Arc<[ChartFile]>,
    /// The charts below `charts/`.
    pub subcharts: Vec<Chart>,
    /// The folder or archive, as diagnostics show it.
    pub place: String,
    /// How names of templates begin (`web/charts/db`); empty until dependencies are decided.
    pub path: String,
    /// The Helm that it is loaded and rendered as.
    pub helm: Helm,
    /// What its renderings share.
    pub(super) parsed: ParsedTemplates,
}

/// A file of a chart.
#[derive(Clone, Debug)]
pub struct ChartFile {
    /// The name, from the chart's folder.
    pub name: String,
    /// The content.
    pub content: Content,
    /// The registered text, for templates and what else is parsed.
    pub source: Option<FileId>,
}

/// What is taken when a chart does not say it itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// In a project Chart.yaml may be missing or incomplete; this is then its name.
    pub project_name: Option<String>,
    /// Replaces `appVersion`.
    pub app_version: Option<String>,
    /// The Helm that the chart is for.
    pub helm: Helm,
}

impl Chart {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Returns the file of that name among those `.Files` shows.
    pub fn file(&self, name: &str) -> Option<&ChartFile> {
        self.files.iter().find(|f| f.name == name)
    }

    /// Returns the files below `crds/` of this chart that hold manifests.
    pub fn crds(&self) -> impl Iterator<Item = &ChartFile> {
        let is_manifest = |name: &str| ["yaml", "yml", "json"].iter().any(|end| has_extension(name, end));
        self.files.iter().filter(move |f| f.name.starts_with("crds/") && is_manifest(&f.name))
    }
}

/// Loads the chart in the folder `path` of `files`; faults go to `diagnostics`.
///
/// `None` when there is no chart to go on with. Source: Helm 3.20, folder charts.
pub fn load(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    files: &Files,
    path: &str,
    options: &LoadOptions,
) -> Option<Chart> {
    let mut loader = Loader { diagnostics, sources, helm: options.helm, unpacked: Unpacked::default() };
    let raw = loader.folder(files, path)?;
    let mut chart = loader.chart(raw, path, Some(options), 0)?;
    if let Some(version) = &options.app_version {
        chart.metadata.app_version.clone_from(version);
    }
    Some(chart)
}

/// Loads a chart from the bytes of an archive (`.tgz`) for Helm 3; `name` is shown in diagnostics.
pub fn load_archive(diagnostics: &mut Diagnostics, sources: &Sources, name: &str, bytes: &[u8]) -> Option<Chart> {
    load_archive_for(diagnostics, sources, name, bytes, Helm::V3)
}

/// Loads a chart from the bytes of an archive, for a Helm.
pub fn load_archive_for(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    name: &str,
    bytes: &[u8],
    helm: Helm,
) -> Option<Chart> {
    let mut loader = Loader { diagnostics, sources, helm, unpacked: Unpacked::default() };
    let raw = loader.archive(name, bytes)?;
    loader.chart(raw, name, None, 0)
}

/// Returns the files of an archive without its top folder; a fault goes to `diagnostics` and gives `None`.
pub fn read_archive(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    name: &str,
    bytes: &[u8],
) -> Option<BTreeMap<String, Content>> {
    Loader { diagnostics, sources, helm: Helm::V3, unpacked: Unpacked::default() }.archive(name, bytes)
}

pub(super) type Raw = BTreeMap<String, Content>;

/// A walk over a chart's folder.
struct Walk<'a> {
    files: &'a Files,
    root: &'a str,
    rules: &'a HelmIgnore,
    found: Raw,
    folders: usize,
}

pub(super) struct Loader<'a> {
    pub(super) diagnostics: &'a mut Diagnostics,
    pub(super) sources: &'a Sources,
    pub(super) helm: Helm,
    /// What all archives held so far, those within archives too.
    pub(super) unpacked: Unpacked,
}

/// What was unpacked: a small archive may hold archives that hold archives.
#[derive(Default)]
pub(super) struct Unpacked {
    archives: usize,
    bytes: u64,
}

/// How many archives a chart may hold.
const MAX_ARCHIVES: usize = 2_000;

impl Loader<'_> {
    fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::in_file(&CHART_FILES, path, message));
    }

    /// Lists the files of a folder, links followed, ignored ones left out.
    pub(super) fn folder(&mut self, files: &Files, path: &str) -> Option<Raw> {
        let path = path.trim_matches('/');
        let shown = join(path, ".helmignore");
        let text = files.read(&shown).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let rules = HelmIgnore::parse(&text).unwrap_or_else(|error| {
            let file = self.sources.add(shown.clone(), text.as_str());
            let start = text.find(&error.pattern).unwrap_or(0);
            let span = Span::new(file, start, start + error.pattern.len());
            self.diagnostics.push(Diagnostic::at(&CHART_FILES, span, error.to_string()));
            HelmIgnore::default()
        });
        self.warn_of_negations(&shown, &text);
        let mut walk = Walk { files, root: path, rules: &rules, found: Raw::new(), folders: 0 };
        let result = match files.resolve(path) {
            Ok(Some((_, entry))) if entry.mode == Mode::Directory => self.walk(&mut walk, entry.id, ""),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        result.map_err(|error| self.fault(path, error.to_string())).ok()?;
        Some(walk.found)
    }

    /// What git would take back, Helm takes as the only thing to keep.
    fn warn_of_negations(&mut self, shown: &str, text: &str) {
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let pattern = line.trim();
            if pattern.starts_with('!') {
                let file = self.sources.add(shown.to_owned(), text);
                let at = start + line.find('!').unwrap_or(0);
                let message = format!("`{pattern}` ignores every file and folder that it does not match");
                let d = Diagnostic::at(&HELMIGNORE_NEGATION, Span::new(file, at, at + pattern.len()), message);
                self.diagnostics.push(d.hint("name what is to be ignored instead"));
            }
            start += line.len();
        }
    }

    fn walk(&mut self, walk: &mut Walk<'_>, folder: ObjectId, below: &str) -> Result<(), FilesError> {
        walk.folders += 1;
        if walk.folders > MAX_FOLDERS || walk.found.len() > MAX_FILES {
            if walk.folders == MAX_FOLDERS + 1 {
                self.fault(walk.root, "the chart has too many files or folders, or a link leads in a circle");
            }
            return Ok(());
        }
        for item in walk.files.objects().tree(folder)?.entries() {
            let name = join(below, &item.name);
            let mut target = Entry { mode: item.mode, id: item.id };
            if item.mode == Mode::Symlink {
                let full = join(walk.root, &name);
                let Some((_, entry)) = walk.files.resolve(&full)? else {
                    self.fault(&full, "the symbolic link leads to nothing, or out of the chart");
                    continue;
                };
                target = entry;
            }
            let is_directory = target.mode == Mode::Directory;
            if target.mode == Mode::Submodule || walk.rules.ignores(&name, is_directory) {
                continue;
            }
            if is_directory {
                self.walk(walk, target.id, &name)?;
                continue;
            }
            walk.found.insert(name, Content::of_object(walk.files.objects().clone(), target.id));
        }
        Ok(())
    }

    /// Lists the files of an archive; its top folder is taken off.
    fn archive(&mut self, place: &str, bytes: &[u8]) -> Option<Raw> {
        self.unpacked.archives += 1;
        if self.unpacked.archives > MAX_ARCHIVES || self.unpacked.bytes > MAX_ARCHIVE {
            if self.unpacked.archives <= MAX_ARCHIVES + 1 {
                let message =
                    format!("the archives within hold more than {MAX_ARCHIVES} archives or {MAX_ARCHIVE} bytes");
                self.diagnostics.push(Diagnostic::in_file(&CHART_ARCHIVE, place, message));
                self.unpacked.archives = MAX_ARCHIVES + 1;
            }
            return None;
        }
        let unpacked = unpack(bytes);
        if let Ok(files) = &unpacked {
            self.unpacked.bytes += files.values().map(|content| content.bytes().len() as u64).sum::<u64>();
        }
        match unpacked {
            Ok(files) if files.is_empty() => {
                self.diagnostics.push(Diagnostic::in_file(&CHART_ARCHIVE, place, "the archive has no files"));
                None
            }
            Ok(files) => Some(files),
            Err(message) => {
                self.diagnostics.push(Diagnostic::in_file(&CHART_ARCHIVE, place, message));
                None
            }
        }
    }

    fn chart(&mut self, raw: Raw, place: &str, options: Option<&LoadOptions>, nesting: usize) -> Option<Chart> {
        let mut metadata = Metadata::default();
        let project = options.and_then(|o| o.project_name.as_deref());
        match (raw.get("Chart.yaml"), project) {
            (Some(content), _) => {
                let node = self.yaml(&join(place, "Chart.yaml"), content)?;
                metadata.read(self.diagnostics, &node);
            }
            (None, Some(_)) => {}
            (None, None) => {
                self.diagnostics.push(Diagnostic::in_file(&CHART_METADATA, place, "Chart.yaml file is missing"));
                return None;
            }
        }
        if let Some(name) = project {
            set_if_empty(&mut metadata.api_version, "v2");
            set_if_empty(&mut metadata.name, name);
            set_if_empty(&mut metadata.version, "1.0.0");
        }
        set_if_empty(&mut metadata.api_version, "v1");
        let mut parts = Parts { metadata, ..Parts::default() };
        for (name, content) in raw {
            self.sort_in(&mut parts, place, name, content);
        }
        let before = self.diagnostics.as_slice().len();
        parts.metadata.check(self.diagnostics, &join(place, "Chart.yaml"));
        let failed = self.diagnostics.as_slice().len() > before;
        let mut subcharts = Vec::new();
        for (name, files) in parts.subcharts {
            subcharts.extend(self.subchart(&join(place, "charts"), &name, files, nesting));
        }
        if failed {
            return None;
        }
        Some(Chart {
            metadata: parts.metadata,
            values: parts.values,
            schema: parts.schema,
            templates: parts.templates.into(),
            files: parts.files.into(),
            subcharts,
            place: place.to_owned(),
            path: String::new(),
            helm: self.helm,
            parsed: ParsedTemplates::default(),
        })
    }

    fn sort_in(&mut self, parts: &mut Parts, place: &str, name: String, content: Content) {
        let shown = join(place, &name);
        let v1 = parts.metadata.api_version == "v1";
        match name.as_str() {
            "Chart.yaml" | "Chart.lock" => {}
            "values.yaml" => parts.values = self.values(&shown, content).map(Tree::from).unwrap_or_default(),
            "values.schema.json" => {
                parts.schema = self.text(shown, name, &content);
            }
            "requirements.yaml" => {
                if let Some(node) = self.yaml(&shown, &content) {
                    parts.metadata.read(self.diagnostics, &node);
                }
                if v1 {
                    parts.files.push(ChartFile { name, content, source: None });
                }
            }
            "requirements.lock" => {
                if v1 {
                    parts.files.push(ChartFile { name, content, source: None });
                }
            }
            _ if name.starts_with("templates/") => {
                parts.templates.extend(self.text(shown, name, &content));
            }
            _ => match name.strip_prefix("charts/") {
                Some(below) if !has_extension(below, "prov") => {
                    let top = below.split('/').next().unwrap_or(below).to_owned();
                    parts.subcharts.entry(top).or_default().insert(below.to_owned(), content);
                }
                Some(_) | None => parts.files.push(ChartFile { name, content, source: None }),
            },
        }
    }

    fn subchart(&mut self, place: &str, name: &str, files: Raw, nesting: usize) -> Option<Chart> {
        let shown = join(place, name);
        if name.starts_with(['_', '.']) {
            return None;
        }
        if nesting >= MAX_NESTING {
            self.fault(&shown, format!("subcharts nest deeper than {MAX_NESTING} levels"));
            return None;
        }
        if let (true, Some(content)) = (has_extension(name, "tgz"), files.get(name)) {
            let bytes = self.read(&shown, content)?;
            let raw = self.archive(&shown, &bytes)?;
            return self.chart(raw, &shown, None, nesting + 1);
        }
        if files.contains_key(name) {
            let message = "a loose file in charts/ is ignored here, but Helm refuses the whole chart";
            let mut diagnostic = Diagnostic::in_file(&CHART_FILES, shown, message);
            diagnostic.severity = crate::diag::Severity::Warning;
            self.diagnostics.push(diagnostic);
            return None;
        }
        let inner = |(path, content): (String, Content)| Some((path.split_once('/')?.1.to_owned(), content));
        self.chart(files.into_iter().filter_map(inner).collect(), &shown, None, nesting + 1)
    }

    /// Reads a file that every rendering needs.
    pub(super) fn read(&mut self, shown: &str, content: &Content) -> Option<Arc<[u8]>> {
        content.shared().map_err(|cause| self.fault(shown, cause)).ok()
    }

    /// Reads and registers a text.
    fn text(&mut self, shown: String, name: String, content: &Content) -> Option<ChartFile> {
        let (bytes, text) = shared_text(self.read(&shown, content)?);
        let source = Some(self.sources.add(shown, text));
        Some(ChartFile { name, content: bytes.into(), source })
    }

    fn yaml(&mut self, shown: &str, content: &Content) -> Option<Node> {
        let bytes = self.read(shown, content)?;
        parse_yaml(self.diagnostics, self.sources, shown, &bytes).1
    }

    fn values(&mut self, shown: &str, content: Content) -> Option<TreeMap> {
        let bytes = self.read(shown, &content)?;
        drop(content);
        values_of_text(self.diagnostics, self.sources, shown, bytes, self.helm)
    }
}

/// Returns bytes and text of a file in one piece of memory, unless the text had to be mended.
fn shared_text(bytes: Arc<[u8]>) -> (Arc<[u8]>, Arc<str>) {
    if let Ok(text) = std::str::from_utf8(&bytes) {
        let text: Arc<str> = text.into();
        (text.clone().into(), text)
    } else {
        let text = String::from_utf8_lossy(&bytes).into();
        (bytes, text)
    }
}

/// The parts of a chart, while its files are sorted in.
#[derive(Default)]
struct Parts {
    metadata: Metadata,
    values: Tree,
    schema: Option<ChartFile>,
    templates: Vec<ChartFile>,
    files: Vec<ChartFile>,
    subcharts: BTreeMap<String, Raw>,
}

pub(super) fn parse_yaml(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    shown: &str,
    bytes: &[u8],
) -> (FileId, Option<Node>) {
    let (file, nodes) = parse_documents(diagnostics, sources, shown, bytes, Helm::V3);
    let empty = || Node::null(Span::new(file, 0, 0));
    (file, nodes.map(|nodes| nodes.into_iter().next().unwrap_or_else(empty)))
}

fn parse_documents(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    shown: &str,
    bytes: impl AsRef<[u8]>,
    helm: Helm,
) -> (FileId, Option<Vec<Node>>) {
    let read =
        |bytes: &[u8]| yaml::text_of_bytes(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned());
    let text = read(bytes.as_ref());
    drop(bytes);
    let file = sources.add(shown, text);
    let before = diagnostics.as_slice().len();
    let options = if helm == Helm::V3 { yaml::Options::HELM } else { yaml::Options::MANIFESTS };
    let nodes = yaml::parse_documents(diagnostics, sources, file, options);
    let failed = diagnostics.as_slice().iter().skip(before).any(|d| d.severity == crate::diag::Severity::Error);
    (file, (!failed).then_some(nodes))
}

/// Reads a file of values; faults go to `diagnostics` and give `None`. An empty file is an empty table.
pub(super) fn values_of_text(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    shown: &str,
    bytes: impl AsRef<[u8]>,
    helm: Helm,
) -> Option<TreeMap> {
    let mut values = TreeMap::new();
    for node in parse_documents(diagnostics, sources, shown, bytes, helm).1? {
        merge(&mut values, values_of_node(diagnostics, node)?);
    }
    Some(values)
}

fn values_of_node(diagnostics: &mut Diagnostics, node: Node) -> Option<TreeMap> {
    if is_deeper(&node, MAX_VALUES_DEPTH) {
        let message = format!("values nest deeper than {MAX_VALUES_DEPTH} levels");
        diagnostics.push(Diagnostic::at(&VALUES_FILE, node.span, message));
        return None;
    }
    match node.data {
        yaml::Data::Null => Some(TreeMap::new()),
        yaml::Data::Mapping(mapping) => Some(Tree::map_of(mapping)),
        yaml::Data::Bool(_)
        | yaml::Data::Int(_)
        | yaml::Data::Uint(_)
        | yaml::Data::Float(_)
        | yaml::Data::String(_)
        | yaml::Data::Sequence(_) => {
            let message = format!("values must be a mapping, not a {}", node.kind());
            diagnostics.push(Diagnostic::at(&VALUES_FILE, node.span, message));
            None
        }
    }
}

fn is_deeper(node: &Node, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return true };
    let sequence = node.as_sequence().unwrap_or_default().iter();
    let mapping = node.as_mapping().into_iter().flatten().map(|e| &e.value);
    sequence.chain(mapping).any(|child| is_deeper(child, levels))
}

fn set_if_empty(field: &mut String, value: &str) {
    if field.is_empty() {
        value.clone_into(field);
    }
}

/// Says whether a name ends in an extension; case counts, as in Helm.
pub(super) fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

pub(super) fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("" | ".", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

/// Says whether a file of `charts/` is the archive of a chart.
pub fn is_archive(name: &str) -> bool {
    has_extension(name, "tgz")
}

fn unpack(bytes: &[u8]) -> Result<Raw, String> {
    let plain = flate2::read::MultiGzDecoder::new(bytes).take(MAX_ARCHIVE + (16 << 20));
    let mut archive = tar::Archive::new(plain);
    let mut files = Raw::new();
    let mut total = 0;
    let damaged = |e: std::io::Error| format!("the archive cannot be read: {e}");
    for entry in archive.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
            continue;
        }
        if !kind.is_file() && !kind.is_contiguous() {
            return Err(format!("`{path}` in the archive is a link or a special file"));
        }
        let name = name_in_archive(&path)?;
        let mut content = Vec::new();
        entry.take(MAX_FILE + 1).read_to_end(&mut content).map_err(damaged)?;
        total += content.len() as u64;
        if content.len() as u64 > MAX_FILE {
            return Err(format!("`{path}` in the archive is larger than {MAX_FILE} bytes"));
        }
        if total > MAX_ARCHIVE || files.len() >= MAX_FILES {
            return Err(format!("the archive holds more than {MAX_ARCHIVE} bytes or {MAX_FILES} files"));
        }
        files.insert(name, content.into());
    }
    Ok(files)
}

/// Takes the top folder off and refuses what leads out.
fn name_in_archive(path: &str) -> Result<String, String> {
    let path = path.replace('\\', "/");
    let Some((top, rest)) = path.split_once('/') else {
        if path == "Chart.yaml" {
            return Err("Chart.yaml is not in a folder of the archive".to_owned());
        }
        return Err(format!("`{path}` in the archive is in no folder"));
    };
    let drive = rest.as_bytes().get(1) == Some(&b':');
    if path.starts_with('/') || rest.starts_with('/') || drive {
        return Err(format!("`{path}` in the archive is an absolute path"));
    }
    if top == ".." || rest.split('/').any(|part| part == "..") {
        return Err(format!("`{path}` in the archive leads out of the chart"));
    }
    let parts: Vec<&str> = rest.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.is_empty() {
        return Err(format!("`{path}` in the archive has no name"));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MemoryObjects;

    fn load_files(files: &[(&'static str, &'static str)], project: Option<&str>) -> (Option<Chart>, Vec<String>) {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = MemoryObjects::files(files.iter().copied());
        let options = LoadOptions { project_name: project.map(str::to_owned), app_version: None, helm: Helm::V3 };
        let chart = load(&mut diagnostics, &sources, &files, "c", &options);
        (chart, diagnostics.as_slice().iter().map(|d| d.message.clone()).collect())
    }

    const META: &str = "apiVersion: v2\nname: c\nversion: 1.0.0\n";

    fn names(files: &[ChartFile]) -> Vec<&str> {
        files.iter().map(|f| f.name.as_str()).collect()
    }

    #[test]
    fn files_go_to_their_places() {
        let (chart, faults) = load_files(
            &[
                ("c/Chart.yaml", META),
                ("c/values.yaml", "a: 1"),
                ("c/.helmignore", "*.bak\n"),
                ("c/templates/a.yaml", ""),
                ("c/templates/a.bak", ""),
                ("c/templates/.x", ""),
                ("c/crds/x.yaml", ""),
                ("c/README.md", ""),
                ("c/charts/sub/Chart.yaml", "apiVersion: v1\nname: sub\nversion: 1.0.0"),
                ("c/charts/sub/requirements.yaml", "dependencies: []"),
                ("c/charts/.hidden/x", ""),
                ("c/charts/loose.md", ""),
            ],
            None,
        );
        let chart = chart.unwrap();
        assert_eq!(names(&chart.templates), ["templates/a.yaml"]);
        assert_eq!(names(&chart.files), [".helmignore", "README.md", "crds/x.yaml"]);
        assert_eq!(chart.crds().count(), 1);
        assert_eq!(names(&chart.subcharts[0].files), ["requirements.yaml"]);
        assert_eq!(faults, ["a loose file in charts/ is ignored here, but Helm refuses the whole chart"]);
    }

    #[test]
    fn a_project_needs_no_chart_file() {
        let (chart, faults) = load_files(&[("c/templates/a.yaml", "")], Some("shop"));
        let metadata = chart.unwrap().metadata;
        assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("shop", "1.0.0"));
        assert_eq!((metadata.api_version.as_str(), faults.len()), ("v2", 0));
        assert_eq!(load_files(&[("c/templates/a.yaml", "")], None).1, ["Chart.yaml file is missing"]);
        assert_eq!(
            load_files(&[("c/Chart.yaml", META), ("c/values.yaml", "- 1")], None).1,
            ["values must be a mapping, not a list"]
        );
    }

    #[test]
    fn links_are_followed_and_circles_end() {
        let store = MemoryObjects::new();
        let file = |text: &str| Some((Mode::File, text.as_bytes().to_vec()));
        let link = |target: &str| Some((Mode::Symlink, target.as_bytes().to_vec()));
        let changes = BTreeMap::from([
            ("c/Chart.yaml".to_owned(), file(META)),
            ("c/templates/a.yaml".to_owned(), link("../../shared/a.yaml")),
            ("c/config".to_owned(), link("../shared")),
            ("shared/a.yaml".to_owned(), file("a")),
        ]);
        let root = store.with_changes(None, &changes).unwrap();
        let around = BTreeMap::from([("c/x".to_owned(), link(".")), ("c/y".to_owned(), link("."))]);
        let circle = store.with_changes(Some(root), &around).unwrap();
        let store: Arc<dyn crate::source::Objects> = Arc::new(store);
        let sources = Sources::new();
        let mut diagnostics = Diagnostics::new();
        let files = Files::new(store.clone(), root);
        let chart = load(&mut diagnostics, &sources, &files, "c", &LoadOptions::default()).unwrap();
        assert_eq!((names(&chart.templates), names(&chart.files)), (vec!["templates/a.yaml"], vec!["config/a.yaml"]));
        assert!(diagnostics.is_empty());
        load(&mut diagnostics, &sources, &Files::new(store, circle), "c", &LoadOptions::default());
        assert!(!diagnostics.is_empty());
    }

    fn archive(entries: &[(&str, &str, tar::EntryType)]) -> Vec<u8> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gz);
        for (path, text, kind) in entries {
            let mut header = tar::Header::new_ustar();
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn archives_within_archives_have_one_limit() {
        let meta = |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
        let gz = |entries: &[(String, Vec<u8>)]| {
            let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let mut builder = tar::Builder::new(encoder);
            for (path, bytes) in entries {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
            }
            builder.into_inner().unwrap().finish().unwrap()
        };
        let mut inner = gz(&[("l/Chart.yaml".to_owned(), meta("l").into_bytes())]);
        for _ in 0..12 {
            let copies = ["x", "y", "z"].map(|n| (format!("l/charts/{n}.tgz"), inner.clone()));
            let own = ("l/Chart.yaml".to_owned(), meta("l").into_bytes());
            inner = gz(&[&[own][..], &copies[..]].concat());
        }
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        load_archive(&mut diagnostics, &sources, "c.tgz", &inner);
        let told = diagnostics.as_slice().iter().any(|d| d.message.contains("the archives within hold more than"));
        assert!(told, "{} findings", diagnostics.as_slice().len());
    }

    #[test]
    fn archives_are_read_and_bad_ones_refused() {
        let file = tar::EntryType::Regular;
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let good = archive(&[("c/Chart.yaml", META, file), ("c/templates/a.yaml", "x", file)]);
        let chart = load_archive(&mut diagnostics, &sources, "c.tgz", &good).unwrap();
        assert_eq!((names(&chart.templates), diagnostics.is_empty()), (vec!["templates/a.yaml"], true));
        let bad = [
            (archive(&[("c/../../x", "", file)]), "leads out"),
            (archive(&[("c//etc/x", "", file)]), "absolute"),
            (archive(&[("/c/x", "", file)]), "absolute"),
            (archive(&[("Chart.yaml", META, file)]), "not in a folder"),
            (archive(&[("c/x", "", tar::EntryType::Symlink)]), "link"),
            (archive(&[]), "no files"),
            (b"junk".to_vec(), "cannot be read"),
            (archive(&[("c/x", &"a".repeat(6 << 20), file)]), "larger than"),
        ];
        for (bytes, word) in bad {
            let mut diagnostics = Diagnostics::new();
            assert!(load_archive(&mut diagnostics, &sources, "c.tgz", &bytes).is_none());
            let message = &diagnostics.as_slice()[0].message;
            assert!(message.contains(word), "{message} / {word}");
        }
    }
}
