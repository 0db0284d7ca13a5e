//! The built-in objects of templates: `.Chart`, `.Capabilities`, `.Files`, and values of the engine.
//!
//! Source: Helm 3.20; names, types and printed forms are those a chart can see.

use std::any::Any;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use rustc_hash::FxHashMap;

use crate::eval::functions::yaml::yaml_text;
use crate::eval::{Args, Ctx, Dict, DictKind, Elem, FuncError, List, Method, Object, Param, Str, Value, print};
use crate::eval::{ValueId, ValueIndex};
use crate::source::glob::FilesGlob;
use crate::source::{Sources, Span};

use super::helm::Helm;
use super::load::ChartFile;
use super::metadata::{Dependency, ImportValues, Metadata};
use super::tree::{Data, Tree, TreeMap};

/// Texts up to this length are looked for among those there are already. Unit: bytes.
const SHORT: usize = 24;

/// Converts values; short texts that occur again are shared, as keys do all the time.
#[derive(Default)]
struct Converter<'t> {
    texts: FxHashMap<&'t str, Str>,
}

impl<'t> Converter<'t> {
    fn text(&mut self, text: &'t str) -> Str {
        if text.len() > SHORT {
            return Str::from(text);
        }
        self.texts.entry(text).or_insert_with(|| Str::from(text)).clone()
    }

    fn value(&mut self, tree: &'t Tree) -> Value {
        match &tree.data {
            Data::Null => Value::Nil,
            Data::Bool(b) => Value::Bool(*b),
            Data::Int(n) => Value::Int64(*n),
            Data::Float(n) => Value::Float(*n),
            Data::String(text) => Value::Str(self.text(text)),
            Data::List(items) => Value::list(items.iter().map(|item| self.value(item)).collect()),
            Data::Map(map) => Value::Dict(Rc::new(self.dict(map, DictKind::Any))),
        }
    }

    fn dict(&mut self, map: &'t TreeMap, kind: DictKind) -> Dict {
        Dict::from_entries(kind, map.iter().map(|(key, value)| (self.text(key), self.value(value))))
    }
}

/// Converts a tree of values.
pub(super) fn to_value(tree: &Tree) -> Value {
    Converter::default().value(tree)
}

/// Converts a table of values.
pub(super) fn to_dict(map: &TreeMap, kind: DictKind) -> Dict {
    Converter::default().dict(map, kind)
}

/// Converts a table of values so that reads of it are told and every value knows its place.
pub(super) fn to_indexed_dict(map: &TreeMap, kind: DictKind, sources: &Sources, index: &mut ValueIndex) -> Dict {
    let root = index.place("", None);
    indexed_dict(map, kind, "", root, &mut Indexing { sources, index })
}

struct Indexing<'i> {
    sources: &'i Sources,
    index: &'i mut ValueIndex,
}

fn indexed_dict(map: &TreeMap, kind: DictKind, path: &str, place: ValueId, to: &mut Indexing<'_>) -> Dict {
    let mark = to.index.table(place);
    let mut entries = Vec::with_capacity(map.len());
    for (key, tree) in map {
        let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        let (place, value) = indexed(tree, &path, to);
        let key = Str::from(&**key);
        to.index.entry(mark, key.clone(), place, value.clone());
        entries.push((key, value));
    }
    Dict::from_entries(kind, entries).marked(mark)
}

fn indexed(tree: &Tree, path: &str, to: &mut Indexing<'_>) -> (ValueId, Value) {
    let place = to.index.place(path, tree.key.or(tree.span));
    let value = match &tree.data {
        Data::Map(map) => Value::Dict(Rc::new(indexed_dict(map, DictKind::Any, path, place, to))),
        Data::List(items) => {
            let items = items.iter().enumerate().map(|(n, item)| indexed(item, &format!("{path}.{n}"), to));
            let (places, values) = items.unzip();
            to.index.list(values, places)
        }
        Data::String(text) => {
            let pieces = lines_of(tree, text, path, place, to);
            to.index.text(text, &pieces)
        }
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) => to_value(tree),
    };
    (place, value)
}

