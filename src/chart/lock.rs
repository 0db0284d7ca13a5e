//! What a chart declares of its dependencies, and the lock that fixes their versions.
//!
//! What lives here: Chart.yaml and requirements.yaml as far as they declare dependencies, Chart.lock and
//! requirements.lock, and the digest that ties the two. What does not: where charts come from (`repository`) and how a
//! version is chosen and fetched (`pipeline`).
//!
//! The one idea: the digest is a SHA-256 over the JSON that Helm's Go structures give; written with the same fields
//! in the same order, Helm accepts our locks and we accept Helm's.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::diag::rules::{CHART_LOCK, CHART_METADATA};
use crate::diag::{Diagnostic, Diagnostics};
use crate::eval::json::{write_float, write_string};
use crate::source::{Files, Sources, Span};
use crate::syntax::yaml::{Layout, Node, Unwritable, Writer};

use super::load::{join, parse_yaml};
use super::metadata::{Dependency, Metadata};
use super::tree::Tree;

/// What a chart declares of its dependencies.
#[derive(Clone, Debug)]
pub struct Requirements {
    /// What Chart.yaml says, with the dependencies of requirements.yaml where there is one.
    pub metadata: Metadata,
    /// The declared dependencies, in order.
    pub list: Vec<Requirement>,
    /// The lock; `None` when there is no lock file.
    pub lock: Option<Lock>,
    /// Name of the lock file: it hangs on the chart's API version.
    pub lock_file: &'static str,
}

/// One declared dependency, with the fields that only the digest knows.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// What is declared. An alias for a repository may be replaced by its address.
    pub dependency: Dependency,
    enabled: bool,
    import_values: Vec<Value>,
}

/// A lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// One for each declared dependency, in order.
    pub dependencies: Vec<Locked>,
    /// Ties the lock to what is declared.
    pub digest: String,
    /// When it was made. Unit: RFC 3339.
    pub generated: String,
    /// Where its digest stands.
    pub span: Option<Span>,
}

/// One dependency with its version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// Name of the chart.
    pub name: String,
    /// Address of the repository; empty for a chart that lies in `charts/`.
    pub repository: String,
    /// The exact version.
    pub version: String,
}

/// Reads what the chart in the folder `path` declares; `None` when Chart.yaml cannot be used, which is reported.
pub fn read_requirements(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    files: &Files,
    path: &str,
) -> Option<Requirements> {
    let place = path.trim_matches('/');
    let shown = join(place, "Chart.yaml");
    let Ok(bytes) = files.read(&shown) else {
        diagnostics.push(Diagnostic::in_file(&CHART_METADATA, place, "Chart.yaml file is missing"));
        return None;
    };
    let before = diagnostics.as_slice().len();
    let mut metadata = Metadata::default();
    let node = parse_yaml(diagnostics, sources, &shown, &bytes).1?;
    metadata.read(diagnostics, &node);
    let mut declared = raw_fields(&node);
    let old = join(place, "requirements.yaml");
    if let Ok(bytes) = files.read(&old) {
        let node = parse_yaml(diagnostics, sources, &old, &bytes).1?;
        metadata.read(diagnostics, &node);
        declared = raw_fields(&node);
    }
    metadata.check(diagnostics, &shown);
    if diagnostics.as_slice().iter().skip(before).any(|d| d.severity == crate::diag::Severity::Error) {
        return None;
    }
    let is_v1 = metadata.api_version == "v1";
    let (lock_file, other) =
        if is_v1 { ("requirements.lock", "Chart.lock") } else { ("Chart.lock", "requirements.lock") };
    let found = [lock_file, other].iter().find_map(|name| {
        let shown = join(place, name);
        files.read(&shown).ok().map(|bytes| (shown, bytes))
    });
    let lock = match found {
        Some((shown, bytes)) => Some(read_lock(diagnostics, sources, &shown, &bytes)?),
        None => None,
    };
    let fields = declared.into_iter().chain(std::iter::repeat((false, Vec::new())));
    let list = metadata.dependencies.iter().zip(fields).map(|(dependency, (enabled, import_values))| Requirement {
        dependency: dependency.clone(),
        enabled,
        import_values,
    });
    Some(Requirements { list: list.collect(), metadata, lock, lock_file })
}

