//! A layer as a folder that overlayfs can stand on.
//!
//! The one idea: what is unpacked is the metadata that `tar_read` has cleaned, never the archive as it stands. A path
//! has no `..`, and lies in directories of the same layer only; so nothing can be written elsewhere.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is written")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, lchown, symlink};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat};
use rustix::io::Errno;

use super::content::open_archive;
use super::files::{Archive, Content, Kind, Layer, Node, ancestors};
use super::tar_read::{TarReader, decompress};
use crate::ports::{BlobError, BuildContext, BuildError};

/// What overlayfs calls a directory that hides all below it.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// The attribute that holds an owner who has no number in our user namespace, `USER:GROUP`.
pub const OWNER: &str = "user.stagewright.owner";

/// Returns the directories that a layer needs and has no entry for.
pub fn implied(layer: &Layer) -> BTreeSet<Box<str>> {
    let mut found = BTreeSet::new();
    let mut above = |path: &str| {
        for directory in ancestors(path).filter(|d| !layer.entries.contains_key(*d)) {
            if !found.contains(directory) {
                found.insert(directory.into());
            }
        }
    };
    layer.entries.keys().chain(&layer.whiteouts).for_each(|path| above(path));
    for path in &layer.opaque {
        above(path);
    }
    found.extend(layer.opaque.iter().filter(|p| !p.is_empty() && !layer.entries.contains_key(*p)).cloned());
    found
}

/// Files of one archive: their paths, by the number of the member.
type Members<'a> = BTreeMap<usize, Vec<(&'a str, &'a Node)>>;

/// Unpacks a layer into an empty folder. Hard links to other layers are left out; see `roots.rs`.
pub fn unpack(context: &BuildContext<'_>, layer: &Layer, folder: &Path) -> Result<(), BuildError> {
    let failed = |path: &str| {
        let attempt = format!("unpack `/{path}`");
        move |e: io::Error| BuildError::Blob(BlobError::from_io(attempt, e))
    };
    let mut members: BTreeMap<&Arc<Archive>, Members<'_>> = BTreeMap::new();
    let mut made = BTreeMap::new();
    let directory = Node::directory();
    for path in implied(layer) {
        made.insert(path, &directory);
    }
    made.extend(layer.entries.iter().filter(|(_, n)| n.is_directory()).map(|(p, n)| (p.clone(), n)));
    for path in made.keys() {
        fs::create_dir(folder.join(&**path)).map_err(failed(path))?;
    }
    for (path, node) in &layer.entries {
        if let Some(above) = ancestors(path).find(|d| !made.contains_key(*d)) {
            return Err(BuildError::Step {
                step: format!("unpack `/{path}`"),
                why: format!("it lies in `/{above}`, which is not a directory in the same layer"),
            });
        }
        if let Kind::File { content: Content::Member(archive, number), .. } = &node.kind {
            members.entry(archive).or_default().entry(*number).or_default().push((path, node));
        } else {
            put(context, &folder.join(&**path), node).map_err(failed(path))?;
        }
    }
    for (archive, wanted) in members {
        unpack_members(context, archive, wanted, folder)?;
    }
    for path in &layer.whiteouts {
        match layer.entries.get(path) {
            None => whiteout(&folder.join(&**path)).map_err(failed(path))?,
            Some(node) if node.is_directory() => opaque(&folder.join(&**path)).map_err(failed(path))?,
            Some(_) => {}
        }
    }
    for path in &layer.opaque {
        opaque(&folder.join(&**path)).map_err(failed(path))?;
    }
    // From the deepest up: what is in a directory changes its time.
    for (path, node) in made.iter().rev() {
        set_metadata(&folder.join(&**path), node, 0).map_err(failed(path))?;
    }
    set_metadata(folder, &directory, 0).map_err(failed(""))
}

/// Makes anything but a directory and a member of an archive.
pub fn put(context: &BuildContext<'_>, path: &Path, node: &Node) -> io::Result<()> {
    match &node.kind {
        // The last one is a device that means that a file is removed.
        Kind::Directory | Kind::Hardlink(_) | Kind::Special(b'3', 0, 0) => return Ok(()),
        Kind::Symlink(target) => symlink(&**target, path)?,
        Kind::Special(flag, major, minor) => match special(path, *flag, *major, *minor) {
            // In a user namespace nobody can make devices. The image keeps it, the command does not see it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            other => other?,
        },
        Kind::File { content: Content::Blob(id), .. } => {
            let bytes = context.objects.blob(*id).map_err(io::Error::other)?;
            write_file(path, &mut &*bytes)?;
        }
        Kind::File { content: Content::Text(text), .. } => write_file(path, &mut &**text)?,
        Kind::File { content: Content::Host(tree, inside), .. } => {
            write_file(path, &mut File::open(tree.path(inside))?)?;
        }
        Kind::File { content: Content::Member(..), .. } => {
            let Kind::File { content, .. } = &node.kind else { return Ok(()) };
            let bytes = super::content::read_content(context, content).map_err(io::Error::other)?;
            write_file(path, &mut &*bytes)?;
        }
    }
    set_metadata(path, node, 0)
}

