//! Bundles: a chart with its values, packed so that it is deployed without its project.
//!
//! What lives here: what goes into the archive, and what is read out of it again. What does not: registries (`ports`), and
//! the values of a project (`pipeline`).
//!
//! The one idea: a bundle is an ordinary chart. Its values.yaml says all that the project said; what is encrypted stays as it
//! is, for nothing is decrypted on the way.
//!
//! Source: werf 2.x, `bundle publish`.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde_json::{Map, Value as Json, json};

use crate::diag::rules::{BUNDLE_CONTENT, CHART_ARCHIVE};
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{Files, FilesError, Sources, Span, normalize_path};
use crate::syntax::yaml::{self, Data, Node};

use super::Nulls;
use super::additions::AddedKind;
use super::jsonnet_imports::imports;
use super::load::{Chart, join, load_archive, parse_yaml, read_archive};
use super::pack::{archive_of, is_passed_over, pack_with};
use super::secret_values::{SecretInputs, report_unsealed, sealed_values};
use super::tree::{Tree, TreeMap};
use super::values::{ValuesInput, Warnings, compose, merge, over_defaults};
use super::{KeyInForce, SECRET_VALUES};

/// The file of annotations that every resource of a bundle gets. Source: werf 2.x.
const EXTRA_ANNOTATIONS: &str = "extra_annotations.json";
/// The file of labels that every resource of a bundle gets. Source: werf 2.x.
const EXTRA_LABELS: &str = "extra_labels.json";
/// The annotation of Chart.yaml that says whose rules the nulls in values follow, where they are not Helm's.
const NULLS: &str = "io.stagewright.values-nulls";
/// The folder of Jsonnet files in a chart.
const JSONNET: &str = "jsonnet";

/// What a bundle is made of.
pub struct BundleInput<'a> {
    /// The project's files.
    pub files: &'a Files,
    /// The chart's folder.
    pub dir: &'a str,
    /// The chart.
    pub chart: &'a Chart,
    /// The folder of Jsonnet files, if there is one.
    pub jsonnet: Option<&'a str>,
    /// The user's values, and those of the project; secret values are no part of it.
    pub values: &'a ValuesInput<'a>,
    /// The key, and further secret values.
    pub secrets: &'a SecretInputs,
    /// What every resource gets.
    pub additions: &'a [(AddedKind, String)],
    /// The tag.
    pub tag: &'a str,
}

/// A bundle as it is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedBundle {
    /// The archive of the chart.
    pub archive: Vec<u8>,
    /// The configuration of the artifact: Chart.yaml as JSON. Source: Helm.
    pub config: Vec<u8>,
    /// The name of the chart.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// An image that the values of a bundle name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleImage {
    /// The repository.
    pub repo: String,
    /// The tag; empty where none is named.
    pub tag: String,
    /// The digest, where it is named.
    pub digest: Option<String>,
    /// As templates see it.
    pub reference: String,
}

/// A bundle as it was pulled.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The name of the chart.
    pub name: String,
    /// Its files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What values.yaml says.
    pub values: Json,
    /// The images, by name; that of the nameless one is empty.
    pub images: BTreeMap<String, BundleImage>,
    /// What every resource gets.
    pub additions: Vec<(AddedKind, String)>,
    /// Whose rules the nulls in its values follow.
    pub nulls: Nulls,
}

/// Returns the version of a chart with a tag: what the tag says, else one that sorts before all others.
///
/// Source: Helm, whose tags have `_` for `+`.
pub fn version_of_tag(tag: &str) -> String {
    let version = tag.replace('_', "+");
    if Version::parse(version.strip_prefix('v').unwrap_or(&version)).is_ok() {
        return version;
    }
    let word: String = tag.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let is_number = word.bytes().all(|b| b.is_ascii_digit());
    format!("0.0.0-{}{word}", if is_number && word.starts_with('0') { "tag-" } else { "" })
}

