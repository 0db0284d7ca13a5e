//! The objects that charts see: `.Chart`, `.Capabilities`, `.Files`, and the methods of `.Values`.
//!
//! What lives here: their Go shapes, to be filled with plain data. What does not: where the data comes from (`chart`).

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use super::function::{Args, Ctx, FuncError, Param};
use super::functions::yaml::yaml_text;
use super::print;
use super::value::{Dict, DictKind, Elem, List, Method, Object, ObjectRef, Str, Value};
use crate::source::glob::FilesGlob;

// ---- .Values

static AS_MAP: Method = Method { name: "AsMap", params: &[], rest: None };
static YAML: Method = Method { name: "YAML", params: &[], rest: None };
static TABLE: Method = Method { name: "Table", params: &[Param::Str], rest: None };
static PATH_VALUE: Method = Method { name: "PathValue", params: &[Param::Str], rest: None };

/// Returns a method of `chartutil.Values`.
pub(super) fn values_method(name: &[u8]) -> Option<&'static Method> {
    [&AS_MAP, &YAML, &TABLE, &PATH_VALUE].into_iter().find(|m| m.name.as_bytes() == name)
}

/// Calls a method of `chartutil.Values`.
pub(super) fn call_values(dict: &Rc<Dict>, method: &'static Method, args: &[Value]) -> Result<Value, FuncError> {
    match method.name {
        "AsMap" => Ok(Value::Dict(Rc::new(dict.copied_as(DictKind::Any)))),
        "YAML" => yaml_text(&Value::Dict(dict.clone())).map(|t| Value::str(t + "\n")).map_err(FuncError::new),
        _ => path_value(dict, args.text(0), method.name == "Table"),
    }
}

fn path_value(dict: &Rc<Dict>, path: &[u8], table: bool) -> Result<Value, FuncError> {
    let refuse = |what: &str| Err(FuncError::new(format!("{} is not a {what}", print::quoted(path))));
    let mut value = Value::Dict(dict.clone());
    for key in path.split(|b| *b == b'.') {
        let Some(next) = value.as_dict().and_then(|d| d.get(key)) else {
            return refuse(if table { "table" } else { "value" });
        };
        value = next;
    }
    match (&value, table) {
        (Value::Dict(found), true) => Ok(Value::Dict(Rc::new(found.copied_as(DictKind::Values)))),
        (_, true) => refuse("table"),
        (Value::Dict(_), false) => refuse("value"),
        (_, false) => Ok(value),
    }
}

// ---- structs

/// A field of a [`Record`].
#[derive(Clone, Debug)]
pub struct Field {
    /// Its Go name.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// Its name in JSON and YAML.
    pub json: &'static str,
    /// Whether JSON and YAML leave it out when it is empty.
    pub omit_empty: bool,
}

impl Field {
    /// Makes a field that is left out of JSON and YAML when empty.
    pub fn new(name: &'static str, json: &'static str, value: Value) -> Self {
        Self { name, value, json, omit_empty: true }
    }

    /// Makes a field that is always in JSON and YAML, under its Go name.
    pub fn always(name: &'static str, value: Value) -> Self {
        Self { name, value, json: name, omit_empty: false }
    }
}

/// A Go struct, or a pointer to one.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its type; with a `*` in front it is a pointer.
    pub type_name: &'static str,
    /// Its fields.
    pub fields: Vec<Field>,
    /// How many of the first fields are those of an embedded struct.
    pub embedded: usize,
    /// What its `String` method of a pointer receiver tells, which `{{ }}` prints.
    pub shown: Option<Str>,
}

impl Record {
    /// Makes a struct without embedded one.
    pub fn new(type_name: &'static str, fields: Vec<Field>) -> Self {
        Self { type_name, fields, embedded: 0, shown: None }
    }
}

static STRING: Method = Method { name: "String", params: &[], rest: None };
static GIT_VERSION: Method = Method { name: "GitVersion", params: &[], rest: None };