/// A text of several lines stands on several lines of the file, when it was written as a block.
fn lines_of(tree: &Tree, text: &str, path: &str, place: ValueId, to: &mut Indexing<'_>) -> Vec<(usize, ValueId)> {
    let whole = vec![(0, place)];
    let Some(span) = tree.span.filter(|_| text.contains('\n')) else { return whole };
    let file = to.sources.get(span.file);
    let Some(written) = file.text().get(span.range()).filter(|w| w.starts_with('|')) else { return whole };
    let mut at = span.start as usize + written.find('\n').map_or(written.len(), |n| n + 1);
    let mut offset = 0;
    let mut pieces = Vec::new();
    for line in text.split('\n') {
        let end = file.text().get(at..).and_then(|t| t.find('\n')).map_or(file.text().len(), |n| at + n);
        let here = file.text().get(at..end).unwrap_or("");
        if here.trim() != line.trim() {
            break;
        }
        let start = at + (here.len() - here.trim_start().len());
        pieces.push((offset, to.index.place(path, Some(Span::new(span.file, start, end.max(start))))));
        at = end + 1;
        offset += line.len() + 1;
    }
    if pieces.is_empty() { whole } else { pieces }
}

/// A Go struct: fields by name, and the JSON form that `toYaml` writes.
struct Struct {
    type_name: &'static str,
    kind: &'static str,
    fields: Vec<(&'static str, Value)>,
    plain: Vec<(&'static str, Value)>,
    methods: &'static [(&'static Method, &'static str)],
    /// What `{{ }}` prints, where the type has a text of its own.
    printed: Option<&'static str>,
    /// How many of the first fields stand in an embedded struct, which prints in braces of its own.
    embedded: usize,
}

impl Struct {
    /// Returns the fields as a map, structs and lists in them too.
    fn as_map(&self) -> Value {
        fn plain(value: &Value) -> Value {
            if let Value::Object(object) = value {
                return object.as_any().downcast_ref().map_or_else(|| value.clone(), Struct::as_map);
            }
            value.as_list().map_or_else(|| value.clone(), |items| Value::list(items.iter().map(plain).collect()))
        }
        Value::dict(self.fields.iter().map(|(name, value)| (Str::from(*name), plain(value))))
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone())
    }
}

impl Object for Struct {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.type_name)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        self.fields.iter().find(|(n, _)| n.as_bytes() == name).map(|(_, value)| value.clone())
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        self.methods.iter().map(|(method, _)| *method).find(|m| m.name.as_bytes() == name)
    }

    /// Methods without arguments tell a field.
    fn call(&self, _ctx: &mut Ctx<'_>, method: &'static Method, _args: &[Value]) -> Result<Value, FuncError> {
        let field = self.methods.iter().find(|(m, _)| m.name == method.name).map(|(_, field)| *field);
        Ok(field.and_then(|field| self.get(field)).unwrap_or_default())
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.kind == "ptr" { b"&{" } else { b"{" });
        if self.embedded > 0 {
            out.push(b'{');
        }
        for (index, (_, value)) in self.fields.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(if index == self.embedded { b"} " } else { b" " });
            }
            out.extend_from_slice(&print::text(value));
        }
        out.push(b'}');
    }

    fn print_action(&self, out: &mut Vec<u8>) {
        match self.printed.and_then(|field| self.get(field)) {
            Some(value) => out.extend_from_slice(&print::text(&value)),
            None => self.print(out),
        }
    }

    fn fields(&self) -> Option<Vec<(&'static str, Value)>> {
        Some(self.plain.clone())
    }

    fn plain(&self) -> Value {
        Value::dict(self.plain.iter().map(|(name, value)| (Str::from(*name), value.clone())))
    }
}

/// Returns `.Chart`: a Go struct, for Helm 4 a map of its fields.
pub(super) fn chart_object(metadata: &Metadata, is_root: bool, helm: Helm) -> Value {
    let object = chart_struct(metadata, is_root);
    match (helm, &object) {
        (Helm::V4, Value::Object(object)) => object.as_any().downcast_ref().map_or(Value::Nil, Struct::as_map),
        _ => object,
    }
}