/// Packs a bundle; `None` when it cannot be, which is reported.
pub fn pack_bundle(diagnostics: &mut Diagnostics, sources: &Sources, input: &BundleInput<'_>) -> Option<PackedBundle> {
    let version = version_of_tag(input.tag);
    let mut found = Diagnostics::new();
    report_name(&mut found, &join(input.dir, "Chart.yaml"), input.chart.name());
    let metadata = metadata(&mut found, sources, input, &version);
    let values = values(&mut found, sources, input);
    let secret = secret_file(&mut found, sources, input);
    let mut changes = jsonnet_files(&mut found, sources, input);
    let failed = found.has_errors();
    diagnostics.extend(found);
    if failed {
        return None;
    }
    let (metadata, values) = (metadata?, values?);
    for (file, kind) in [(EXTRA_ANNOTATIONS, AddedKind::Annotation), (EXTRA_LABELS, AddedKind::Label)] {
        let added = input.additions.iter().filter(|(of, _)| *of == kind);
        let pairs: BTreeMap<&str, &str> = added.filter_map(|(_, text)| text.split_once('=')).collect();
        if !pairs.is_empty() {
            changes.insert(file.to_owned(), (json!(pairs).to_string() + "\n").into_bytes());
        }
    }
    let name = input.chart.name().to_owned();
    changes.insert("Chart.yaml".to_owned(), written(diagnostics, "Chart.yaml", &metadata)?);
    changes.insert("values.yaml".to_owned(), written(diagnostics, "values.yaml", &values)?);
    changes.extend(secret.map(|text| (SECRET_VALUES.to_owned(), text.into_bytes())));
    let archive = pack_with(diagnostics, sources, (input.files, input.dir), &name, changes)?;
    checked(diagnostics, PackedBundle { archive, config: metadata.to_string().into_bytes(), name, version })
}

/// Reports a name that is more than a word: the files of a bundle lie in a folder of it, which a template names.
fn report_name(diagnostics: &mut Diagnostics, place: &str, name: &str) {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.bytes().all(is_word) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let message = format!("the chart is named `{name}`, which a bundle cannot be");
        let hint = "a name has letters, digits, `.`, `_` and `-`, and begins with a letter or a digit";
        diagnostics.push(Diagnostic::in_file(&BUNDLE_CONTENT, place, message).hint(hint));
    }
}

/// What nobody could load again is not pushed: limits are those of the reader.
fn checked(diagnostics: &mut Diagnostics, packed: PackedBundle) -> Option<PackedBundle> {
    let (mut found, sources, name) = (Diagnostics::new(), Sources::new(), packed.name.clone());
    if load_archive(&mut found, &sources, &format!("{name}.tgz"), &packed.archive).is_some() && !found.has_errors() {
        return Some(packed);
    }
    for fault in found.as_slice() {
        diagnostics.push(Diagnostic::in_file(&CHART_ARCHIVE, format!("{name}.tgz"), fault.message.clone()));
    }
    None
}

fn written(diagnostics: &mut Diagnostics, file: &str, value: &Json) -> Option<Vec<u8>> {
    let written = yaml::to_yaml(value).map(|text| (text.trim_end().to_owned() + "\n").into_bytes());
    let told = |e: yaml::Unwritable| {
        diagnostics.push(Diagnostic::in_file(&BUNDLE_CONTENT, file, format!("it cannot be written as YAML: {e}")));
    };
    written.map_err(told).ok()
}

/// Returns what Chart.yaml says, with what is missing there and with the version. Helm wants texts, where YAML may have
/// numbers.
fn metadata(diagnostics: &mut Diagnostics, sources: &Sources, input: &BundleInput<'_>, version: &str) -> Option<Json> {
    let shown = join(input.dir, "Chart.yaml");
    let mut map = Map::new();
    if let Ok(bytes) = input.files.read(&shown) {
        let node = parse_yaml(diagnostics, sources, &shown, &bytes).1?;
        if let Json::Object(read) = texts(&node, false) {
            map = read;
        }
    }
    let own = &input.chart.metadata;
    map.insert("apiVersion".into(), json!(own.api_version));
    map.insert("name".into(), json!(own.name));
    map.insert("version".into(), json!(version));
    if !own.app_version.is_empty() {
        map.insert("appVersion".into(), json!(own.app_version));
    }
    // Of who applies it nobody knows what the values were made for.
    let named = map.get_mut("annotations").and_then(Json::as_object_mut);
    let left = named.is_some_and(|notes| notes.remove(NULLS).is_some() && notes.is_empty());
    if left {
        map.remove("annotations");
    }
    if input.values.nulls != Nulls::Helm {
        let notes = map.entry("annotations").or_insert_with(|| json!({}));
        if !notes.is_object() {
            *notes = json!({});
        }
        if let Some(notes) = notes.as_object_mut() {
            notes.insert(NULLS.into(), json!(input.values.nulls.name()));
        }
    }
    Some(Json::Object(map))
}

