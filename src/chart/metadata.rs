//! Chart.yaml: the fields of a chart, its dependencies and their checks.
//!
//! Source: Helm 3.20, chart API v1 and v2. Numbers and booleans are taken where a string is wanted, as Helm does.

use crate::diag::rules::{CHART_METADATA, CHART_UNKNOWN_KEY};
use crate::diag::{Diagnostic, Diagnostics, did_you_mean};
use crate::source::Span;
use crate::syntax::yaml::{Data, Node, write_float_g};

use super::constraint::parse_version;

/// The fields of Chart.yaml.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct Metadata {
    pub name: String,
    pub home: String,
    pub sources: Vec<String>,
    pub version: String,
    pub description: String,
    pub keywords: Vec<String>,
    pub maintainers: Vec<Maintainer>,
    pub icon: String,
    pub api_version: String,
    pub condition: String,
    pub tags: String,
    pub app_version: String,
    pub deprecated: bool,
    pub annotations: Vec<(String, String)>,
    pub kube_version: String,
    pub dependencies: Vec<Dependency>,
    pub chart_type: String,
    /// Where the chart says its name; `None` when no file says it.
    pub span: Option<Span>,
}

/// Who maintains a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct Maintainer {
    pub name: String,
    pub email: String,
    pub url: String,
}

/// One declared dependency.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of Chart.yaml")]
pub struct Dependency {
    pub name: String,
    pub version: String,
    pub repository: String,
    pub condition: String,
    pub tags: Vec<String>,
    /// Set while dependencies are resolved.
    pub enabled: bool,
    pub import_values: Vec<ImportValues>,
    pub alias: String,
    /// Where it is declared.
    pub span: Option<Span>,
}

/// Which values of a dependency become values of the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportValues {
    /// The table `exports.NAME` of the child goes to the root of the parent.
    Export(String),
    /// The table `child` of the child goes to `parent` of the parent.
    Table {
        /// Path in the values of the child.
        child: String,
        /// Path in the values of the parent.
        parent: String,
    },
}

/// Every key of Chart.yaml.
const KEYS: &[&str] = &[
    "name",
    "home",
    "sources",
    "version",
    "description",
    "keywords",
    "maintainers",
    "icon",
    "apiVersion",
    "condition",
    "tags",
    "appVersion",
    "deprecated",
    "annotations",
    "kubeVersion",
    "dependencies",
    "type",
];
/// Every key of a dependency.
const DEPENDENCY_KEYS: &[&str] =
    &["name", "version", "repository", "condition", "tags", "enabled", "import-values", "alias", "export-values"];

impl Metadata {
    /// Says whether this is a library: only its `_` files are templates, and it cannot be installed alone.
    pub fn is_library(&self) -> bool {
        self.chart_type.eq_ignore_ascii_case("library")
    }

    /// Takes the fields of a Chart.yaml (or requirements.yaml) over what is there.
    pub fn read(&mut self, diagnostics: &mut Diagnostics, node: &Node) {
        let mut reader = Reader { diagnostics };
        let Some(mapping) = node.as_mapping() else {
            if !node.is_null() {
                reader.fault(node, format!("the chart must be a mapping, not a {}", node.kind()));
            }
            return;
        };
        for entry in mapping {
            let value = &entry.value;
            match &*entry.name {
                "name" => {
                    self.name = reader.string(value);
                    self.span = Some(value.span);
                }
                "home" => self.home = reader.string(value),
                "sources" => self.sources = reader.strings(value),
                "version" => self.version = reader.string(value),
                "description" => self.description = reader.string(value),
                "keywords" => self.keywords = reader.strings(value),
                "maintainers" => self.maintainers = reader.list(value, Reader::maintainer),
                "icon" => self.icon = reader.string(value),
                "apiVersion" => self.api_version = reader.string(value),
                "condition" => self.condition = reader.string(value),
                "tags" => self.tags = reader.string(value),
                "appVersion" => self.app_version = reader.string(value),
                "deprecated" => self.deprecated = value.as_bool().unwrap_or(false),
                "annotations" => self.annotations = reader.pairs(value),
                "kubeVersion" => self.kube_version = reader.string(value),
                "dependencies" => self.dependencies = reader.list(value, Reader::dependency),
                "type" => self.chart_type = reader.string(value),
                // keys of Helm 2 and of old tools
                "engine" | "tillerVersion" | "created" | "digest" | "urls" => {}
                _ => reader.unknown(&entry.key, &entry.name, KEYS),
            }
        }
    }