fn chart_struct(metadata: &Metadata, is_root: bool) -> Value {
    let text = |text: &String| Value::str(text.as_str());
    let texts = |list: &Vec<String>| strings(list.iter());
    let annotations = metadata.annotations.iter().map(|(k, v)| (Str::from(k.as_str()), Value::str(v.as_str())));
    let annotations = Value::Dict(Rc::new(Dict::from_entries(DictKind::Strings, annotations)));
    let maintainer = |m: &super::metadata::Maintainer| {
        let fields = [("Name", "name", &m.name), ("Email", "email", &m.email), ("URL", "url", &m.url)];
        Value::object(Struct {
            type_name: "*chart.Maintainer",
            kind: "ptr",
            fields: fields.iter().map(|(go, _, value)| (*go, text(value))).collect(),
            plain: present(fields.iter().map(|(_, json, value)| (*json, text(value)))),
            methods: &[],
            printed: None,
            embedded: 0,
        })
    };
    let maintainers = named("[]*chart.Maintainer", metadata.maintainers.iter().map(maintainer).collect());
    let dependencies = named("[]*chart.Dependency", metadata.dependencies.iter().map(dependency_object).collect());
    let fields = vec![
        ("Name", "name", text(&metadata.name)),
        ("Home", "home", text(&metadata.home)),
        ("Sources", "sources", texts(&metadata.sources)),
        ("Version", "version", text(&metadata.version)),
        ("Description", "description", text(&metadata.description)),
        ("Keywords", "keywords", texts(&metadata.keywords)),
        ("Maintainers", "maintainers", maintainers),
        ("Icon", "icon", text(&metadata.icon)),
        ("APIVersion", "apiVersion", text(&metadata.api_version)),
        ("Condition", "condition", text(&metadata.condition)),
        ("Tags", "tags", text(&metadata.tags)),
        ("AppVersion", "appVersion", text(&metadata.app_version)),
        ("Deprecated", "deprecated", Value::Bool(metadata.deprecated)),
        ("Annotations", "annotations", annotations),
        ("KubeVersion", "kubeVersion", text(&metadata.kube_version)),
        ("Dependencies", "dependencies", dependencies),
        ("Type", "type", text(&metadata.chart_type)),
    ];
    let mut plain = present(fields.iter().map(|(_, json, value)| (*json, value.clone())));
    plain.push(("IsRoot", Value::Bool(is_root)));
    let mut fields: Vec<(&'static str, Value)> = fields.into_iter().map(|(go, _, value)| (go, value)).collect();
    let embedded = fields.len();
    fields.push(("IsRoot", Value::Bool(is_root)));
    Value::object(Struct {
        type_name: "struct { chart.Metadata; IsRoot bool }",
        kind: "struct",
        fields,
        plain,
        methods: &[],
        printed: None,
        embedded,
    })
}

fn dependency_object(dependency: &Dependency) -> Value {
    let text = |text: &String| Value::str(text.as_str());
    let imports = dependency.import_values.iter().map(|import| match import {
        ImportValues::Export(name) => Value::str(name.as_str()),
        ImportValues::Table { child, parent } => Value::Dict(Rc::new(Dict::from_entries(
            DictKind::Strings,
            [(Str::from("child"), text(child)), (Str::from("parent"), text(parent))],
        ))),
    });
    let imports = imports.collect::<Vec<_>>();
    let imports = if imports.is_empty() { Value::nil_list() } else { Value::list(imports) };
    let fields = [
        ("Name", "name", text(&dependency.name)),
        ("Version", "version", text(&dependency.version)),
        ("Repository", "repository", text(&dependency.repository)),
        ("Condition", "condition", text(&dependency.condition)),
        ("Tags", "tags", strings(dependency.tags.iter())),
        ("Enabled", "enabled", Value::Bool(dependency.enabled)),
        ("ImportValues", "import-values", imports),
        ("Alias", "alias", text(&dependency.alias)),
    ];
    // name and repository are always written
    let kept = |name: &str, value: &Value| value.truth() || name == "name" || name == "repository";
    let plain = fields.iter().filter(|(_, json, value)| kept(json, value)).map(|(_, json, v)| (*json, v.clone()));
    Value::object(Struct {
        type_name: "*chart.Dependency",
        kind: "ptr",
        plain: plain.collect(),
        fields: fields.iter().map(|(go, _, value)| (*go, value.clone())).collect(),
        methods: &[],
        printed: None,
        embedded: 0,
    })
}

fn present(fields: impl Iterator<Item = (&'static str, Value)>) -> Vec<(&'static str, Value)> {
    fields.filter(|(_, value)| value.truth()).collect()
}

fn strings<'a>(items: impl Iterator<Item = &'a String>) -> Value {
    let items: Vec<Value> = items.map(|s| Value::str(s.as_str())).collect();
    let nil = items.is_empty();
    Value::List(Rc::new(List { items, elem: Elem::Str, nil }))
}

fn named(name: &'static str, items: Vec<Value>) -> Value {
    let nil = items.is_empty();
    Value::List(Rc::new(List { items, elem: Elem::Named(name), nil }))
}

/// What the cluster (or the absence of one) can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Version of Kubernetes: `v1.35.0`.
    pub kube_version: String,
    /// What `.Capabilities.APIVersions` holds.
    pub api_versions: Vec<String>,
    /// What `.Capabilities.HelmVersion.Version` tells.
    pub helm_version: String,
}