/// Returns a node with texts for numbers; `all` takes truth values for texts too.
fn texts(node: &Node, all: bool) -> Json {
    match &node.data {
        Data::Mapping(mapping) => {
            let entry = |e: &yaml::Entry| (e.name.to_string(), texts(&e.value, all || &*e.name == "annotations"));
            Json::Object(mapping.iter().map(entry).collect())
        }
        Data::Sequence(items) => items.iter().map(|item| texts(item, all)).collect(),
        Data::Null => Json::Null,
        Data::Bool(value) if !all => Json::Bool(*value),
        Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) | Data::String(_) => {
            node.scalar_text().map_or_else(|| node.to_plain(), Json::from)
        }
    }
}

/// Returns what values.yaml of the bundle says: defaults of the chart, the user's values over them, those of the project
/// over both. Subcharts keep their own defaults.
fn values(diagnostics: &mut Diagnostics, sources: &Sources, input: &BundleInput<'_>) -> Option<Json> {
    let given = input.values;
    let plain = ValuesInput {
        files: given.files.clone(),
        sets: given.sets.clone(),
        secrets: Vec::new(),
        service: given.service.clone(),
        read_file: given.read_file,
        // What is still missing may be given when it is applied.
        check_schema: false,
        nulls: given.nulls,
    };
    let mut values = compose(diagnostics, sources, input.chart, &plain)?.user;
    merge(&mut values, given.service.clone());
    over_defaults(&mut Warnings::Off, input.chart, &mut values, Some(given.nulls));
    // In a bundle they are nulls of defaults, which that profile drops.
    if let Some(path) = first_null(&values).filter(|_| given.nulls == Nulls::Helm4) {
        let message = format!("`{path}` is set to null, which a bundle cannot say with `--values-nulls helm4`");
        let hint = "give the null where the bundle is applied, or publish with another profile";
        diagnostics.push(Diagnostic::in_file(&BUNDLE_CONTENT, input.dir, message).hint(hint));
        return None;
    }
    Some(Tree::from(values).to_json())
}

/// Returns the path of a null in a table or below; nulls in lists are items. Depth is bounded by the reader of values.
fn first_null(table: &TreeMap) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        if value.is_null() {
            return Some(key.to_string());
        }
        Some(format!("{key}.{}", first_null(value.as_map()?)?))
    })
}

/// Returns secret-values.yaml where it is another one than that of the chart. Nothing goes in that is not encrypted.
fn secret_file(diagnostics: &mut Diagnostics, sources: &Sources, input: &BundleInput<'_>) -> Option<String> {
    if matches!(input.secrets.key, KeyInForce::Ignored) {
        report_unsealed(diagnostics, sources, input.chart, input.secrets);
    }
    if input.secrets.files.is_empty() {
        return None;
    }
    let merged = sealed_values(diagnostics, sources, input.chart, input.secrets);
    let bytes = written(diagnostics, SECRET_VALUES, &Tree::from(merged).to_json())?;
    String::from_utf8(bytes).ok()
}

