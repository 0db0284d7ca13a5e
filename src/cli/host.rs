//! What templates may ask of the world.

use std::path::Path;

use super::error::CliError;
use crate::chart::LookupResources;
use crate::diag::{Diagnostics, Severity};
use crate::eval::{FuncError, Host, NoHost, Value};
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