impl Default for Capabilities {
    /// Returns what `helm template` of Helm 3.20 assumes.
    fn default() -> Self {
        Self {
            kube_version: "v1.35.0".to_owned(),
            api_versions: DEFAULT_API_VERSIONS.split_ascii_whitespace().map(str::to_owned).collect(),
            helm_version: "v3.20.0".to_owned(),
        }
    }
}

impl Capabilities {
    /// Sets the version from `--kube-version`: `1.30`, `v1.30.2`; `None` when it is none.
    pub fn with_kube_version(mut self, text: &str) -> Option<Self> {
        let version = super::constraint::parse_version(text)?;
        self.kube_version = format!("v{version}");
        Some(self)
    }

    fn parts(&self) -> (String, String) {
        let version = super::constraint::parse_version(&self.kube_version);
        version.map_or_else(Default::default, |v| (v.major.to_string(), v.minor.to_string()))
    }

    /// Returns what `helm template` of a Helm assumes.
    pub fn of(helm: Helm) -> Self {
        let helm_version = match helm {
            Helm::V3 => "v3.20.0",
            Helm::V4 => "v4.1.1",
        };
        Self { helm_version: helm_version.to_owned(), ..Self::default() }
    }

    /// Returns `.Capabilities`.
    pub(super) fn object(&self, helm: Helm) -> Value {
        let name = |v3: &'static str, v4: &'static str| if helm == Helm::V3 { v3 } else { v4 };
        let (major, minor) = self.parts();
        let text = |text: &str| Value::str(text);
        let kube = [("Version", text(&self.kube_version)), ("Major", text(&major)), ("Minor", text(&minor))];
        let mut fields = kube.to_vec();
        if helm == Helm::V4 {
            // the version as it was given; templates cannot name it
            fields.insert(1, ("", text(&self.kube_version)));
        }
        let kube_version = Value::object(Struct {
            type_name: name("chartutil.KubeVersion", "common.KubeVersion"),
            kind: "struct",
            fields,
            plain: kube.to_vec(),
            methods: KUBE_METHODS,
            printed: Some("Version"),
            embedded: 0,
        });
        let go_version = Value::str("go1.25.5");
        let mut build = vec![
            ("Version", text(&self.helm_version)),
            ("GitCommit", text("")),
            ("GitTreeState", text("")),
            ("GoVersion", go_version),
        ];
        if helm == Helm::V4 {
            build.push(("KubeClientVersion", text("v1.35")));
        }
        let json = ["version", "git_commit", "git_tree_state", "go_version", "kube_client_version"];
        let plain = json.iter().zip(&build).filter(|(_, (_, v))| v.truth()).map(|(name, (_, v))| (*name, v.clone()));
        let helm_version = Value::object(Struct {
            type_name: "version.BuildInfo",
            kind: "struct",
            plain: plain.collect(),
            fields: build,
            methods: &[],
            printed: None,
            embedded: 0,
        });
        let fields = vec![
            ("KubeVersion", kube_version),
            ("APIVersions", Value::object(ApiVersions(self.api_versions.clone().into(), helm))),
            ("HelmVersion", helm_version),
        ];
        Value::object(Struct {
            type_name: name("*chartutil.Capabilities", "*common.Capabilities"),
            kind: "ptr",
            plain: fields.clone(),
            fields,
            methods: &[],
            printed: None,
            embedded: 0,
        })
    }
}