/// Returns the Jsonnet files that do not lie in the chart; imports that lead to files which a bundle does not have are
/// reported.
fn jsonnet_files(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    input: &BundleInput<'_>,
) -> BTreeMap<String, Vec<u8>> {
    let Some(folder) = input.jsonnet else { return BTreeMap::new() };
    let own = join(input.dir, JSONNET);
    let stays = folder == own;
    let mut taken = BTreeMap::new();
    let unreadable = |error: FilesError| Diagnostic::in_file(&BUNDLE_CONTENT, folder, error.to_string());
    let found = match input.files.walk(folder) {
        Ok(found) => found,
        Err(error) => {
            diagnostics.push(unreadable(error));
            return taken;
        }
    };
    if !stays && input.files.entry(&own).ok().flatten().is_some() {
        let message = format!("the Jsonnet files of `{folder}` would lie where the chart has a folder `{JSONNET}`");
        diagnostics.push(Diagnostic::in_file(&BUNDLE_CONTENT, folder, message).hint("rename one of the two folders"));
    }
    // What lies where the imports of the bundle look.
    let inside = if stays { input.dir } else { folder };
    for (path, _) in found {
        let bytes = match input.files.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                diagnostics.push(unreadable(error));
                continue;
            }
        };
        if path.ends_with("sonnet") {
            report_imports(diagnostics, sources, input, (&path, &bytes), (inside, stays));
        }
        let name = path.strip_prefix(folder).unwrap_or(&path).trim_start_matches('/');
        // Those of the chart too: `.helmignore` is not for them.
        taken.insert(join(JSONNET, name), bytes.to_vec());
    }
    taken
}

/// Reports the imports of a Jsonnet file that lead out of a folder, or to what lies in `charts/` and is of no chart.
fn report_imports(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    input: &BundleInput<'_>,
    (path, bytes): (&str, &[u8]),
    (inside, stays): (&str, bool),
) {
    let text = String::from_utf8_lossy(bytes);
    let beside = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let files = input.files;
    let below = |path: &str| match inside {
        "" => Some(path.to_owned()),
        inside => path.strip_prefix(inside)?.strip_prefix('/').map(str::to_owned),
    };
    // Another folder than the chart's is taken as it is.
    let is_left_out = |file: &str| stays && is_passed_over(file);
    let is_in = |path: &str| below(path).is_some_and(|file| !is_left_out(&file));
    for (at, wanted) in imports(&text) {
        let target =
            normalize_path(&join(beside, wanted)).filter(|target| files.resolve(target).ok().flatten().is_some());
        if target.as_deref().is_some_and(is_in) {
            continue;
        }
        // A library folder above the file, as long as it is within.
        let mut above = beside;
        let library = loop {
            let candidate = normalize_path(&join(above, &format!("vendor/{wanted}"))).unwrap_or_default();
            if is_in(&candidate) && files.resolve(&candidate).ok().flatten().is_some() {
                break true;
            }
            match above.rsplit_once('/') {
                Some((higher, _)) => above = higher,
                None => break false,
            }
        };
        if target.is_none() && library {
            continue;
        }
        let file = sources.add(path.to_owned(), &*text);
        let message = format!("the import `{wanted}` leads to a file that is not in the bundle");
        let d = Diagnostic::at(&BUNDLE_CONTENT, Span::new(file, at, at + wanted.len()), message);
        let hint = if target.as_deref().and_then(below).is_some() {
            "what lies in `charts/` and is of no chart is not packed: move the file out of there".to_owned()
        } else {
            format!("a bundle holds `{inside}` alone: move the file, or its library, there")
        };
        diagnostics.push(d.hint(hint));
    }
}

