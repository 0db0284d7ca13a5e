//! `cache`: what this machine keeps for us, and how to be rid of it.

use std::path::{Path, PathBuf};

use super::super::args::CacheCommand;
use super::super::charts::cache_dir;
use super::super::error::{CliError, exit_code};
use super::super::sizes::size_text;
use super::super::streams::Invocation;
use crate::backend::{Shelf, evict_layers, remove_tree, size_of};

/// What is kept, and for what.
const KINDS: [(&str, &str); 5] = [
    ("blobs", "layers of registries, fetched or to be pushed"),
    ("native", "unpacked layers and folders of `--mount=type=cache`"),
    ("engine", "layers taken out of the Docker Engine"),
    ("git", "other repositories"),
    ("charts", "charts and their indexes"),
];

pub fn run(command: &CacheCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    let folder = cache_dir(&invocation.env, "");
    let folder = folder.ok_or_else(|| CliError::user("there is no cache: HOME is not set"))?;
    match command {
        CacheCommand::List => list(&folder, invocation)?,
        CacheCommand::Clear => clear(&folder, invocation)?,
    }
    Ok(exit_code::DONE)
}

/// The folders of one kind; without root those of the native builder have further words behind.
fn folders(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of_kind = |name: &str| name == kind || name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-'));
    let mut found: Vec<PathBuf> =
        entries.filter(|entry| of_kind(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn list(folder: &Path, invocation: &mut Invocation) -> Result<(), CliError> {
    let mut text = String::new();
    let mut total = 0;
    for (kind, what) in KINDS {
        for place in folders(folder, kind) {
            let size = size_of(&place);
            total += size;
            text.push_str(&format!("{:>10}  {}  {what}\n", size_text(size), place.display()));
        }
    }
    text.push_str(&format!("{:>10}  in all\n", size_text(total)));
    invocation.streams.print(&text)
}

fn clear(folder: &Path, invocation: &Invocation) -> Result<(), CliError> {
    let mut freed = 0;
    for (kind, _) in KINDS {
        for place in folders(folder, kind) {
            let failed = |e| CliError::environment(format!("empty {}", place.display()), e);
            let shelf = Shelf::new(&place, if kind == "blobs" { "sha256" } else { "layers" });
            if !shelf.is_used() {
                freed += size_of(&place);
                remove_tree(&place).map_err(failed)?;
                continue;
            }
            freed += if kind == "blobs" {
                shelf.evict(0, &place).map_err(failed)?.bytes
            } else {
                evict_layers(&place, 0).map_err(failed)?
            };
            invocation.streams.inform(&format!("{} is in use: what running builds need stays", place.display()));
        }
    }
    invocation.streams.inform(&format!("Freed {}.", size_text(freed)));
    Ok(())
}