/// Returns `enabled` and `import-values` of each declared dependency, as written.
fn raw_fields(node: &Node) -> Vec<(bool, Vec<Value>)> {
    let list = node.get("dependencies").and_then(Node::as_sequence).unwrap_or_default();
    let of = |node: &Node| {
        let imports = node.get("import-values").and_then(Node::as_sequence).unwrap_or_default();
        let imports = imports.iter().map(|import| Tree::from_node(import.clone()).to_json()).collect();
        (node.get("enabled").and_then(Node::as_bool).unwrap_or(false), imports)
    };
    list.iter().map(of).collect()
}

fn read_lock(diagnostics: &mut Diagnostics, sources: &Sources, shown: &str, bytes: &[u8]) -> Option<Lock> {
    let (_, node) = parse_yaml(diagnostics, sources, shown, bytes);
    let node = node?;
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::scalar_text).unwrap_or_default().to_owned();
    let locked = |node: &Node| Locked {
        name: text(node, "name"),
        repository: text(node, "repository"),
        version: text(node, "version"),
    };
    let list = node.get("dependencies").and_then(Node::as_sequence);
    let lock = Lock {
        dependencies: list.unwrap_or_default().iter().map(locked).collect(),
        digest: text(&node, "digest"),
        generated: text(&node, "generated"),
        span: Some(node.get("digest").unwrap_or(&node).span),
    };
    if lock.digest.is_empty() || lock.dependencies.iter().any(|d| d.name.is_empty()) {
        diagnostics.push(Diagnostic::at(&CHART_LOCK, node.span, "this is no lock of dependencies"));
        return None;
    }
    Some(lock)
}

/// Returns the digest of what is declared and what was chosen for it. Source: Helm 3.
pub fn digest(declared: &[Requirement], locked: &[Locked]) -> String {
    let mut out = b"[".to_vec();
    write_declared(&mut out, declared);
    out.push(b',');
    write_list(&mut out, locked, |out, locked| {
        let plain = Dependency {
            name: locked.name.clone(),
            version: locked.version.clone(),
            repository: locked.repository.clone(),
            ..Dependency::default()
        };
        write_dependency(out, &plain, false, &[]);
    });
    out.push(b']');
    sha256(&out)
}

/// Returns the digest that Helm 2 wrote into requirements.lock: of what is declared alone.
pub fn digest_of_helm2(declared: &[Requirement]) -> String {
    let mut out = b"{\"dependencies\":".to_vec();
    write_declared(&mut out, declared);
    out.push(b'}');
    sha256(&out)
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn write_declared(out: &mut Vec<u8>, declared: &[Requirement]) {
    write_list(out, declared, |out, r| write_dependency(out, &r.dependency, r.enabled, &r.import_values));
}

fn write_list<T>(out: &mut Vec<u8>, list: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Writes the fields in Helm's order; all but name and repository are left out when empty.
fn write_dependency(out: &mut Vec<u8>, dependency: &Dependency, enabled: bool, import_values: &[Value]) {
    out.extend_from_slice(b"{\"name\":");
    write_text(out, &dependency.name);
    let field = |out: &mut Vec<u8>, name: &str, text: &str| {
        if !text.is_empty() {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            write_text(out, text);
        }
    };
    field(out, "version", &dependency.version);
    out.extend_from_slice(b",\"repository\":");
    write_text(out, &dependency.repository);
    field(out, "condition", &dependency.condition);
    if !dependency.tags.is_empty() {
        out.extend_from_slice(b",\"tags\":");
        write_list(out, &dependency.tags, |out, tag| write_text(out, tag));
    }
    if enabled {
        out.extend_from_slice(b",\"enabled\":true");
    }
    if !import_values.is_empty() {
        out.extend_from_slice(b",\"import-values\":");
        write_list(out, import_values, write_value);
    }
    field(out, "alias", &dependency.alias);
    out.push(b'}');
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_string(out, text.as_bytes(), false);
}

/// Writes any value, keys sorted. How deep it nests is bounded by the YAML it was read from.
fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(flag.to_string().as_bytes()),
        Value::Number(number) => {
            // a number that is not finite cannot come out of YAML's JSON
            let _ = write_float(out, number.as_f64().unwrap_or_default());
        }
        Value::String(text) => write_text(out, text),
        Value::Array(list) => write_list(out, list, write_value),
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(out, key);
                out.push(b':');
                write_value(out, value);
            }
            out.push(b'}');
        }
    }
}