/// Reads a bundle out of its archive; `None` when it is none, which is reported.
pub fn open_bundle(diagnostics: &mut Diagnostics, sources: &Sources, place: &str, archive: &[u8]) -> Option<Bundle> {
    // All that its loading would find, and its limits.
    let chart = load_archive(diagnostics, sources, place, archive)?;
    let files = read_archive(diagnostics, sources, place, archive)?;
    let mut named = Diagnostics::new();
    report_name(&mut named, place, chart.name());
    let is_named = !named.has_errors();
    diagnostics.extend(named);
    if !is_named {
        return None;
    }
    let values = chart.values.to_json();
    let has_ours = values.pointer("/werf/name").and_then(Json::as_str).is_some_and(|name| !name.is_empty());
    if !has_ours {
        let message = "the chart is no bundle: its values.yaml has no `werf.name`, which `bundle publish` writes";
        let hint =
            "publish it with `stagewright bundle publish`; a chart of Helm is rendered by `stagewright template`";
        diagnostics.push(Diagnostic::in_file(&BUNDLE_CONTENT, place, message).hint(hint));
        return None;
    }
    let noted = chart.metadata.annotations.iter().find(|(key, _)| key == NULLS).map(|(_, name)| name.as_str());
    let Some(nulls) = noted.map_or(Some(Nulls::Helm), |name| Nulls::ALL.into_iter().find(|n| n.name() == name)) else {
        let message = format!("`{NULLS}` in Chart.yaml names no profile of nulls: {}", noted.unwrap_or_default());
        diagnostics.push(Diagnostic::in_file(&BUNDLE_CONTENT, place, message));
        return None;
    };
    let mut additions = Vec::new();
    for (file, kind) in [(EXTRA_ANNOTATIONS, AddedKind::Annotation), (EXTRA_LABELS, AddedKind::Label)] {
        let Some(content) = files.get(file) else { continue };
        match serde_json::from_slice::<BTreeMap<String, String>>(content.bytes()) {
            Ok(pairs) => additions.extend(pairs.into_iter().map(|(key, value)| (kind, format!("{key}={value}")))),
            Err(error) => {
                let message = format!("`{file}` is no table of texts: {error}");
                diagnostics.push(Diagnostic::in_file(&BUNDLE_CONTENT, place, message));
                return None;
            }
        }
    }
    let images = images(&values);
    // Nobody's values name a folder or an engine of this machine.
    let is_local = |repo: &str| ["oci:", "docker:"].iter().any(|scheme| repo.starts_with(scheme));
    if let Some((name, image)) = images.iter().find(|(_, image)| is_local(&image.repo)) {
        let message =
            format!("the image `{name}` is named `{}`, which is no repository of a registry", image.reference);
        diagnostics.push(Diagnostic::in_file(&BUNDLE_CONTENT, place, message));
        return None;
    }
    let files = files.into_iter().map(|(name, content)| (name, content.bytes().to_vec())).collect();
    Some(Bundle { name: chart.name().to_owned(), files, images, values, additions, nulls })
}

impl Bundle {
    /// Returns the name of the project.
    pub fn project(&self) -> &str {
        self.text("/werf/name")
    }

    /// Returns the commit that it was published from; empty where that is not known.
    pub fn commit(&self) -> &str {
        self.text("/werf/commit/hash")
    }

    /// Returns the environment that it was published for, if for one.
    pub fn env(&self) -> Option<&str> {
        Some(self.text("/werf/env")).filter(|env| !env.is_empty())
    }

    fn text(&self, pointer: &str) -> &str {
        self.values.pointer(pointer).and_then(Json::as_str).unwrap_or_default()
    }

    /// Returns the files of the chart below a folder of its name, as a renderer wants them: without what was read of them.
    pub fn chart_files(&self) -> impl Iterator<Item = (String, &[u8])> {
        // What was to be left out is left out.
        let is_read = |name: &str| [EXTRA_ANNOTATIONS, EXTRA_LABELS, ".helmignore"].contains(&name);
        let files = self.files.iter().filter(move |(name, _)| !is_read(name));
        files.map(|(name, bytes)| (format!("{}/{name}", self.name), bytes.as_slice()))
    }

    /// Returns the values that nobody overrides: `werf` and `global.werf` of the bundle, with what is known only now.
    ///
    /// Source: werf 2.x, where a bundle is applied.
    pub fn service_values(&self, version: &str, namespace: &str, env: Option<&str>) -> Json {
        let table = |pointer: &str| {
            let found = self.values.pointer(pointer).and_then(Json::as_object).cloned();
            let mut table = found.unwrap_or_default();
            table.insert("version".into(), json!(version));
            table.insert("namespace".into(), json!(namespace));
            table.extend(env.map(|env| ("env".to_owned(), json!(env))));
            table
        };
        let mut global = Map::new();
        let published = self.values.pointer("/global/env").and_then(Json::as_str);
        global.extend(env.or(published).map(|env| ("env".to_owned(), json!(env))));
        global.insert("werf".into(), Json::Object(table("/global/werf")));
        json!({ "werf": table("/werf"), "global": global })
    }

