//! Values from the command line: files are read here, `--set` arguments are handed on.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::args::{NullsProfile, ValuesArgs};
use super::error::CliError;
use crate::chart::Nulls;
use crate::chart::strvals::SetKind;

/// A file of values: its name as typed, and its content.
pub type NamedFile = (String, Arc<[u8]>);

/// Reads the files of `-f`, relative to the current directory; `-` is stdin. Source: Helm.
pub fn value_files(args: &ValuesArgs, cwd: &Path) -> Result<Vec<NamedFile>, CliError> {
    args.values.iter().map(|name| Ok((name.clone(), value_file("--values", name, cwd)?))).collect()
}

/// Reads one file of values.
pub fn value_file(option: &str, name: &str, cwd: &Path) -> Result<Arc<[u8]>, CliError> {
    if name == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        return read.map(|_| bytes.into()).map_err(|e| CliError::environment("read values from stdin", e));
    }
    if name.contains("://") {
        return Err(CliError::user(format!("{option} {name}: values cannot be read from a URL")));
    }
    match std::fs::read(cwd.join(name)) {
        Ok(bytes) => Ok(bytes.into()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(CliError::user(format!("{option} {name}: there is no such file"))
                .hint("check the name; a file of the project must be committed"))
        }
        Err(e) => Err(CliError::environment(format!("read the values {name}"), e)),
    }
}

/// Returns what a null means.
pub fn nulls(args: &ValuesArgs) -> Nulls {
    chosen_nulls(args).unwrap_or_default()
}

/// Returns what a null means, where that is said.
pub fn chosen_nulls(args: &ValuesArgs) -> Option<Nulls> {
    args.values_nulls.map(|profile| match profile {
        NullsProfile::Helm => Nulls::Helm,
        NullsProfile::Helm4 => Nulls::Helm4,
        NullsProfile::Werf => Nulls::Werf,
        NullsProfile::Strict => Nulls::Strict,
    })
}

/// Returns the `--set` family in the order of their kinds.
pub fn sets(args: &ValuesArgs) -> Vec<(SetKind, String)> {
    let kinds = [
        (SetKind::Json, &args.set_json),
        (SetKind::Typed, &args.set),
        (SetKind::String, &args.set_string),
        (SetKind::File, &args.set_file),
        (SetKind::Literal, &args.set_literal),
    ];
    kinds.iter().flat_map(|(kind, list)| list.iter().map(|text| (*kind, text.clone()))).collect()
}

/// Reads a file that `--set-file` names.
pub fn read_file(path: &str, cwd: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(cwd.join(path)).map_err(|e| format!("`{path}` cannot be read: {e}"))
}
