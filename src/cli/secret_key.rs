//! Where the key of secret values is found.

use std::path::Path;

use super::error::CliError;
use super::streams::Invocation;
use crate::chart::KeyInForce;
use crate::chart::secret::SecretKey;

/// werf's key file in a project.
pub const PROJECT_KEY: &str = ".werf_secret_key";
/// werf's key file of a user, below the home directory.
pub const GLOBAL_KEY: &str = ".werf/global_secret_key";

/// Finds the key: `STAGEWRIGHT_SECRET_KEY` (or `WERF_SECRET_KEY`), `.werf_secret_key` of the project,
/// `~/.werf/global_secret_key`; a text that is no key is told only where it is needed.
pub fn find_key(dir: &Path, invocation: &Invocation) -> Result<KeyInForce, CliError> {
    if let Some((name, text)) = variable(invocation, "SECRET_KEY") {
        return Ok(key_of(text, name));
    }
    let home = invocation.env.get("HOME").map(|home| (Path::new(home).join(GLOBAL_KEY), format!("~/{GLOBAL_KEY}")));
    for (path, shown) in std::iter::once((dir.join(PROJECT_KEY), PROJECT_KEY.to_owned())).chain(home) {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(key_of(&text, shown)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(CliError::environment(format!("read {}", path.display()), e)),
        }
    }
    Ok(KeyInForce::Missing)
}

fn key_of(text: &str, from: String) -> KeyInForce {
    match SecretKey::from_hex(text) {
        Ok(key) => KeyInForce::Found(key, from),
        Err(error) => KeyInForce::Broken(format!("{from}: {error}")),
    }
}

/// Returns a variable of ours, or of werf where ours is not set: its name and text.
pub fn variable<'a>(invocation: &'a Invocation, name: &str) -> Option<(String, &'a str)> {
    let names = ["STAGEWRIGHT_", "WERF_"].map(|prefix| format!("{prefix}{name}"));
    names.into_iter().find_map(|name| {
        let text = invocation.env.get(&name).filter(|text| !text.is_empty())?;
        Some((name, text.as_str()))
    })
}
