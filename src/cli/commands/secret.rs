//! `secret`: keys, and encrypting, decrypting and editing of secret values and files.
//!
//! Files are read and written where they lie on the disk: a commit comes after. Decrypted text goes to stdout only when it
//! is asked for, and to the disk only while an editor is open, in a file that nobody else may read.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::args::{GlobalArgs, SecretCommand, SecretEditArgs, SecretFileArgs, SecretRotateArgs};
use super::super::error::{CliError, exit_code};
use super::super::interrupt;
use super::super::project::directory;
use super::super::secret_key::{find_key, variable};
use super::super::streams::Invocation;
use crate::chart::KeyInForce;
use crate::chart::secret::{SecretError, SecretKey, decrypt_values, encrypt_values};

/// What the files of values are called.
const VALUES: &str = "secret-values.yaml";
/// Where the chart is, unless werf.yaml says something else: then files are named.
const CHART: &str = ".helm";

pub fn run(global: &GlobalArgs, command: &SecretCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    let dir = directory(global, invocation)?;
    match command {
        SecretCommand::GenerateKey => invocation.streams.print(&format!("{}\n", hex::encode(random())))?,
        SecretCommand::Encrypt(args) => {
            let key = key_in_force(&dir, invocation)?;
            transform(args, invocation, |text, is_values| encrypt(&key, text, is_values, None))?;
        }
        SecretCommand::Decrypt(args) => {
            let key = key_in_force(&dir, invocation)?;
            transform(args, invocation, |text, is_values| decrypt(&key, text, is_values))?;
        }
        SecretCommand::Edit(args) => edit(args, &key_in_force(&dir, invocation)?, invocation)?,
        SecretCommand::Rotate(args) => rotate(args, &dir, invocation)?,
    }
    Ok(exit_code::DONE)
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

fn key_in_force(dir: &Path, invocation: &Invocation) -> Result<SecretKey, CliError> {
    match find_key(dir, invocation)? {
        KeyInForce::Found(key, _) => Ok(key),
        KeyInForce::Broken(why) => Err(CliError::user(why)),
        KeyInForce::Missing | KeyInForce::Ignored => {
            let hint = "`secret generate-key` makes one; keep it in `.werf_secret_key`, which is not to be committed";
            Err(CliError::user("there is no secret key").hint(hint))
        }
    }
}

fn is_values(path: &str, asked: bool) -> bool {
    asked || path.ends_with(VALUES)
}

/// Reads, changes and writes.
fn transform(
    args: &SecretFileArgs,
    invocation: &mut Invocation,
    change: impl Fn(&[u8], bool) -> Result<Vec<u8>, String>,
) -> Result<(), CliError> {
    let name = args.file.as_deref().unwrap_or("stdin");
    let text = if let Some(file) = &args.file {
        read(&invocation.cwd.join(file), file)?
    } else {
        let mut text = Vec::new();
        if invocation.streams.can_ask() {
            invocation.streams.inform("Enter the text, then end it with ^D:");
        }
        std::io::stdin().read_to_end(&mut text).map_err(|e| CliError::environment("read stdin", e))?;
        text
    };
    let changed =
        change(&text, is_values(name, args.values)).map_err(|why| CliError::user(format!("{name}: {why}")))?;
    if let Some(file) = &args.output_file_path {
        return write(&invocation.cwd.join(file), file, &changed);
    }
    invocation.streams.print_bytes(&changed)?;
    if changed.last().is_some_and(|last| *last != b'\n') {
        invocation.streams.print("\n")?;
    }
    Ok(())
}

fn encrypt(key: &SecretKey, text: &[u8], is_values: bool, before: Option<&str>) -> Result<Vec<u8>, String> {
    if !is_values {
        return Ok(format!("{}\n", key.encrypt(text, random())).into_bytes());
    }
    let text = std::str::from_utf8(text).map_err(|_| "the file is not UTF-8".to_owned())?;
    encrypt_values(key, text, before, &mut random).map(String::into_bytes).map_err(|e| e.to_string())
}

fn decrypt(key: &SecretKey, text: &[u8], is_values: bool) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|_| SecretError::Format.to_string())?;
    if is_values {
        decrypt_values(key, text).map(String::into_bytes).map_err(|e| e.to_string())
    } else {
        key.decrypt(text).map_err(|e| e.to_string())
    }
}