    /// Packs it again for another place: with the tag and the repository that it and its images have there. Where none is
    /// given, version and names stay.
    pub fn packed_for(
        &self,
        diagnostics: &mut Diagnostics,
        tag: Option<&str>,
        repo: Option<&str>,
    ) -> Option<PackedBundle> {
        let mut values = self.values.clone();
        if let Some(repo) = repo {
            move_images(&mut values, &self.images, repo);
        }
        let shown = format!("{}/Chart.yaml", self.name);
        let chart = self.files.get("Chart.yaml").map(Vec::as_slice).unwrap_or_default();
        let node = parse_yaml(diagnostics, &Sources::new(), &shown, chart).1?;
        let mut metadata = texts(&node, false);
        let map = metadata.as_object_mut()?;
        map.extend(tag.map(|tag| ("version".to_owned(), json!(version_of_tag(tag)))));
        let version = map.get("version").and_then(Json::as_str).unwrap_or_default().to_owned();
        let mut files: BTreeMap<&str, &[u8]> = self.files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        let chart = written(diagnostics, "Chart.yaml", &metadata)?;
        let values = written(diagnostics, "values.yaml", &values)?;
        files.extend([("Chart.yaml", chart.as_slice()), ("values.yaml", values.as_slice())]);
        let archive = archive_of(&self.name, files.into_iter())?;
        let packed =
            PackedBundle { archive, config: metadata.to_string().into_bytes(), name: self.name.clone(), version };
        checked(diagnostics, packed)
    }
}

/// Returns the images that values name.
fn images(values: &Json) -> BTreeMap<String, BundleImage> {
    let table = |pointer: &str| values.pointer(pointer).and_then(Json::as_object).cloned().unwrap_or_default();
    let (references, parts) = (table("/werf/image"), table("/global/werf/images"));
    let names: BTreeSet<&String> = references.keys().chain(parts.keys()).collect();
    let mut found = BTreeMap::new();
    for name in names {
        let part = |key: &str| parts.get(name).and_then(|p| p.get(key)).and_then(Json::as_str).map(str::to_owned);
        let short = references.get(name).and_then(Json::as_str).map(str::to_owned);
        // The form that holds the digest says more.
        let full = part("ref").filter(|text| text.contains('@'));
        let Some(mut image) = full.or(short).or_else(|| part("ref")).map(|text| read_reference(&text)) else {
            continue;
        };
        image.digest = image.digest.or_else(|| part("digest")).filter(|digest| !digest.is_empty());
        found.insert(name.clone(), image);
    }
    if let Some(reference) = values.pointer("/werf/nameless_image").and_then(Json::as_str) {
        found.insert(String::new(), read_reference(reference));
    }
    found
}

/// Reads `REPO:TAG@DIGEST`, of which tag and digest may be missing.
fn read_reference(text: &str) -> BundleImage {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest.to_owned())));
    let (repo, tag) = match name.rsplit_once(':') {
        Some((repo, tag)) if !tag.contains('/') => (repo, tag),
        Some(_) | None => (name, ""),
    };
    BundleImage { repo: repo.to_owned(), tag: tag.to_owned(), digest, reference: text.to_owned() }
}

/// Names images by another repository, wherever the values of the project name them.
fn move_images(values: &mut Json, images: &BTreeMap<String, BundleImage>, repo: &str) {
    for (name, image) in images {
        let reference = reference(repo, &image.tag, image.digest.as_deref());
        let pointer = if name.is_empty() { "/werf/nameless_image" } else { "/werf/image" };
        let place = values.pointer_mut(pointer);
        let place = if name.is_empty() { place } else { place.and_then(|map| map.get_mut(name)) };
        if let Some(place) = place {
            *place = json!(reference);
        }
        let parts = values.pointer_mut("/global/werf/images").and_then(|map| map.get_mut(name));
        if let (Some(Json::Object(old)), Json::Object(new)) =
            (parts, image_parts(repo, &image.tag, image.digest.as_deref()))
        {
            old.extend(new);
        }
    }
    for pointer in ["/werf/repo", "/global/werf/repo"] {
        if let Some(place) = values.pointer_mut(pointer) {
            *place = json!(repo);
        }
    }
}

/// Returns the reference of an image: its tag for people, its digest for what pulls it.
pub fn reference(repo: &str, tag: &str, digest: Option<&str>) -> String {
    let tag = if tag.is_empty() { String::new() } else { format!(":{tag}") };
    digest.map_or_else(|| format!("{repo}{tag}"), |digest| format!("{repo}{tag}@{digest}"))
}