impl Object for Record {
    fn type_name(&self) -> Cow<'static, str> {
        self.type_name.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        if self.type_name.starts_with('*') { "ptr" } else { "struct" }
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        self.fields.iter().find(|f| f.name.as_bytes() == name).map(|f| f.value.clone())
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        self.shown.as_ref()?;
        [&STRING, &GIT_VERSION].into_iter().find(|m| m.name.as_bytes() == name)
    }

    fn call(&self, _ctx: &mut Ctx<'_>, _method: &'static Method, _args: &[Value]) -> Result<Value, FuncError> {
        Ok(self.shown.clone().map_or(Value::Nil, Value::Str))
    }

    fn print(&self, out: &mut Vec<u8>) {
        if self.kind() == "ptr" {
            out.push(b'&');
        }
        out.push(b'{');
        if self.embedded > 0 {
            out.push(b'{');
        }
        for (i, field) in self.fields.iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(if i == self.embedded { b"} " } else { b" " });
            }
            print::write(out, &field.value);
        }
        out.push(b'}');
    }

    fn print_action(&self, out: &mut Vec<u8>) {
        match &self.shown {
            Some(text) => out.extend_from_slice(text),
            // A pointer is followed first.
            None => {
                let start = out.len();
                self.print(out);
                if self.kind() == "ptr" && out.get(start) == Some(&b'&') {
                    out.remove(start);
                }
            }
        }
    }

    fn plain(&self) -> Value {
        let kept = self.fields.iter().filter(|f| !f.omit_empty || f.value.truth());
        Value::dict(kept.map(|f| (Str::from(f.json), f.value.clone())))
    }

    fn equal(&self, other: &ObjectRef) -> bool {
        let Some(other) = other.as_any().downcast_ref::<Self>() else { return false };
        let pairs = self.fields.iter().zip(&other.fields);
        self.type_name == other.type_name && pairs.into_iter().all(|(a, b)| a.value.deep_equal(&b.value))
    }
}

// ---- .Chart

/// What Chart.yaml says, for [`chart_object`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct ChartInfo {
    pub name: String,
    pub home: String,
    pub sources: Vec<String>,
    pub version: String,
    pub description: String,
    pub keywords: Vec<String>,
    /// Name, e-mail, URL.
    pub maintainers: Vec<[String; 3]>,
    pub icon: String,
    pub api_version: String,
    pub condition: String,
    pub tags: String,
    pub app_version: String,
    pub deprecated: bool,
    pub annotations: Vec<(String, String)>,
    pub kube_version: String,
    pub dependencies: Vec<DependencyInfo>,
    pub chart_type: String,
    /// Whether it is the chart that is rendered, not a subchart.
    pub is_root: bool,
}

/// One entry of `dependencies`.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct DependencyInfo {
    pub name: String,
    pub version: String,
    pub repository: String,
    pub condition: String,
    pub tags: Vec<String>,
    pub enabled: bool,
    pub alias: String,
}

fn text(text: &str) -> Value {
    Value::str(text)
}

fn texts(list: &[String]) -> Value {
    let items = list.iter().map(|s| text(s)).collect();
    Value::List(Rc::new(List { items, elem: Elem::Str, nil: list.is_empty() }))
}

fn named(list: Vec<Value>, type_name: &'static str) -> Value {
    let nil = list.is_empty();
    Value::List(Rc::new(List { items: list, elem: Elem::Named(type_name), nil }))
}