static GIT_VERSION: Method = Method { name: "GitVersion", params: &[], rest: None };
static STRING: Method = Method { name: "String", params: &[], rest: None };
static KUBE_METHODS: &[(&Method, &str)] = &[(&GIT_VERSION, "Version"), (&STRING, "Version")];
static HAS: Method = Method { name: "Has", params: &[Param::Str], rest: None };

/// `.Capabilities.APIVersions`.
struct ApiVersions(Rc<[String]>, Helm);

impl Object for ApiVersions {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(if self.1 == Helm::V3 { "chartutil.VersionSet" } else { "common.VersionSet" })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "slice"
    }

    fn truth(&self) -> bool {
        !self.0.is_empty()
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        (name == b"Has").then_some(&HAS)
    }

    fn call(&self, _ctx: &mut Ctx<'_>, _method: &'static Method, args: &[Value]) -> Result<Value, FuncError> {
        Ok(Value::Bool(self.0.iter().any(|v| v.as_bytes() == args.text(0))))
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("[{}]", self.0.join(" ")).as_bytes());
    }

    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        let entry = |(index, text): (usize, &String)| (Value::Int(index as i64), Value::str(text.as_str()));
        Some(self.0.iter().enumerate().map(entry).collect())
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn plain(&self) -> Value {
        strings(self.0.iter())
    }
}

/// `.Files`: files by path, in the order of paths.
pub(super) struct FilesObject(Vec<(usize, Arc<[ChartFile]>)>);

impl FilesObject {
    /// Makes the object of all files of a chart.
    pub fn all(files: &Arc<[ChartFile]>) -> Value {
        Value::object(Self((0..files.len()).map(|i| (i, files.clone())).collect()))
    }

    fn iter(&self) -> impl Iterator<Item = &ChartFile> {
        self.0.iter().filter_map(|(index, files)| files.get(*index))
    }

    fn bytes(&self, name: &[u8]) -> Option<&[u8]> {
        let name_at = |index: usize, files: &[ChartFile]| files.get(index).map(|f| f.name.as_bytes().cmp(name));
        let compare = |(index, files): &(usize, Arc<[ChartFile]>)| name_at(*index, files).unwrap_or(Ordering::Less);
        let (index, files) = self.0.get(self.0.binary_search_by(compare).ok()?)?;
        files.get(*index).map(|f| f.content.bytes())
    }

    fn glob(&self, pattern: &[u8]) -> Value {
        // a bad pattern matches everything, as in Helm
        let glob = FilesGlob::new(&String::from_utf8_lossy(pattern)).ok();
        let taken = self.0.iter().filter(|(index, files)| {
            files.get(*index).is_some_and(|f| glob.as_ref().is_none_or(|glob| glob.matches(&f.name)))
        });
        Value::object(Self(taken.cloned().collect()))
    }

    fn config(&self, encode: impl Fn(&[u8]) -> Value) -> Value {
        let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        let entries = self.iter().map(|f| (Str::from(base(&f.name)), encode(f.content.bytes())));
        let map = Value::Dict(Rc::new(Dict::from_entries(DictKind::Strings, entries)));
        Value::str(yaml_text(&map).unwrap_or_default())
    }

    fn lines(&self, name: &[u8]) -> Result<Value, FuncError> {
        let Some(bytes) = self.bytes(name) else { return Ok(Value::strings::<Str>([])) };
        if bytes.is_empty() {
            return Err(FuncError::new("runtime error: index out of range [-1]"));
        }
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        Ok(Value::strings(body.split(|b| *b == b'\n')))
    }
}

static FILE_METHODS: [Method; 6] = [
    Method { name: "Get", params: &[Param::Str], rest: None },
    Method { name: "GetBytes", params: &[Param::Str], rest: None },
    Method { name: "Glob", params: &[Param::Str], rest: None },
    Method { name: "Lines", params: &[Param::Str], rest: None },
    Method { name: "AsConfig", params: &[], rest: None },
    Method { name: "AsSecrets", params: &[], rest: None },
];

