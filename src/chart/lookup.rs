//! Resources that `lookup` finds in files instead of in a cluster.
//!
//! What lives here: the set of resources and the answers. What does not: reading files (`cli`), live clusters.
//!
//! The one idea: an answer has the shape that a Kubernetes API server gives, so a chart cannot tell the difference.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::diag::Diagnostic;
use crate::diag::Diagnostics;
use crate::diag::rules::MANIFEST_INCOMPLETE;
use crate::eval::Value;
use crate::source::{Sources, Span};
use crate::syntax::yaml::{self, Node};

use super::objects::to_value;
use super::tree::{Data, Tree};

/// Resources by which `lookup` is answered.
#[derive(Clone, Debug, Default)]
pub struct LookupResources {
    objects: Arc<[Json]>,
}

impl LookupResources {
    /// Reads manifests, as `kubectl get -o yaml` prints them: several documents and `List` kinds are taken apart.
    pub fn read(diagnostics: &mut Diagnostics, sources: &Sources, files: &[(String, String)]) -> Self {
        let mut objects = Vec::new();
        for (name, text) in files {
            let file = sources.add(name.as_str(), text.as_str());
            for node in yaml::parse_documents(diagnostics, sources, file, yaml::Options::MANIFESTS) {
                take(diagnostics, &node, node.span, &mut objects);
            }
        }
        Self { objects: objects.into() }
    }

    /// Answers `lookup apiVersion kind namespace name`: the resource, an empty map, or without a name the list of all.
    pub fn lookup(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Value {
        let text = |object: &Json, path: &str| object.pointer(path).and_then(Json::as_str).unwrap_or("").to_owned();
        let fits = |object: &&Json| {
            text(object, "/apiVersion") == api_version
                && text(object, "/kind") == kind
                && (namespace.is_empty() || text(object, "/metadata/namespace") == namespace)
        };
        let mut found = self.objects.iter().filter(fits);
        if !name.is_empty() {
            let one = found.find(|object| text(object, "/metadata/name") == name);
            return found_value(one);
        }
        let list = serde_json::json!({
            "apiVersion": api_version,
            "kind": format!("{kind}List"),
            "metadata": { "resourceVersion": "" },
            "items": found.collect::<Vec<_>>(),
        });
        found_value(Some(&list))
    }
}

/// Returns what a template sees of an object, or of a list of objects; where there is none an empty map.
pub fn found_value(object: Option<&Json>) -> Value {
    to_value(&object.map_or_else(Tree::empty_map, tree))
}

fn take(diagnostics: &mut Diagnostics, node: &Node, span: Span, objects: &mut Vec<Json>) {
    let text = |key: &str| node.get(key).and_then(Node::as_str);
    match (text("apiVersion"), text("kind"), node.get("items").and_then(Node::as_sequence)) {
        _ if node.is_null() => {}
        (Some(_), Some(kind), Some(items)) if kind.ends_with("List") => {
            items.iter().for_each(|item| take(diagnostics, item, item.span, objects));
        }
        (Some(_), Some(_), _) if node.at(&["metadata", "name"]).is_some() => objects.push(node.to_plain()),
        _ => {
            let message = "a resource for `lookup` needs `apiVersion`, `kind` and `metadata.name`";
            diagnostics.push(Diagnostic::at(&MANIFEST_INCOMPLETE, span, message));
        }
    }
}

/// Whole numbers stay whole, as the Kubernetes client decodes them.
fn tree(json: &Json) -> Tree {
    let data = match json {
        Json::Null => Data::Null,
        Json::Bool(b) => Data::Bool(*b),
        Json::Number(n) => n.as_i64().map_or_else(|| Data::Float(n.as_f64().unwrap_or(f64::NAN)), Data::Int),
        Json::String(s) => Data::String(s.as_str().into()),
        Json::Array(list) => Data::List(Arc::new(list.iter().map(tree).collect())),
        Json::Object(map) => Data::Map(map.iter().map(|(k, v)| (k.as_str().into(), tree(v))).collect()),
    };
    data.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_by_name_and_listed_by_namespace() {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: x}\ndata: {count: 12345678}\n---\n\
                    apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b, namespace: y}}\n";
        let files = [("r.yaml".to_owned(), text.to_owned())];
        let resources = LookupResources::read(&mut diagnostics, &sources, &files);
        assert!(diagnostics.as_slice().is_empty());
        let json = |value: &Value| {
            String::from_utf8(crate::eval::json::write(value, crate::eval::json::JsonStyle::default()).unwrap())
                .unwrap()
        };
        let found = json(&resources.lookup("v1", "Secret", "x", "a"));
        assert!(found.contains("\"count\":12345678"), "{found}");
        assert_eq!(json(&resources.lookup("v1", "Secret", "y", "a")), "{}");
        let all = json(&resources.lookup("v1", "Secret", "", ""));
        assert!(all.contains("\"kind\":\"SecretList\"") && all.contains("\"b\"") && all.contains("\"a\""), "{all}");
        assert!(json(&resources.lookup("v1", "Pod", "", "")).contains("\"items\":[]"));
    }

    #[test]
    fn what_is_no_resource_is_reported_with_its_place() {
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let files = [("r.yaml".to_owned(), "kind: Secret\n".to_owned())];
        LookupResources::read(&mut diagnostics, &sources, &files);
        assert!(diagnostics.has_errors());
    }
}