    /// Checks what Helm checks of a loaded chart; `path` is shown where no place is known.
    pub fn check(&self, diagnostics: &mut Diagnostics, path: &str) {
        let mut fault = |message: String| diagnostics.push(fault_at(self.span, path, message));
        for (value, name) in [(&self.api_version, "apiVersion"), (&self.name, "name"), (&self.version, "version")] {
            if value.is_empty() {
                fault(format!("`{name}` is required"));
            }
        }
        if self.name == "." || self.name == ".." || self.name.contains('/') {
            fault(format!("chart name `{}` is invalid", self.name));
        }
        if !self.version.is_empty() && parse_version(&self.version).is_none() {
            fault(format!("chart version `{}` is invalid", self.version));
        }
        if !matches!(self.chart_type.as_str(), "" | "application" | "library") {
            fault("`type` must be `application` or `library`".to_owned());
        }
        let mut seen: Vec<&str> = Vec::new();
        for dependency in &self.dependencies {
            let key = if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias };
            let bad = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if dependency.alias.contains(bad) {
                let message = format!("dependency `{}` has bad characters in its alias", dependency.name);
                diagnostics.push(fault_at(dependency.span, path, message));
            }
            if seen.contains(&key.as_str()) {
                let message = format!("more than one dependency with name or alias `{key}`");
                diagnostics.push(fault_at(dependency.span, path, message));
            }
            seen.push(key);
        }
    }
}

fn fault_at(span: Option<Span>, path: &str, message: String) -> Diagnostic {
    match span {
        Some(span) => Diagnostic::at(&CHART_METADATA, span, message),
        None => Diagnostic::in_file(&CHART_METADATA, path, message),
    }
}

struct Reader<'d> {
    diagnostics: &'d mut Diagnostics,
}