/// Returns the parts of a reference. Source: werf 2.x, service values.
pub fn image_parts(repo: &str, tag: &str, digest: Option<&str>) -> Json {
    let (registry, path) = repo.split_once('/').unwrap_or(("", repo));
    let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut parts = json!({
        "registry": registry,
        "namespace": namespace,
        "name": name,
        "tag": tag,
        "repository": path,
        "image": repo,
        "ref": reference(repo, tag, digest),
        "ref_tag": reference(repo, tag, None),
        "repository_ref": reference(path, tag, digest),
        "repository_tag": reference(path, tag, None),
        "name_ref": reference(name, tag, digest),
        "name_tag": reference(name, tag, None),
    });
    if let (Some(digest), Some(parts)) = (digest, parts.as_object_mut()) {
        parts.insert("digest".into(), json!(digest));
        parts.insert("tag_digest".into(), json!(format!("{tag}@{digest}")));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_what_a_tag_says_or_sorts_before_all() {
        let versions = ["1.2.3", "v1.2.3-rc.1", "1.0.0_b7", "latest", "main_7", "2024", "007"].map(version_of_tag);
        let expected =
            ["1.2.3", "v1.2.3-rc.1", "1.0.0+b7", "0.0.0-latest", "0.0.0-main-7", "0.0.0-2024", "0.0.0-tag-007"];
        assert_eq!(versions, expected);
        assert!(versions.iter().all(|version| super::super::constraint::parse_version(version).is_some()));
    }

    #[test]
    fn a_name_that_a_template_would_carry_out_is_refused() {
        let opened = |name: &str| {
            let chart = json!({ "apiVersion": "v2", "name": name, "version": "1.0.0" }).to_string();
            let values = br#"{"werf": {"name": "shop"}}"#;
            let files = [("Chart.yaml", chart.as_bytes()), ("values.yaml", &values[..])];
            let archive = archive_of("shop", files.into_iter()).unwrap();
            let mut diagnostics = Diagnostics::new();
            let opened = open_bundle(&mut diagnostics, &Sources::new(), "x", &archive);
            assert_eq!(opened.is_none(), diagnostics.has_errors(), "{name}");
            opened.is_some()
        };
        assert!(opened("shop-1.x_y"));
        for name in ["x{{ printf `%c` 34 }}", ".werf", "a b", "a\nb", "-x"] {
            assert!(!opened(name), "{name}");
        }
    }

    #[test]
    fn references_are_read_with_and_without_ports_tags_and_digests() {
        let read = |text: &str| {
            let image = read_reference(text);
            [image.repo, image.tag, image.digest.unwrap_or_default()].join(" ")
        };
        assert_eq!(read("r.example:5000/shop:v1@sha256:0"), "r.example:5000/shop v1 sha256:0");
        assert_eq!(read("r.example:5000/shop:v1"), "r.example:5000/shop v1 ");
        assert_eq!(read("r.example:5000/shop@sha256:0"), "r.example:5000/shop  sha256:0");
        assert_eq!(reference("r/shop", "", Some("sha256:0")), "r/shop@sha256:0");
    }

    #[test]
    fn a_nameless_image_moves_too_and_what_else_is_said_of_images_stays() {
        let mut values = json!({
            "werf": { "name": "shop", "repo": "a/b", "nameless_image": "a/b:t@sha256:1", "image": { "web": "a/b:u" } },
            "global": { "werf": { "images": { "web": { "ref": "a/b:u@sha256:2", "more": 1 } } } },
            "note": "a/b:u",
        });
        let found = images(&values);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["", "web"]);
        assert_eq!(found["web"].digest.as_deref(), Some("sha256:2"));
        move_images(&mut values, &found, "c.example/d/e");
        assert_eq!(values["werf"]["nameless_image"], "c.example/d/e:t@sha256:1");
        assert_eq!(values["werf"]["image"]["web"], "c.example/d/e:u@sha256:2");
        let parts = &values["global"]["werf"]["images"]["web"];
        assert_eq!(
            (&parts["registry"], &parts["namespace"], &parts["more"]),
            (&json!("c.example"), &json!("d"), &json!(1))
        );
        assert_eq!((&values["werf"]["repo"], &values["note"]), (&json!("c.example/d/e"), &json!("a/b:u")));
    }
}
