//! Secrets that must not be seen in what containers and servers say.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::plan::{Operation, Work};
use crate::source::FileId;
use crate::syntax::yaml;

/// Shorter values are found everywhere: hiding them would hide the text, and tell the value.
const SHORTEST: usize = 4;
/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// The values of the Secrets of a plan.
#[derive(Default)]
pub struct Masks(Vec<String>);

impl Masks {
    /// Gathers the values of all Secrets that a plan writes or records.
    pub fn of(operations: &[Operation]) -> Self {
        let mut values = BTreeSet::new();
        for operation in operations {
            match &operation.work {
                Work::WriteResource { sealed, .. } => {
                    if let Some(object) = sealed.reveal().and_then(|text| read(text)) {
                        of_secret(&object, &mut values);
                    }
                }
                Work::OpenRelease { payload, .. } => {
                    let release = payload.reveal().and_then(|text| serde_json::from_str::<Value>(text).ok());
                    let manifest = release.as_ref().and_then(|r| r.get("manifest")?.as_str()).unwrap_or_default();
                    let documents = manifest.split("\n---").filter(|document| document.contains("Secret"));
                    for object in documents.filter_map(|d| read(d.trim_start_matches("---"))) {
                        of_secret(&object, &mut values);
                    }
                }
                Work::BuildStage { .. }
                | Work::TagImage { .. }
                | Work::TagIndex { .. }
                | Work::CopyImage { .. }
                | Work::DeleteResource { .. }
                | Work::AwaitResource { .. }
                | Work::Gate
                | Work::RecordHooks { .. }
                | Work::ForgetRelease { .. }
                | Work::RecordRelease { .. } => {}
            }
        }
        let mut values: Vec<String> = values.into_iter().collect();
        // The longest first: one may be part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    /// Hides the secrets in a text.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, value| {
            if text.contains(value.as_str()) { text.replace(value.as_str(), HIDDEN) } else { text }
        })
    }
}

fn read(text: &str) -> Option<Value> {
    if let Ok(object) = serde_json::from_str(text) {
        return Some(object);
    }
    yaml::decode(text, FileId(u32::MAX), 0, yaml::Options::HELM).ok().map(|node| node.to_plain())
}

/// Gathers the values of a Secret, or of the Secrets in a list.
fn of_secret(object: &Value, values: &mut BTreeSet<String>) {
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match object.get("items").and_then(Value::as_array).filter(|_| is_list) {
        Some(items) => items.iter().for_each(|item| of_one(item, values)),
        None => of_one(object, values),
    }
}

fn of_one(object: &Value, values: &mut BTreeSet<String>) {
    if object.get("kind").is_none_or(|kind| kind != "Secret") {
        return;
    }
    let of = |key: &str| object.get(key).and_then(Value::as_object).into_iter().flatten();
    let mut add = |value: &str| {
        // A value of several lines is printed line by line.
        for line in std::iter::once(value).chain(value.lines()).map(str::trim) {
            if line.len() >= SHORTEST {
                values.insert(line.to_owned());
            }
        }
    };
    for value in of("stringData").filter_map(|(_, v)| v.as_str()) {
        add(value);
        add(&STANDARD.encode(value));
    }
    for value in of("data").filter_map(|(_, v)| v.as_str()) {
        add(value);
        if let Some(clear) = STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
            add(&clear);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Sensitive;

    #[test]
    fn values_of_secrets_are_hidden_in_any_form() {
        let manifest = "---\n# Source: a\nkind: Secret\ndata:\n  a: aHVudGVyMg==\n---\nkind: ConfigMap\ndata: {b: plain}\n\
             ---\nkind: List\nitems: [{kind: Secret, stringData: {x: in-a-list}}]\n";
        let payload = serde_json::json!({"manifest": manifest}).to_string();
        let open = Work::OpenRelease { release: "r".into(), revision: 1, payload: Sensitive::new(payload) };
        let write = Work::WriteResource {
            address: "s".into(),
            path: "s".into(),
            manifest: None,
            sealed: Sensitive::new(r#"{"kind":"Secret","stringData":{"t":"s3cret-1\ns3cret-2","n":"yes"}}"#.into()),
            replace: false,
            adopt: false,
            leaves_replicas: false,
        };
        let operation = |work| Operation { id: "x".into(), needs: Vec::new(), guards: Vec::new(), work };
        let masks = Masks::of(&[operation(open), operation(write)]);
        let hidden = masks.hide("hunter2 aHVudGVyMg== s3cret-2 plain yes in-a-list");
        assert_eq!(hidden, "(hidden) (hidden) (hidden) plain yes (hidden)");
    }
}