/// Makes `.Chart` of Helm 3.
pub fn chart_object(info: &ChartInfo) -> Value {
    let maintainer = |[name, email, url]: &[String; 3]| {
        let fields = [("Name", "name", name), ("Email", "email", email), ("URL", "url", url)];
        let fields = fields.map(|(go, json, value)| Field::new(go, json, text(value))).into();
        Value::object(Record::new("*chart.Maintainer", fields))
    };
    let dependency = |d: &DependencyInfo| {
        let repository = Field { omit_empty: false, ..Field::new("Repository", "repository", text(&d.repository)) };
        Value::object(Record::new(
            "*chart.Dependency",
            vec![
                Field { omit_empty: false, ..Field::new("Name", "name", text(&d.name)) },
                Field::new("Version", "version", text(&d.version)),
                repository,
                Field::new("Condition", "condition", text(&d.condition)),
                Field::new("Tags", "tags", texts(&d.tags)),
                Field::new("Enabled", "enabled", Value::Bool(d.enabled)),
                Field::new("ImportValues", "import-values", Value::nil_list()),
                Field::new("Alias", "alias", text(&d.alias)),
            ],
        ))
    };
    let annotations = info.annotations.iter().map(|(k, v)| (Str::from(k.as_str()), text(v)));
    let annotations = Value::Dict(Rc::new(Dict::from_entries(DictKind::Strings, annotations)));
    let maintainers = named(info.maintainers.iter().map(maintainer).collect(), "[]*chart.Maintainer");
    let dependencies = named(info.dependencies.iter().map(dependency).collect(), "[]*chart.Dependency");
    let fields = vec![
        Field::new("Name", "name", text(&info.name)),
        Field::new("Home", "home", text(&info.home)),
        Field::new("Sources", "sources", texts(&info.sources)),
        Field::new("Version", "version", text(&info.version)),
        Field::new("Description", "description", text(&info.description)),
        Field::new("Keywords", "keywords", texts(&info.keywords)),
        Field::new("Maintainers", "maintainers", maintainers),
        Field::new("Icon", "icon", text(&info.icon)),
        Field::new("APIVersion", "apiVersion", text(&info.api_version)),
        Field::new("Condition", "condition", text(&info.condition)),
        Field::new("Tags", "tags", text(&info.tags)),
        Field::new("AppVersion", "appVersion", text(&info.app_version)),
        Field::new("Deprecated", "deprecated", Value::Bool(info.deprecated)),
        Field::new("Annotations", "annotations", annotations),
        Field::new("KubeVersion", "kubeVersion", text(&info.kube_version)),
        Field::new("Dependencies", "dependencies", dependencies),
        Field::new("Type", "type", text(&info.chart_type)),
        Field::always("IsRoot", Value::Bool(info.is_root)),
    ];
    let embedded = fields.len() - 1;
    Value::object(Record { embedded, ..Record::new("struct { chart.Metadata; IsRoot bool }", fields) })
}

// ---- .Capabilities

/// What a cluster can do, for [`capabilities_object`].
#[derive(Clone, Debug)]
pub struct CapabilitiesInfo {
    /// Version of Kubernetes, with its `v`.
    pub kube_version: String,
    /// Its first number.
    pub major: String,
    /// Its second number.
    pub minor: String,
    /// The API versions, in the order that templates see.
    pub api_versions: Arc<[String]>,
    /// The version that `.Capabilities.HelmVersion.Version` tells.
    pub helm_version: String,
}

impl Default for CapabilitiesInfo {
    fn default() -> Self {
        Self {
            kube_version: "v1.35.0".to_owned(),
            major: "1".to_owned(),
            minor: "35".to_owned(),
            api_versions: DEFAULT_API_VERSIONS.iter().map(|v| (*v).to_owned()).collect(),
            helm_version: "v3.20.0".to_owned(),
        }
    }
}

/// Makes `.Capabilities`.
pub fn capabilities_object(info: &CapabilitiesInfo) -> Value {
    let kube_fields = vec![
        Field::always("Version", text(&info.kube_version)),
        Field::always("Major", text(&info.major)),
        Field::always("Minor", text(&info.minor)),
    ];
    let shown = Some(Str::from(info.kube_version.as_str()));
    let kube = Record { shown, ..Record::new("chartutil.KubeVersion", kube_fields) };
    let helm = Record::new(
        "version.BuildInfo",
        vec![
            Field::new("Version", "version", text(&info.helm_version)),
            Field::new("GitCommit", "git_commit", text("")),
            Field::new("GitTreeState", "git_tree_state", text("")),
            Field::new("GoVersion", "go_version", text("go1.25")),
        ],
    );
    Value::object(Record::new(
        "*chartutil.Capabilities",
        vec![
            Field::always("KubeVersion", Value::object(kube)),
            Field::always("APIVersions", Value::object(VersionSet(info.api_versions.clone()))),
            Field::always("HelmVersion", Value::object(helm)),
        ],
    ))
}

struct VersionSet(Arc<[String]>);

static HAS: Method = Method { name: "Has", params: &[Param::Str], rest: None };

impl Object for VersionSet {
    fn type_name(&self) -> Cow<'static, str> {
        "chartutil.VersionSet".into()
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
        print::write(out, &self.plain());
    }

    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        Some(self.0.iter().enumerate().map(|(i, v)| (Value::Int(i as i64), text(v))).collect())
    }

    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn plain(&self) -> Value {
        Value::strings(self.0.iter().map(String::as_str))
    }
}

// ---- .Files

/// `.Files`: the other files of a chart, by path.
#[derive(Clone, Debug, Default)]
pub struct ChartFiles {
    /// Path and content, ordered by path.
    files: Arc<[(String, Arc<[u8]>)]>,
}

