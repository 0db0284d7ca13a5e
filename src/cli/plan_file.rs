//! Saved plans as files, and where their keys come from.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::secret_key::{GLOBAL_KEY, PROJECT_KEY};
use crate::plan::Plan;
use crate::plan::saved::{PlanKey, ReadError, Saved, has_secrets, read, save};

/// Environment variables that hold a key, as hexadecimal digits.
const VARIABLES: [&str; 3] = ["STAGEWRIGHT_PLAN_KEY", "STAGEWRIGHT_SECRET_KEY", "WERF_SECRET_KEY"];

/// Where keys are looked for.
#[derive(Clone, Copy)]
pub struct KeyPlaces<'a> {
    /// The environment.
    pub env: &'a BTreeMap<String, String>,
    /// The project's directory.
    pub project: &'a Path,
}

/// Saves a plan: the file appears whole or not at all, and only its owner may read it.
pub fn save_plan(plan: &Plan, path: &Path, keys: KeyPlaces<'_>) -> Result<(), CliError> {
    let key = if has_secrets(plan) { Some(key_for_saving(keys)?) } else { None };
    let mut iv = [0; 16];
    getrandom::fill(&mut iv).map_err(|e| CliError::environment("ask for random bytes", e))?;
    let text = save(plan, key.as_ref(), iv).map_err(|e| CliError::environment(saving(path), e))?;
    write_atomically(path, text.as_bytes()).map_err(|e| CliError::environment(saving(path), e))
}

fn saving(path: &Path) -> String {
    format!("save the plan to {}", path.display())
}

/// The file has mode 0600 from the beginning.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Reads a saved plan for showing.
pub fn load_plan(path: &Path) -> Result<Saved, CliError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(CliError::user(format!("there is no saved plan {}", path.display()))
                .hint("`plan --out FILE` saves one"));
        }
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            return Err(CliError::user(format!("{} is not a saved plan", path.display())));
        }
        Err(e) => return Err(CliError::environment(format!("read the plan {}", path.display()), e)),
    };
    read(&text).map_err(|e| unusable(path, &e))
}

/// Opens a saved plan for applying: its secrets are unsealed with the first key that fits.
pub fn open_plan(path: &Path, keys: KeyPlaces<'_>) -> Result<Plan, CliError> {
    let saved = load_plan(path)?;
    let mut last = match saved.clone().open(|| None) {
        Ok(plan) => return Ok(plan),
        Err(error) => error,
    };
    for key in keys_for_reading(keys) {
        match saved.clone().open(|| Some(key)) {
            Ok(plan) => return Ok(plan),
            Err(error) => last = error,
        }
    }
    Err(unusable(path, &last))
}

fn unusable(path: &Path, error: &ReadError) -> CliError {
    let hint = match error {
        ReadError::NeedsKey | ReadError::OtherKey { .. } => {
            Some("set STAGEWRIGHT_PLAN_KEY to the key it was saved with, for example that of the secret values")
        }
        ReadError::Newer { .. } => Some("use the version of stagewright that made it, or a newer one"),
        ReadError::Changed | ReadError::NotJson(_) | ReadError::Shape(_) | ReadError::Operations(_) => {
            Some("make a new plan")
        }
        ReadError::NotAPlan => Some("`plan --out FILE` saves a plan"),
    };
    let error = CliError::user(format!("the plan {} cannot be used: {error}", path.display()));
    hint.into_iter().fold(error, CliError::hint)
}

/// The environment first, then the project, then the user's own file, which is made when it is missing.
fn key_for_saving(places: KeyPlaces<'_>) -> Result<PlanKey, CliError> {
    for variable in VARIABLES {
        if let Some(text) = places.env.get(variable).filter(|v| !v.is_empty()) {
            let bad =
                || CliError::user(format!("{variable} is not a key")).hint("a key has at least 32 hexadecimal digits");
            return PlanKey::from_hex(text).ok_or_else(bad);
        }
    }
    if let Some(key) = secret_key_files(places).iter().find_map(|file| key_of_file(file)) {
        return Ok(key);
    }
    let path = user_key(places.env).ok_or_else(|| {
        CliError::user("the plan writes Secrets, and there is no key to seal them with")
            .hint("set STAGEWRIGHT_PLAN_KEY to 64 hexadecimal digits")
    })?;
    match key_of_file(&path) {
        Some(key) => Ok(key),
        None => make_user_key(&path),
    }
}

fn make_user_key(path: &Path) -> Result<PlanKey, CliError> {
    let attempt = || format!("make the plan key {}", path.display());
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| CliError::environment(attempt(), e))?;
    let text = hex::encode(bytes);
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    match write() {
        // Somebody else made one at the same time: theirs is used.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => key_of_file(path),
        Err(e) => return Err(CliError::environment(attempt(), e)),
        Ok(()) => PlanKey::from_hex(&text),
    }
    .ok_or_else(|| CliError::user(format!("{} is not a key", path.display())))
}

fn keys_for_reading(places: KeyPlaces<'_>) -> Vec<PlanKey> {
    let variables = VARIABLES.iter().filter_map(|v| PlanKey::from_hex(places.env.get(*v)?));
    let files = secret_key_files(places).into_iter().chain(user_key(places.env));
    variables.chain(files.filter_map(|file| key_of_file(&file))).collect()
}

/// The files of the key for secret values, which also seals: who reads a plan with such values has that key.
fn secret_key_files(places: KeyPlaces<'_>) -> Vec<PathBuf> {
    let home = places.env.get("HOME").map(|home| Path::new(home).join(GLOBAL_KEY));
    std::iter::once(places.project.join(PROJECT_KEY)).chain(home).collect()
}

fn key_of_file(path: &Path) -> Option<PlanKey> {
    PlanKey::from_hex(&fs::read_to_string(path).ok()?)
}

/// Source: the XDG base directory specification.
fn user_key(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name: &str| env.get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("stagewright/plan.key"))
}
