//! A stage store in one file: an OCI image layout as a compressed tar archive, for machines that no network joins.
//!
//! The one idea: nothing goes in and nothing comes out but what a layout is made of, so an archive of a stranger cannot
//! write anything else.

#![expect(clippy::disallowed_methods, reason = "it reads and writes files")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Error, Read, Result, Write as _};
use std::path::Path;

use tar::{Archive, Builder, EntryType, Header};

/// The folder of blobs.
const BLOBS: &str = "blobs/sha256";
/// The most entries that an archive may have.
const MAX_ENTRIES: usize = 100_000;
/// The largest `oci-layout` and `index.json` that are read. Unit: bytes.
const MAX_INDEX: u64 = 5 << 20;
/// What an archive may unpack to, however small it is. Unit: bytes.
const MAX_SMALL: u64 = 100 << 20;
/// What it may unpack to beyond that, as a multiple of its own length: layers are compressed, or compress less.
const MAX_RATIO: u64 = 100;

/// Packs the layout in a folder: the same blobs give the same archive. It is there whole or not at all.
///
/// # Errors
/// The folder cannot be read, or the archive not be written.
pub fn pack_layout(folder: &Path, archive: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    for name in ["oci-layout", "index.json"] {
        files.insert(name.to_owned(), folder.join(name));
    }
    for entry in std::fs::read_dir(folder.join(BLOBS))? {
        let entry = entry?;
        let name = format!("{BLOBS}/{}", entry.file_name().to_string_lossy());
        if is_of_layout(&name) {
            files.insert(name, entry.path());
        }
    }
    let parent = archive.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What anybody else's file may be: the archive is made to be carried away.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let unfinished = tempfile::Builder::new().permissions(mode).tempfile_in(parent)?;
    let zipped = flate2::GzBuilder::new().write(BufWriter::new(unfinished), flate2::Compression::default());
    let mut out = Builder::new(zipped);
    for (name, path) in &files {
        let file = File::open(path)?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(file.metadata()?.len());
        header.set_mode(0o644);
        header.set_mtime(0);
        out.append_data(&mut header, name, BufReader::new(file))?;
    }
    let mut written = out.into_inner()?.finish()?;
    written.flush()?;
    let unfinished = written.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    unfinished.persist(archive).map_err(|e| e.error)?;
    Ok(())
}

/// Unpacks an archive into an empty folder.
///
/// # Errors
/// It cannot be read, holds what no layout holds, or more than a limit allows.
pub fn unpack_layout(archive: &Path, folder: &Path) -> Result<()> {
    let file = File::open(archive)?;
    let limit = file.metadata()?.len().saturating_mul(MAX_RATIO).saturating_add(MAX_SMALL);
    let plain = flate2::read::MultiGzDecoder::new(BufReader::new(file));
    let mut entries = Archive::new(Limited { inner: plain, limit, left: limit });
    std::fs::create_dir_all(folder.join(BLOBS))?;
    let mut any = false;
    for (index, entry) in entries.entries()?.enumerate() {
        let mut entry = entry?;
        if index >= MAX_ENTRIES {
            return Err(Error::other(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.strip_prefix("./").unwrap_or(&path);
        if !kind.is_file() || !is_of_layout(name) {
            return Err(Error::other(format!("`{path}` is no part of an OCI image layout")));
        }
        if !name.starts_with(BLOBS) && entry.size() > MAX_INDEX {
            return Err(Error::other(format!("`{path}` is larger than {MAX_INDEX} bytes")));
        }
        let mut file = BufWriter::new(File::create_new(folder.join(name))?);
        std::io::copy(&mut entry, &mut file)?;
        file.flush()?;
        any = true;
    }
    if any { Ok(()) } else { Err(Error::other("it holds no OCI image layout")) }
}

/// A reader that fails where more comes than a limit allows.
struct Limited<R> {
    inner: R,
    /// Unit: bytes.
    limit: u64,
    /// Unit: bytes.
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(Error::other(format!("it unpacks to more than {} bytes", self.limit))),
        }
        Ok(read)
    }
}

fn is_of_layout(name: &str) -> bool {
    let is_blob = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let blob = name.strip_prefix(BLOBS).and_then(|rest| rest.strip_prefix('/'));
    matches!(name, "oci-layout" | "index.json") || blob.is_some_and(is_blob)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_comes_out_as_it_went_in_and_nothing_else_comes_out() {
        let (dir, hex) = (tempfile::tempdir().unwrap(), "0a".repeat(32));
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join(BLOBS)).unwrap();
        let write = |name: &str, text: &str| std::fs::write(from.join(name), text).unwrap();
        write("oci-layout", "{}");
        write("index.json", "[]");
        write("notes", "left out");
        write(&format!("{BLOBS}/{hex}"), "blob");
        let (first, second) = (dir.path().join("a.tar.gz"), dir.path().join("b.tar.gz"));
        pack_layout(&from, &first).unwrap();
        pack_layout(&from, &second).unwrap();
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(second).unwrap());
        let to = dir.path().join("to");
        unpack_layout(&first, &to).unwrap();
        assert_eq!(std::fs::read(to.join(BLOBS).join(hex)).unwrap(), b"blob");
        assert!(!to.join("notes").exists());
    }

    #[test]
    fn what_would_escape_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let archive = |path: &str, kind: EntryType| {
            let mut out = Builder::new(flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast()));
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_cksum();
            out.append(&header, &b""[..]).unwrap();
            let file = dir.path().join("x.tar.gz");
            std::fs::write(&file, out.into_inner().unwrap().finish().unwrap()).unwrap();
            let to = tempfile::tempdir().unwrap();
            unpack_layout(&file, to.path()).unwrap_err().to_string()
        };
        let (file, link) = (EntryType::Regular, EntryType::Symlink);
        for (path, kind) in
            [("../evil", file), ("blobs/sha256/../../evil", file), ("/etc/evil", file), ("index.json", link)]
        {
            assert!(archive(path, kind).contains("is no part of an OCI image layout"), "{path}");
        }
        assert!(archive("blobs/", EntryType::Directory).contains("holds no OCI image layout"));
    }

    #[test]
    fn what_unpacks_to_more_than_a_limit_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let unpacked = |entries: &mut dyn Iterator<Item = (String, u64)>| {
            let mut out = Builder::new(flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best()));
            for (name, size) in entries {
                let mut header = Header::new_gnu();
                header.set_entry_type(EntryType::Regular);
                header.set_size(size);
                out.append_data(&mut header, name, std::io::repeat(0).take(size)).unwrap();
            }
            let file = dir.path().join("x.tar.gz");
            std::fs::write(&file, out.into_inner().unwrap().finish().unwrap()).unwrap();
            let to = tempfile::tempdir().unwrap();
            unpack_layout(&file, to.path()).unwrap_err().to_string()
        };
        let large = unpacked(&mut [("index.json".to_owned(), MAX_INDEX + 1)].into_iter());
        assert_eq!(large, "`index.json` is larger than 5242880 bytes");
        let bomb = unpacked(&mut (0..3).map(|n| (format!("{BLOBS}/{}", format!("0{n}").repeat(32)), 64 << 20)));
        assert!(bomb.starts_with("it unpacks to more than "), "{bomb}");
    }
}