static GET: Method = Method { name: "Get", params: &[Param::Str], rest: None };
static GET_BYTES: Method = Method { name: "GetBytes", params: &[Param::Str], rest: None };
static GLOB: Method = Method { name: "Glob", params: &[Param::Str], rest: None };
static LINES: Method = Method { name: "Lines", params: &[Param::Str], rest: None };
static AS_CONFIG: Method = Method { name: "AsConfig", params: &[], rest: None };
static AS_SECRETS: Method = Method { name: "AsSecrets", params: &[], rest: None };

impl ChartFiles {
    /// Makes the object of files in any order.
    pub fn new(files: impl IntoIterator<Item = (String, Arc<[u8]>)>) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        Self { files: files.into() }
    }

    fn get(&self, path: &[u8]) -> &[u8] {
        let found = self.files.binary_search_by(|(p, _)| p.as_bytes().cmp(path)).ok();
        found.and_then(|i| self.files.get(i)).map_or(&[], |(_, bytes)| bytes)
    }

    fn glob(&self, pattern: &[u8]) -> Self {
        // A pattern that cannot be compiled matches everything.
        let glob = FilesGlob::new(&String::from_utf8_lossy(pattern)).ok();
        let chosen = self.files.iter().filter(|(path, _)| glob.as_ref().is_none_or(|g| g.matches(path)));
        Self { files: chosen.cloned().collect() }
    }

    fn lines(&self, path: &[u8]) -> Result<Value, FuncError> {
        let known = self.files.binary_search_by(|(p, _)| p.as_bytes().cmp(path)).is_ok();
        let bytes = self.get(path);
        if !known {
            return Ok(Value::strings(Vec::<Str>::new()));
        }
        if bytes.is_empty() {
            return Err(FuncError::new("runtime error: index out of range [-1]"));
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        Ok(Value::strings(bytes.split(|b| *b == b'\n')))
    }

    fn as_yaml(&self, value: impl Fn(&[u8]) -> Value) -> Result<Value, FuncError> {
        let base = |path: &str| Str::from(path.rsplit('/').next().unwrap_or(path));
        let entries = self.files.iter().map(|(path, bytes)| (base(path), value(bytes)));
        let text = yaml_text(&Value::dict(entries)).map_err(FuncError::new)?;
        Ok(Value::str(text))
    }
}

impl Object for ChartFiles {
    fn type_name(&self) -> Cow<'static, str> {
        "engine.files".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "map"
    }

    fn truth(&self) -> bool {
        !self.files.is_empty()
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        Some(Value::Bytes(Str::from(self.get(name))))
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        let methods = [&GET, &GET_BYTES, &GLOB, &LINES, &AS_CONFIG, &AS_SECRETS];
        methods.into_iter().find(|m| m.name.as_bytes() == name)
    }

    fn call(&self, _ctx: &mut Ctx<'_>, method: &'static Method, args: &[Value]) -> Result<Value, FuncError> {
        match method.name {
            "Get" => Ok(Value::str(self.get(args.text(0)))),
            "GetBytes" => Ok(Value::Bytes(Str::from(self.get(args.text(0))))),
            "Glob" => Ok(Value::object(self.glob(args.text(0)))),
            "Lines" => self.lines(args.text(0)),
            "AsConfig" => self.as_yaml(|bytes| Value::str(bytes)),
            _ => {
                use base64::Engine as _;
                self.as_yaml(|bytes| Value::str(base64::engine::general_purpose::STANDARD.encode(bytes)))
            }
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"map[");
        for (i, (path, bytes)) in self.files.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(path.as_bytes());
            out.push(b':');
            print::bytes(out, bytes);
        }
        out.push(b']');
    }

    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        let entry = |(path, bytes): &(String, Arc<[u8]>)| (text(path), Value::Bytes(Str::from(&**bytes)));
        Some(self.files.iter().map(entry).collect())
    }

    fn len(&self) -> Option<usize> {
        Some(self.files.len())
    }

    fn plain(&self) -> Value {
        let entry = |(path, bytes): &(String, Arc<[u8]>)| (Str::from(path.as_str()), Value::Bytes(Str::from(&**bytes)));
        Value::dict(self.files.iter().map(entry))
    }
}

/// The API versions that Helm 3.20 knows without a cluster, in its order.
pub const DEFAULT_API_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "autoscaling/v2beta1",
    "autoscaling/v2beta2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha1",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];
