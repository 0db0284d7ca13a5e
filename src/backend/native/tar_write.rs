//! Writing tar so that equal files give equal bytes.
//!
//! The one idea: the writer knows no time, no names of users and no order of its own. Headers are ustar; pax records
//! come only where ustar has no room.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::files::{Content, Kind, Node, join, name_of, parent_of};

/// Headers and bytes of files take whole blocks. Unit: bytes.
pub const BLOCK: usize = 512;
/// The largest number of seven octal digits.
pub const MAX_ID: u64 = 0o777_7777;
/// The largest number of eleven octal digits.
const MAX_SIZE: u64 = 0o777_7777_7777;

/// Writes the entries of a tar file.
pub struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    /// Starts a file.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes an entry that has no bytes: anything but a regular file.
    pub fn entry(&mut self, path: &str, node: &Node) -> io::Result<()> {
        match &node.kind {
            Kind::Directory => self.header(&format!("{path}/"), node, b'5', "", 0, (0, 0)),
            Kind::Symlink(target) => self.header(path, node, b'2', target, 0, (0, 0)),
            Kind::Hardlink(target) => self.link(path, node, target),
            Kind::Special(flag, major, minor) => self.header(path, node, *flag, "", 0, (*major, *minor)),
            Kind::File { .. } => self.file(path, node, 0, &mut io::empty()),
        }
    }

    /// Writes a hard link to an earlier entry.
    pub fn link(&mut self, path: &str, node: &Node, target: &str) -> io::Result<()> {
        self.header(path, node, b'1', target, 0, (0, 0))
    }

    /// Writes a regular file of `size` bytes.
    pub fn file(&mut self, path: &str, node: &Node, size: u64, bytes: &mut dyn Read) -> io::Result<()> {
        self.header(path, node, b'0', "", size, (0, 0))?;
        let copied = io::copy(bytes, &mut self.out)?;
        if copied != size {
            return Err(io::Error::other(format!("`{path}` has {copied} bytes, not {size}")));
        }
        self.pad(size)
    }

    /// Writes the mark that an earlier layer's path is removed.
    pub fn whiteout(&mut self, path: &str) -> io::Result<()> {
        let name = join(parent_of(path), &format!(".wh.{}", name_of(path)));
        let node = Node { mode: 0, ..Node::file(Content::Text(Arc::default())) };
        self.header(&name, &node, b'0', "", 0, (0, 0))
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn header(
        &mut self,
        path: &str,
        node: &Node,
        flag: u8,
        link: &str,
        size: u64,
        device: (u32, u32),
    ) -> io::Result<()> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        let (prefix, name) = split_name(path).unwrap_or_else(|| {
            records.push(("path".into(), path.into()));
            ("", truncate(path))
        });
        let mut short_link = link;
        if link.len() > 100 {
            records.push(("linkpath".into(), link.into()));
            short_link = truncate(link);
        }
        for (key, value, most) in [("uid", node.uid, MAX_ID), ("gid", node.gid, MAX_ID), ("size", size, MAX_SIZE)] {
            if value > most {
                records.push((key.into(), value.to_string().into_bytes()));
            }
        }
        for (key, value) in node.xattrs.iter().flat_map(|x| x.iter()) {
            records.push((format!("SCHILY.xattr.{key}"), value.clone()));
        }
        if !records.is_empty() {
            records.sort();
            let bytes: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            let length = bytes.len() as u64;
            let plain = Node { uid: 0, gid: 0, mode: 0o644, xattrs: None, ..node.clone() };
            self.out.write_all(&ustar("", "PaxHeaders/entry", &plain, b'x', "", length, (0, 0)))?;
            self.out.write_all(&bytes)?;
            self.pad(length)?;
        }
        self.out.write_all(&ustar(prefix, name, node, flag, short_link, size, device))
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = (size % BLOCK as u64) as usize;
        let zeros = [0; BLOCK];
        self.out.write_all(zeros.get(rest..).filter(|_| rest > 0).unwrap_or_default())
    }
}

/// Splits a path into the two name fields of ustar; `None` when it does not fit.
fn split_name(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    // The slash between the fields is not written; a directory's last slash belongs to the name.
    let slashes = path.trim_end_matches('/').match_indices('/').map(|(i, _)| i);
    let mut fitting = slashes.filter(|i| *i > 0 && *i <= 155 && path.len() - i - 1 <= 100);
    let at = fitting.next()?;
    Some((path.get(..at)?, path.get(at + 1..)?))
}

/// Cuts a text to the 100 bytes of a field, for readers that know no pax.
fn truncate(text: &str) -> &str {
    text.get(..text.floor_char_boundary(100)).unwrap_or(text)
}

/// Returns one pax record; its length counts its own digits.
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

fn ustar(prefix: &str, name: &str, node: &Node, flag: u8, link: &str, size: u64, device: (u32, u32)) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    let mut text = |bytes: &[u8], width: usize| {
        out.extend_from_slice(bytes.get(..width).unwrap_or(bytes));
        out.resize(out.len() + width.saturating_sub(bytes.len()), 0);
    };
    let octal = |value: u64, most: u64, width: usize| format!("{:0width$o}\0", if value > most { 0 } else { value });
    text(name.as_bytes(), 100);
    text(octal(u64::from(node.mode & 0o7777), MAX_ID, 7).as_bytes(), 8);
    text(octal(node.uid, MAX_ID, 7).as_bytes(), 8);
    text(octal(node.gid, MAX_ID, 7).as_bytes(), 8);
    text(octal(size, MAX_SIZE, 11).as_bytes(), 12);
    text(octal(0, MAX_SIZE, 11).as_bytes(), 12);
    text(b"        ", 8);
    text(&[flag], 1);
    text(link.as_bytes(), 100);
    text(b"ustar\x0000", 8);
    text(b"", 64);
    text(octal(u64::from(device.0), MAX_ID, 7).as_bytes(), 8);
    text(octal(u64::from(device.1), MAX_ID, 7).as_bytes(), 8);
    text(prefix.as_bytes(), 155);
    text(b"", 12);
    let sum: u64 = out.iter().map(|b| u64::from(*b)).sum();
    if let Some(field) = out.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    out
}