impl Object for FilesObject {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed("engine.files")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "map"
    }

    fn truth(&self) -> bool {
        !self.0.is_empty()
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        // a file that is not there is nil bytes
        Some(Value::Bytes(Str::from(self.bytes(name).unwrap_or_default())))
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        FILE_METHODS.iter().find(|m| m.name.as_bytes() == name)
    }

    fn call(&self, _ctx: &mut Ctx<'_>, method: &'static Method, args: &[Value]) -> Result<Value, FuncError> {
        let bytes = || Str::from(self.bytes(args.text(0)).unwrap_or_default());
        match method.name {
            "Get" => Ok(Value::Str(bytes())),
            "GetBytes" => Ok(Value::Bytes(bytes())),
            "Glob" => Ok(self.glob(args.text(0))),
            "Lines" => self.lines(args.text(0)),
            "AsConfig" => Ok(self.config(|bytes| Value::Str(Str::from(bytes)))),
            _ => Ok(self.config(|bytes| Value::str(base64::engine::general_purpose::STANDARD.encode(bytes)))),
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"map[");
        for (index, file) in self.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(file.name.as_bytes());
            out.push(b':');
            out.extend_from_slice(&print::text(&Value::Bytes(Str::from(file.content.bytes()))));
        }
        out.push(b']');
    }

    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        let entry = |f: &ChartFile| (Value::str(f.name.as_str()), Value::Bytes(Str::from(f.content.bytes())));
        Some(self.iter().map(entry).collect())
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn plain(&self) -> Value {
        Value::dict(self.iter().map(|f| (Str::from(f.name.as_str()), Value::Bytes(Str::from(f.content.bytes())))))
    }
}

/// Returns `.Release`.
pub(super) fn release_object(release: &super::render::Release) -> Value {
    Value::dict([
        (Str::from("Name"), Value::str(release.name.as_str())),
        (Str::from("Namespace"), Value::str(release.namespace.as_str())),
        (Str::from("Revision"), Value::Int(release.revision)),
        (Str::from("IsInstall"), Value::Bool(!release.is_upgrade)),
        (Str::from("IsUpgrade"), Value::Bool(release.is_upgrade)),
        (Str::from("Service"), Value::str("Helm")),
    ])
}

/// The API versions that `helm template` assumes. Source: Helm 3.20.
const DEFAULT_API_VERSIONS: &str = "\
v1 admissionregistration.k8s.io/v1 admissionregistration.k8s.io/v1alpha1 admissionregistration.k8s.io/v1beta1 \
internal.apiserver.k8s.io/v1alpha1 apps/v1 apps/v1beta1 apps/v1beta2 authentication.k8s.io/v1 \
authentication.k8s.io/v1alpha1 authentication.k8s.io/v1beta1 authorization.k8s.io/v1 authorization.k8s.io/v1beta1 \
autoscaling/v1 autoscaling/v2 autoscaling/v2beta1 autoscaling/v2beta2 batch/v1 batch/v1beta1 certificates.k8s.io/v1 \
certificates.k8s.io/v1beta1 certificates.k8s.io/v1alpha1 coordination.k8s.io/v1alpha2 coordination.k8s.io/v1beta1 \
coordination.k8s.io/v1 discovery.k8s.io/v1 discovery.k8s.io/v1beta1 events.k8s.io/v1 events.k8s.io/v1beta1 \
extensions/v1beta1 flowcontrol.apiserver.k8s.io/v1 flowcontrol.apiserver.k8s.io/v1beta1 \
flowcontrol.apiserver.k8s.io/v1beta2 flowcontrol.apiserver.k8s.io/v1beta3 networking.k8s.io/v1 \
networking.k8s.io/v1beta1 node.k8s.io/v1 node.k8s.io/v1alpha1 node.k8s.io/v1beta1 policy/v1 policy/v1beta1 \
rbac.authorization.k8s.io/v1 rbac.authorization.k8s.io/v1beta1 rbac.authorization.k8s.io/v1alpha1 \
resource.k8s.io/v1 resource.k8s.io/v1beta2 resource.k8s.io/v1beta1 resource.k8s.io/v1alpha3 \
scheduling.k8s.io/v1alpha1 scheduling.k8s.io/v1beta1 scheduling.k8s.io/v1 storage.k8s.io/v1beta1 storage.k8s.io/v1 \
storage.k8s.io/v1alpha1 storagemigration.k8s.io/v1beta1 apiextensions.k8s.io/v1beta1 apiextensions.k8s.io/v1";
