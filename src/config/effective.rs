//! Every setting that is in force, and where it comes from.

use crate::source::Span;
use crate::syntax::yaml::{Node, manifest_yaml};

use super::directives::{Key, Kind, META, Shape};
use super::documents;
use super::{Config, directives};

/// A setting of werf.yaml that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The document: `meta`, or the name of an image.
    pub document: String,
    /// The path of the key: `deploy.helmRelease`, `git[0].to`.
    pub key: String,
    /// The value, as YAML in one line.
    pub value: String,
    /// Where it was set; `None` for a default.
    pub span: Option<Span>,
}

/// Returns the settings of all documents, in the order of the file, keys in the order of the reference.
pub fn effective(config: &Config) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (kind, node) in &config.documents {
        let (document, shape) = match kind {
            documents::Kind::Meta => ("meta".to_owned(), &META),
            documents::Kind::Dockerfile => (name(node), &directives::DOCKERFILE_IMAGE),
            documents::Kind::Stapel => (name(node), &directives::STAPEL_IMAGE),
        };
        section(config, &mut settings, &document, "", Some(node), shape);
    }
    settings
}

fn name(node: &Node) -> String {
    let named = node.get("image").or_else(|| node.get("artifact"));
    named.map(|n| if n.is_null() { "~".to_owned() } else { flat(n) }).unwrap_or_default()
}

fn section(
    config: &Config,
    settings: &mut Vec<Setting>,
    document: &str,
    above: &str,
    node: Option<&Node>,
    shape: &'static Shape,
) {
    for key in shape.keys() {
        let path = if above.is_empty() { key.name.to_owned() } else { format!("{above}.{}", key.name) };
        let set = node.and_then(|n| n.get(key.name)).filter(|n| !n.is_null());
        let mut push = |value: String, span| {
            settings.push(Setting { document: document.to_owned(), key: path.clone(), value, span });
        };
        match (key.kind, set) {
            (Kind::Section(inner), Some(_)) => section(config, settings, document, &path, set, inner),
            // What an absent section of the meta document means is in force all the same.
            (Kind::Section(inner), None) if shape.title == META.title => {
                section(config, settings, document, &path, None, inner);
            }
            (Kind::List(inner), Some(list)) if list.as_sequence().is_some() => {
                for (index, item) in list.as_sequence().unwrap_or_default().iter().enumerate() {
                    section(config, settings, document, &format!("{path}[{index}]"), Some(item), inner);
                }
            }
            (_, Some(value)) => push(flat(value), Some(value.span)),
            (_, None) => {
                if let Some((value, span)) = inherited(config, document, above, key) {
                    push(value, span);
                } else if !key.default.is_empty() && key.instead.is_empty() {
                    let artifact = above.is_empty() && node.is_some_and(|n| n.get("artifact").is_some());
                    let default = match key.name {
                        "final" if artifact => "false",
                        "disableGitAfterPatch" if artifact => "true",
                        _ => key.default,
                    };
                    push(default.to_owned(), None);
                }
            }
        }
    }
}

/// What an image takes over from `build`.
fn inherited(config: &Config, document: &str, above: &str, key: &Key) -> Option<(String, Option<Span>)> {
    if document == "meta" || !above.is_empty() {
        return None;
    }
    let build = &config.meta.build;
    match key.name {
        "cacheVersion" => build.cache_version.as_ref().map(|v| (v.value.clone(), Some(v.span))),
        "staged" => Some(match &build.staged {
            Some(staged) => (staged.value.to_string(), Some(staged.span)),
            None => ("false".to_owned(), None),
        }),
        "platform" => {
            let names: Vec<&str> = build.platforms.iter().map(|p| p.value.as_str()).collect();
            let list = if names.is_empty() { "[linux/amd64]".to_owned() } else { format!("[{}]", names.join(", ")) };
            Some((list, build.platforms.first().map(|p| p.span)))
        }
        _ => None,
    }
}

/// A value in one line: scalars as they are, the rest as JSON.
fn flat(node: &Node) -> String {
    match node.scalar_text() {
        Some(text) if !text.contains('\n') => text.to_owned(),
        Some(_) | None => {
            let plain = node.to_plain();
            serde_json::to_string(&plain).unwrap_or_else(|_| manifest_yaml(&plain))
        }
    }
}