impl Reader<'_> {
    fn fault(&mut self, node: &Node, message: String) {
        self.diagnostics.push(Diagnostic::at(&CHART_METADATA, node.span, message));
    }

    fn unknown(&mut self, key: &Node, name: &str, known: &[&str]) {
        let mut diagnostic = Diagnostic::at(&CHART_UNKNOWN_KEY, key.span, format!("`{name}` is no key of Chart.yaml"));
        diagnostic.hints.extend(did_you_mean(name, known.iter().copied()).map(|k| format!("did you mean `{k}`?")));
        self.diagnostics.push(diagnostic);
    }

    /// Reads a string; numbers and booleans become text as Helm makes it, white space and control characters go.
    fn string(&mut self, node: &Node) -> String {
        let text = match &node.data {
            Data::Null => return String::new(),
            Data::String(text) => text.to_string(),
            Data::Bool(b) => b.to_string(),
            Data::Int(n) => n.to_string(),
            Data::Uint(n) => n.to_string(),
            Data::Float(f) => {
                // Helm formats with the digits of a 32-bit float
                let mut text = String::new();
                write_float_g(&mut text, (*f as f32).to_string().parse().unwrap_or(*f));
                text
            }
            Data::Sequence(_) | Data::Mapping(_) => {
                self.fault(node, format!("a string is expected, not a {}", node.kind()));
                return String::new();
            }
        };
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !c.is_control()).collect()
    }

    fn strings(&mut self, node: &Node) -> Vec<String> {
        self.list(node, Self::string)
    }

    fn list<T>(&mut self, node: &Node, mut read: impl FnMut(&mut Self, &Node) -> T) -> Vec<T> {
        match (node.as_sequence(), node.is_null()) {
            (Some(items), _) => items.iter().map(|item| read(self, item)).collect(),
            (None, true) => Vec::new(),
            (None, false) => {
                self.fault(node, format!("a list is expected, not a {}", node.kind()));
                Vec::new()
            }
        }
    }

    fn pairs(&mut self, node: &Node) -> Vec<(String, String)> {
        match (node.as_mapping(), node.is_null()) {
            (Some(mapping), _) => mapping.iter().map(|e| (e.name.to_string(), self.string(&e.value))).collect(),
            (None, true) => Vec::new(),
            (None, false) => {
                self.fault(node, format!("a mapping is expected, not a {}", node.kind()));
                Vec::new()
            }
        }
    }

    fn maintainer(&mut self, node: &Node) -> Maintainer {
        let mut field = |name: &str| node.get(name).map(|n| self.string(n)).unwrap_or_default();
        let maintainer = Maintainer { name: field("name"), email: field("email"), url: field("url") };
        if node.as_mapping().is_none() {
            self.fault(node, "a maintainer is a mapping of `name`, `email` and `url`".to_owned());
        }
        maintainer
    }

    fn dependency(&mut self, node: &Node) -> Dependency {
        let mut dependency = Dependency { span: Some(node.span), ..Dependency::default() };
        let Some(mapping) = node.as_mapping() else {
            self.fault(node, "a dependency is a mapping with `name`, `version` and `repository`".to_owned());
            return dependency;
        };
        for entry in mapping {
            let value = &entry.value;
            match &*entry.name {
                "name" => {
                    dependency.name = self.string(value);
                    dependency.span = Some(value.span);
                }
                "version" => dependency.version = self.string(value),
                "repository" => dependency.repository = self.string(value),
                "condition" => dependency.condition = self.string(value),
                "tags" => dependency.tags = self.strings(value),
                "alias" => dependency.alias = self.string(value),
                "import-values" => {
                    dependency.import_values = self.list(value, Self::import_values).into_iter().flatten().collect();
                }
                "enabled" | "export-values" => {}
                _ => self.unknown(&entry.key, &entry.name, DEPENDENCY_KEYS),
            }
        }
        dependency
    }

    fn import_values(&mut self, node: &Node) -> Option<ImportValues> {
        if let Some(name) = node.as_str() {
            return Some(ImportValues::Export(name.to_owned()));
        }
        if let (Some(child), Some(parent)) = (node.get("child"), node.get("parent")) {
            return Some(ImportValues::Table { child: self.string(child), parent: self.string(parent) });
        }
        self.fault(node, "an import is a name of `exports` or a mapping of `child` and `parent`".to_owned());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;
    use crate::syntax::yaml::{Options, decode};

    fn read(text: &str) -> (Metadata, Vec<String>) {
        let mut diagnostics = Diagnostics::new();
        let mut metadata = Metadata::default();
        let node = decode(text, FileId(0), 0, Options::HELM).unwrap();
        metadata.read(&mut diagnostics, &node);
        metadata.check(&mut diagnostics, "Chart.yaml");
        (metadata, diagnostics.as_slice().iter().map(|d| d.message.clone()).collect())
    }

    #[test]
    fn numbers_become_the_text_that_helm_makes() {
        let (metadata, faults) =
            read("apiVersion: v2\nname: a\nversion: 1.2.3\nappVersion: 1.10\nkubeVersion: 1000000");
        assert_eq!((metadata.app_version.as_str(), metadata.kube_version.as_str()), ("1.1", "1000000"));
        assert_eq!(faults, [] as [String; 0]);
        assert_eq!(read("appVersion: 1.123456789").0.app_version, "1.1234568");
    }

    #[test]
    fn faults_are_all_reported() {
        let (_, faults) = read("nmae: a\nversion: x\ntype: app\ndependencies: [{name: a}, {name: b, alias: a}, 5]");
        assert_eq!(
            faults,
            [
                "`nmae` is no key of Chart.yaml",
                "a dependency is a mapping with `name`, `version` and `repository`",
                "`apiVersion` is required",
                "`name` is required",
                "chart version `x` is invalid",
                "`type` must be `application` or `library`",
                "more than one dependency with name or alias `a`",
            ]
        );
    }
}