fn unpack_members(
    context: &BuildContext<'_>,
    archive: &Archive,
    mut wanted: Members<'_>,
    folder: &Path,
) -> Result<(), BuildError> {
    let failed = |e| BuildError::Blob(BlobError::from_io(format!("unpack {archive}"), e));
    let mut tar = TarReader::new(decompress(open_archive(context, archive)?).map_err(failed)?);
    while let Some(entry) = tar.next_entry().map_err(failed)? {
        let Some(names) = wanted.remove(&entry.number) else { continue };
        let mut first: Option<&str> = None;
        for (name, node) in names {
            let path = folder.join(name);
            let linked = matches!(&node.kind, Kind::File { linked: true, .. });
            match first {
                Some(first) if linked => fs::hard_link(folder.join(first), &path).map_err(failed)?,
                Some(first) => {
                    write_file(&path, &mut File::open(folder.join(first)).map_err(failed)?).map_err(failed)?;
                    set_metadata(&path, node, entry.mtime).map_err(failed)?;
                }
                None => {
                    write_file(&path, &mut tar.content()).map_err(failed)?;
                    set_metadata(&path, node, entry.mtime).map_err(failed)?;
                    first = Some(name);
                }
            }
        }
    }
    // To the end: only then has the digest been checked.
    tar.finish().map_err(failed)
}

fn write_file(path: &Path, bytes: &mut dyn io::Read) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = bytes.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|p| !p.is_empty()) else { return Ok(()) };
        io::Write::write_all(&mut file, part)?;
    }
}

fn special(path: &Path, flag: u8, major: u32, minor: u32) -> io::Result<()> {
    let kind = match flag {
        b'3' => FileType::CharacterDevice,
        b'4' => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    Ok(mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), makedev(major, minor))?)
}

/// Makes what overlayfs takes for a removed file.
pub fn whiteout(path: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?)
}

fn opaque(path: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for name in OPAQUE {
        last = rustix::fs::lsetxattr(path, name, b"y", XattrFlags::empty());
        if last.is_ok() {
            break;
        }
    }
    Ok(last?)
}

/// Says whether overlayfs takes a directory for opaque.
pub fn is_opaque(path: &Path) -> bool {
    OPAQUE.iter().any(|name| {
        let mut value = [0_u8; 4];
        rustix::fs::lgetxattr(path, *name, &mut value).is_ok_and(|n| value.get(..n) == Some(b"y"))
    })
}

/// Says whether an attribute belongs to an image: not to the file system that it lies on.
pub fn belongs_to_images(name: &str) -> bool {
    name == "security.capability" || (name.starts_with("user.") && !name.starts_with("user.overlay.") && name != OWNER)
}

/// Reads what [`OWNER`] says.
pub fn parse_owner(value: &[u8]) -> Option<(u64, u64)> {
    let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// Sets owner, mode, attributes and time.
pub fn set_metadata(path: &Path, node: &Node, mtime: i64) -> io::Result<()> {
    match lchown(path, u32::try_from(node.uid).ok(), u32::try_from(node.gid).ok()) {
        // No such owner in our user namespace. Links cannot have the attribute; nobody can change them either.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            let owner = format!("{}:{}", node.uid, node.gid);
            let _ = rustix::fs::lsetxattr(path, OWNER, owner.as_bytes(), XattrFlags::empty());
        }
        other => other?,
    }
    if !matches!(node.kind, Kind::Symlink(_)) {
        fs::set_permissions(path, fs::Permissions::from_mode(node.mode & 0o7777))?;
    }
    for (name, value) in node.xattrs.iter().flat_map(|x| x.iter()).filter(|(name, _)| belongs_to_images(name)) {
        match rustix::fs::lsetxattr(path, name.as_str(), value, XattrFlags::empty()) {
            // Not everything can have attributes everywhere.
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let at = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    Ok(utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}
