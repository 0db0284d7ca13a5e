//! Which values of a resource are not shown, as its annotations say: `werf.io/sensitive`, `werf.io/sensitive-paths`.
//!
//! The one idea: what of a path is not understood hides more, never less. Source: Nelm 1.30.

use serde_json::Value;

/// Which values of a resource are not shown, besides those of Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrecy {
    /// All but what names it.
    pub all: bool,
    /// These and what is below them.
    pub paths: Vec<Vec<Step>>,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This key.
    Key(String),
    /// Any key, or any item.
    Any,
    /// Any number of steps.
    Deep,
}

impl Secrecy {
    /// Reads what a manifest, or a live object, says of itself.
    pub fn of(object: &Value) -> Self {
        let annotation = |key: &str| object.get("metadata")?.get("annotations")?.get(key)?.as_str();
        let all = annotation("werf.io/sensitive").is_some_and(|text| matches!(text.trim(), "true" | "1" | "t" | "T"));
        match annotation("werf.io/sensitive-paths").map(read_paths) {
            Some(Ok(paths)) => Self { all, paths },
            Some(Err(_)) => Self { all: true, paths: Vec::new() },
            None => Self { all, paths: Vec::new() },
        }
    }

    /// Says whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        !self.all && self.paths.is_empty()
    }

    /// Says whether a value that is shown whole may hold something hidden, whatever its path.
    pub fn reaches_into(&self, value: &Value) -> bool {
        let is_deep = self.paths.iter().flatten().any(|step| *step == Step::Deep);
        is_deep && (value.is_object() || value.is_array())
    }

    /// Says whether the value of a field is hidden; the path is that of a changed field.
    pub fn hides(&self, path: &str) -> bool {
        if path.contains("last-applied-configuration") && !self.is_empty() {
            return true;
        }
        let keys = keys_of(path);
        let first = keys.first().map(String::as_str).unwrap_or_default();
        let names = matches!(first, "apiVersion" | "kind" | "metadata");
        (self.all && !names) || self.paths.iter().any(|steps| meets(steps, &keys))
    }
}

/// Says whether a field lies within a path, or a path within a field that is shown whole.
fn meets(steps: &[Step], keys: &[String]) -> bool {
    match (steps.split_first(), keys.split_first()) {
        (Some((Step::Deep, _)), None) => false,
        (None, _) | (_, None) => true,
        (Some((Step::Deep, rest)), Some((_, below))) => meets(rest, keys) || meets(steps, below),
        (Some((Step::Any, rest)), Some((_, below))) => meets(rest, below),
        (Some((Step::Key(key), rest)), Some((found, below))) => key == found && meets(rest, below),
    }
}

/// Splits the path of a changed field: `spec.env[name=A].value`, `metadata.labels[a.b/c]`.
pub(super) fn keys_of(path: &str) -> Vec<String> {
    let (mut keys, mut key, mut within) = (Vec::new(), String::new(), false);
    for c in path.chars() {
        match c {
            '[' if !within => {
                within = true;
                keys.extend(Some(std::mem::take(&mut key)).filter(|k| !k.is_empty()));
            }
            ']' if within => {
                within = false;
                keys.push(std::mem::take(&mut key));
            }
            '.' if !within => keys.extend(Some(std::mem::take(&mut key)).filter(|k| !k.is_empty())),
            c => key.push(c),
        }
    }
    keys.extend(Some(key).filter(|k| !k.is_empty()));
    keys
}

/// Reads a list of paths such as `$.data.token, $.spec.env[*].value`; a comma within a path is written `\,`.
///
/// # Errors
/// The path that is none.
pub fn read_paths(text: &str) -> Result<Vec<Vec<Step>>, String> {
    let joined = text.replace("\\,", "\u{0}");
    let parts = joined.split(',').map(|part| part.trim().replace('\u{0}', ","));
    parts.filter(|part| !part.is_empty()).map(|part| read_path(&part).ok_or(part)).collect()
}

fn read_path(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(deep) = rest.strip_prefix("..") {
            steps.push(Step::Deep);
            // The name follows as after one dot.
            let (step, next) = name_step(deep)?;
            steps.push(step);
            rest = next;
        } else if let Some(after) = rest.strip_prefix('.') {
            let (step, next) = name_step(after)?;
            steps.push(step);
            rest = next;
        } else {
            let (within, next) = rest.strip_prefix('[')?.split_once(']')?;
            let quoted = |q: char| within.strip_prefix(q).and_then(|w| w.strip_suffix(q));
            // Which item of a list is meant may change with the list: all of them are.
            steps.push(quoted('\'').or_else(|| quoted('"')).map_or(Step::Any, |key| Step::Key(key.to_owned())));
            rest = next;
        }
    }
    (!steps.is_empty()).then_some(steps)
}

fn name_step(text: &str) -> Option<(Step, &str)> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    match name {
        "" => None,
        "*" => Some((Step::Any, rest)),
        name => Some((Step::Key(name.to_owned()), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hidden(paths: &str, field: &str) -> bool {
        Secrecy { all: false, paths: read_paths(paths).unwrap() }.hides(field)
    }

    #[test]
    fn paths_hide_what_they_name_and_what_is_below() {
        assert!(hidden("$.data.token", "data.token") && !hidden("$.data.token", "data.tokens"));
        assert!(hidden("$.data", "data.a.b") && hidden("$.a, $.data['x.y']", "data[x.y]"));
        assert!(hidden("$.spec.env[*].value", "spec.env[name=A].value"));
        assert!(hidden("$.spec.env[0].value", "spec.env[name=B].value"), "any item may be meant");
        assert!(!hidden("$.spec.env[*].value", "spec.env[name=A].name"));
        assert!(hidden("$..password", "spec.db[0].password") && !hidden("$..password", "spec.db[0].user"));
        assert!(hidden("$.data.a.b", "data"), "a field that is shown whole holds it");
        assert!(hidden("$.data.a\\,b", "data[a,b]"));
    }

    #[test]
    fn what_is_no_path_is_said() {
        assert_eq!(read_paths("$.a, data.b"), Err("data.b".to_owned()));
        assert!(["$", "$.", "$.a[", "a"].iter().all(|path| read_paths(path).is_err()));
    }

    #[test]
    fn all_of_a_resource_is_all_but_its_name() {
        let secrecy = Secrecy::of(&json!({"metadata": {"annotations": {"werf.io/sensitive": "true"}}}));
        assert!(secrecy.hides("spec.x") && secrecy.hides("data[a.b]") && !secrecy.hides("metadata.labels.app"));
        let broken = json!({"metadata": {"annotations": {"werf.io/sensitive-paths": "data.x"}}});
        assert!(Secrecy::of(&broken).hides("data.y"));
        assert!(Secrecy::of(&json!({})).is_empty());
    }
}