impl Lock {
    /// Writes the lock file.
    ///
    /// # Errors
    /// A name or version holds a character that YAML refuses.
    pub fn to_yaml(&self) -> Result<String, Unwritable> {
        let mut out = Writer::new(Layout::V2);
        let pair = |out: &mut Writer, key: &str, text: &str| {
            out.key(key);
            out.string(text);
        };
        out.begin_mapping(false);
        out.key("dependencies");
        out.begin_sequence(self.dependencies.is_empty());
        for locked in &self.dependencies {
            out.item();
            out.begin_mapping(false);
            pair(&mut out, "name", &locked.name);
            pair(&mut out, "repository", &locked.repository);
            pair(&mut out, "version", &locked.version);
            out.end();
        }
        if !self.dependencies.is_empty() {
            out.end();
        }
        pair(&mut out, "digest", &self.digest);
        pair(&mut out, "generated", &self.generated);
        out.end();
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MemoryObjects;

    fn requirements(files: &[(&'static str, &'static str)]) -> (Option<Requirements>, Vec<String>) {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = MemoryObjects::files(files.iter().copied());
        let read = read_requirements(&mut diagnostics, &sources, &files, "c");
        (read, diagnostics.as_slice().iter().map(|d| d.message.clone()).collect())
    }

    /// Declared and locked dependencies, made by hand. The digests come from another implementation, which agrees with
    /// 159 locks of public charts.
    const VECTORS: &str = include_str!("../../testdata/chart/locks.yaml");

    #[test]
    fn the_digest_is_the_one_that_helm_writes() {
        let node =
            crate::syntax::yaml::decode(VECTORS, crate::source::FileId(0), 0, crate::syntax::yaml::Options::HELM)
                .unwrap();
        let vectors = node.as_sequence().unwrap();
        assert_eq!(vectors.len(), 5);
        for vector in vectors {
            let text = |key: &str| -> &'static str {
                Box::leak(vector.get(key).and_then(Node::as_str).unwrap().to_owned().into_boxed_str())
            };
            let (found, faults) = requirements(&[("c/Chart.yaml", text("chart")), ("c/Chart.lock", text("lock"))]);
            let found = found.unwrap_or_else(|| panic!("{faults:?}"));
            let lock = found.lock.unwrap();
            assert_eq!(digest(&found.list, &lock.dependencies), lock.digest, "{}", text("name"));
            assert_eq!(lock.to_yaml().unwrap(), text("lock"), "{}", text("name"));
        }
    }

    #[test]
    fn a_chart_of_the_first_version_has_its_own_files() {
        let lock =
            "dependencies:\n- name: a\n  repository: \"\"\n  version: 1.0.0\ndigest: sha256:x\ngenerated: \"\"\n";
        let files = [
            ("c/Chart.yaml", "apiVersion: v1\nname: c\nversion: 1.0.0\n"),
            (
                "c/requirements.yaml",
                "dependencies:\n- {name: a, version: 1.x, enabled: true, import-values: [x, {child: a, parent: b}]}\n",
            ),
            ("c/requirements.lock", lock),
        ];
        let found = requirements(&files).0.unwrap();
        assert_eq!((found.lock_file, found.list.len()), ("requirements.lock", 1));
        assert_eq!(found.lock.unwrap().to_yaml().unwrap(), lock);
        let mut json = Vec::new();
        write_declared(&mut json, &found.list);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "[{\"name\":\"a\",\"version\":\"1.x\",\"repository\":\"\",\"enabled\":true,\
             \"import-values\":[\"x\",{\"child\":\"a\",\"parent\":\"b\"}]}]"
        );
        assert!(digest_of_helm2(&found.list).starts_with("sha256:"));
    }

    #[test]
    fn what_is_no_lock_is_reported() {
        let chart = ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n");
        assert_eq!(requirements(&[chart, ("c/Chart.lock", "a: 1")]).1, ["this is no lock of dependencies"]);
        assert_eq!(requirements(&[chart]).0.unwrap().lock, None);
        assert_eq!(requirements(&[]).1, ["Chart.yaml file is missing"]);
    }
}
