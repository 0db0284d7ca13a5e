//! What templates may ask of the world.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::error::CliError;
use crate::chart::{LookupResources, found_value};
use crate::diag::{Diagnostics, Severity};
use crate::eval::{FuncError, Host, NoHost, Value};
use crate::ports::{ObjectQuery, Target};
use crate::report::place_text;
use crate::source::Sources;

/// A host without a cluster: `lookup` finds what `--lookup-resources` gives. Randomness is real: a generated
/// password must not be guessable.
#[derive(Clone, Default)]
pub struct ProcessHost {
    resources: Option<LookupResources>,
}

impl ProcessHost {
    /// Reads the files and folders of `--lookup-resources`.
    pub fn new(paths: &[String], cwd: &Path) -> Result<Self, CliError> {
        if paths.is_empty() {
            return Ok(Self::default());
        }
        let mut files = Vec::new();
        for typed in paths {
            let told = |e| CliError::environment(format!("read the resources {typed}"), e);
            let path = cwd.join(typed);
            if !path.is_dir() {
                files.push((typed.clone(), std::fs::read_to_string(&path).map_err(told)?));
                continue;
            }
            let entries = std::fs::read_dir(&path).map_err(told)?.collect::<Result<Vec<_>, _>>().map_err(told)?;
            let mut names: Vec<String> =
                entries.iter().filter_map(|entry| Some(entry.file_name().to_str()?.to_owned())).collect();
            names.retain(|name| [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)));
            names.sort();
            for name in names {
                let text = std::fs::read_to_string(path.join(&name)).map_err(told)?;
                files.push((format!("{}/{name}", typed.trim_end_matches('/')), text));
            }
        }
        let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
        let resources = LookupResources::read(&mut diagnostics, &sources, &files);
        if let Some(fault) = diagnostics.as_slice().iter().find(|d| d.severity == Severity::Error) {
            let place = fault.primary.as_ref().map(|label| format!("{}: ", place_text(&sources.place(label.span))));
            return Err(CliError::user(format!("--lookup-resources: {}{}", place.unwrap_or_default(), fault.message)));
        }
        Ok(Self { resources: Some(resources) })
    }
}

impl Host for ProcessHost {
    fn call(&self, function: &str, args: &[Value]) -> Result<Value, FuncError> {
        let text = |i: usize| args.get(i).and_then(Value::as_bytes).map(String::from_utf8_lossy).unwrap_or_default();
        match (&self.resources, function) {
            (Some(resources), "lookup") => Ok(resources.lookup(&text(0), &text(1), &text(2), &text(3))),
            _ => NoHost.call(function, args),
        }
    }

    fn random(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system has random bytes");
    }
}

/// A host whose `lookup` asks the target, unless `--lookup-resources` answers. A question is asked once: all renderings of a
/// run see the same.
pub struct LiveHost<'a> {
    host: &'a ProcessHost,
    target: Option<&'a dyn Target>,
    answers: Mutex<BTreeMap<[String; 4], Option<Json>>>,
    /// Who is asked what is served.
    apis_of: Option<&'a dyn Target>,
    apis: OnceLock<Result<Option<Vec<String>>, String>>,
}

impl<'a> LiveHost<'a> {
    /// Asks a target, where there is one.
    pub fn new(host: &'a ProcessHost, target: Option<&'a dyn Target>) -> Self {
        Self {
            host,
            target: target.filter(|_| host.resources.is_none()),
            answers: Mutex::default(),
            apis_of: target,
            apis: OnceLock::new(),
        }
    }
}

impl Host for LiveHost<'_> {
    fn call(&self, function: &str, args: &[Value]) -> Result<Value, FuncError> {
        let Some(target) = self.target.filter(|_| function == "lookup") else { return self.host.call(function, args) };
        let text = |i: usize| args.get(i).and_then(Value::as_bytes).map(String::from_utf8_lossy).unwrap_or_default();
        let key = [0, 1, 2, 3].map(|i| text(i).into_owned());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = answers.get(&key) {
            return Ok(found_value(known.as_ref()));
        }
        let [api_version, kind, namespace, name] = &key;
        let found = target.lookup(&ObjectQuery { api_version, kind, namespace, name });
        let found = found.map_err(|error| FuncError::new(format!("{error}: {}", error.source)))?;
        let value = found_value(found.as_ref());
        answers.insert(key, found);
        Ok(value)
    }

    fn random(&self, buffer: &mut [u8]) {
        self.host.random(buffer);
    }

    fn api_versions(&self) -> Result<Option<Vec<String>>, String> {
        let ask = || {
            let Some(target) = self.apis_of else { return Ok(None) };
            target.api_versions().map_err(|error| format!("{error}: {}", error.source))
        };
        self.apis.get_or_init(ask).clone()
    }

    /// The values of the Secrets that were looked up.
    fn secrets(&self) -> Vec<String> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secrets = Vec::new();
        for object in answers.values().flatten() {
            let items = object.get("items").and_then(Json::as_array);
            let objects = items.into_iter().flatten().chain(std::iter::once(object));
            for secret in objects.filter(|object| object.get("kind").is_some_and(|kind| kind == "Secret")) {
                let data = secret.get("data").and_then(Json::as_object).into_iter().flatten();
                let texts =
                    data.filter_map(|(_, value)| String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok());
                secrets.extend(texts);
            }
        }
        secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_that_were_looked_up_are_secret() {
        let host = ProcessHost::default();
        let live = LiveHost::new(&host, None);
        let secret = serde_json::json!({"kind": "Secret", "data": {"a": "aHVudGVyMg=="}});
        let list =
            serde_json::json!({"kind": "SecretList", "items": [{"kind": "Secret", "data": {"b": "c3dvcmRmaXNo"}}]});
        let map = serde_json::json!({"kind": "ConfigMap", "data": {"a": "aHVudGVyMw=="}});
        for (name, object) in [("a", Some(secret)), ("b", Some(list)), ("c", Some(map)), ("d", None)] {
            live.answers.lock().unwrap().insert([name, "", "", ""].map(str::to_owned), object);
        }
        assert_eq!(live.secrets(), ["hunter2", "swordfish"]);
    }
}