fn edit(args: &SecretEditArgs, key: &SecretKey, invocation: &Invocation) -> Result<(), CliError> {
    let path = invocation.cwd.join(&args.file);
    let is_values = is_values(&args.file, args.values);
    let told = |why: String| CliError::user(format!("{}: {why}", args.file));
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(CliError::environment(format!("read {}", args.file), e)),
    };
    let plain = decrypt(key, before.as_bytes(), is_values).map_err(told)?;
    // Only its owner may read it. A signal ends the editor, not us: the file goes in any case.
    let _held = interrupt::handed_on()?;
    let runtime = invocation.env.get("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let place = runtime.unwrap_or_else(std::env::temp_dir);
    let open = tempfile::Builder::new().prefix("secret-").suffix(".yaml").tempfile_in(place);
    let mut file = open.map_err(|e| CliError::environment("make a file for the editor", e))?;
    file.write_all(&plain).map_err(|e| CliError::environment("write the file for the editor", e))?;
    let set = |name: &str| invocation.env.get(name).filter(|text| !text.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).map_or("vi", String::as_str);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file.path()).current_dir(&invocation.cwd);
    let status = command.status().map_err(|e| CliError::environment(format!("run {editor}"), e))?;
    if !status.success() {
        return Err(CliError::user(format!("`{editor}` ended with {status}; nothing is changed")));
    }
    let edited = std::fs::read(file.path()).map_err(|e| CliError::environment("read what was edited", e))?;
    if edited == plain {
        invocation.streams.inform("Nothing changed.");
        return Ok(());
    }
    let encrypted = encrypt(key, &edited, is_values, Some(&before).filter(|_| is_values).map(String::as_str));
    write(&path, &args.file, &encrypted.map_err(told)?)
}

/// Encrypts everything anew. Nothing is written before all of it was decrypted.
fn rotate(args: &SecretRotateArgs, dir: &Path, invocation: &Invocation) -> Result<(), CliError> {
    let Some((name, old)) = variable(invocation, "OLD_SECRET_KEY") else {
        return Err(CliError::user("there is no old key").hint("set STAGEWRIGHT_OLD_SECRET_KEY to it"));
    };
    let old = SecretKey::from_hex(old).map_err(|e| CliError::user(format!("{name}: {e}")))?;
    let new = key_in_force(dir, invocation)?;
    let values = dir.join(CHART).join(VALUES);
    let mut files: Vec<(PathBuf, bool)> = values.is_file().then_some((values, true)).into_iter().collect();
    let told = |e| CliError::environment("list the secret files", e);
    files.extend(files_below(&dir.join(CHART).join("secret")).map_err(told)?.into_iter().map(|path| (path, false)));
    files.extend(args.files.iter().map(|file| (invocation.cwd.join(file), true)));
    let mut changed = Vec::new();
    for (path, is_values) in files {
        let shown = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        let text = read(&path, &shown)?;
        let plain = decrypt(&old, &text, is_values).map_err(|why| CliError::user(format!("{shown}: {why}")))?;
        let anew = encrypt(&new, &plain, is_values, None).map_err(|why| CliError::user(format!("{shown}: {why}")))?;
        changed.push((path, shown, anew));
    }
    for (path, shown, text) in &changed {
        write(path, shown, text)?;
        invocation.streams.inform(&format!("encrypted {shown} anew"));
    }
    if changed.is_empty() {
        let hint = "name the files of values of another chart folder";
        return Err(CliError::user(format!("there are no secret files in {CHART}")).hint(hint));
    }
    Ok(())
}

fn files_below(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path, shown: &str) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|e| CliError::environment(format!("read {shown}"), e))
}

/// Writes a file whole or not at all; one that is there keeps its mode, a new one is for its owner alone.
fn write(path: &Path, shown: &str, bytes: &[u8]) -> Result<(), CliError> {
    let written = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let mode = std::fs::metadata(path).map_or(0o600, |found| found.permissions().mode() & 0o7777);
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|e| CliError::environment(format!("write {shown}"), e))
}
