//! Reading tar files that anybody wrote: ustar, GNU and pax, plain or compressed.
//!
//! The one idea: entries are numbered in the order of the file, so that a file's bytes can be found again by number.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use super::files::{Archive, Content, Kind, Layer, Node, ancestors, clean, join, name_of, parent_of};
use super::tar_write::BLOCK;
use super::zstd::{self, ZstdReader};

/// The most that names and attributes of one entry may take. Unit: bytes.
const MAX_EXTENSION: u64 = 16 * 1024 * 1024;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not, as far as we know.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

impl Compression {
    /// Tells it from the first bytes.
    pub fn of(start: &[u8]) -> Self {
        let magics: [(&[u8], Self); 4] = [
            (&[0x1f, 0x8b, 0x08], Self::Gzip),
            (&zstd::MAGIC, Self::Zstd),
            (b"BZh", Self::Bzip2),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Self::Xz),
        ];
        if zstd::is_skippable(start) {
            return Self::Zstd;
        }
        magics.into_iter().find(|(magic, _)| start.starts_with(magic)).map_or(Self::None, |(_, kind)| kind)
    }
}

/// Reads through the compression that the first bytes tell.
pub fn decompress<'a>(mut reader: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut start = Vec::new();
    (&mut reader).take(6).read_to_end(&mut start)?;
    let compression = Compression::of(&start);
    let whole = BufReader::with_capacity(64 * 1024, io::Cursor::new(start).chain(reader));
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(BufReader::with_capacity(64 * 1024, MultiGzDecoder::new(whole))),
        Compression::Zstd => Box::new(BufReader::with_capacity(64 * 1024, ZstdReader::new(whole))),
        Compression::Bzip2 => Box::new(BufReader::with_capacity(64 * 1024, bzip2::bufread::MultiBzDecoder::new(whole))),
        Compression::Xz => Box::new(BufReader::with_capacity(64 * 1024, lzma_rust2::XzReader::new(whole, true))),
    })
}

/// An entry of a tar file, as its header tells.
pub struct Entry {
    /// Its number, counted from 0.
    pub number: usize,
    /// Its path, cleaned.
    pub path: String,
    /// When it was changed. Unit: seconds since the Unix epoch.
    pub mtime: i64,
    /// What it is: `None` is a regular file. The target of a hard link is a cleaned path.
    kind: Option<Kind>,
    mode: u32,
    uid: u64,
    gid: u64,
    xattrs: BTreeMap<String, Vec<u8>>,
}

/// Reads the entries of a tar file: ustar, GNU and pax.
pub struct TarReader<R> {
    input: R,
    number: usize,
    /// What is left of the entry's bytes, and of the padding behind them.
    left: u64,
    padding: u64,
}

/// What extension headers say of the next entry.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    size: Option<u64>,
    mtime: Option<i64>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Starts at the beginning of a file that is not compressed.
    pub fn new(input: R) -> Self {
        Self { input, number: 0, left: 0, padding: 0 }
    }

    /// Goes to the next entry; `None` at the end.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.read_header()? else { return Ok(None) };
            let size = header.number(124..136)?;
            match header.flag() {
                b'x' => {
                    let records = self.read_extension(size)?;
                    extension.read_pax(&records)?;
                }
                b'L' => extension.path = Some(until_nul(&self.read_extension(size)?).to_vec()),
                b'K' => extension.link = Some(until_nul(&self.read_extension(size)?).to_vec()),
                // Says something of all entries that follow; nothing that we keep.
                b'g' => self.begin(size),
                _ => return self.entry(&header, extension, size).map(Some),
            }
        }
    }

    /// Returns the bytes of the entry at which the reader stands.
    pub fn content(&mut self) -> impl Read {
        EntryContent(self)
    }

    /// Reads the padding at the end too: whoever checks the digest has to see it.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self.input, &mut io::sink()).map(|_| ())
    }

    fn entry(&mut self, header: &Header, extension: Extension, size: u64) -> io::Result<Entry> {
        let raw_path = extension.path.unwrap_or_else(|| header.path());
        let path = String::from_utf8_lossy(&raw_path);
        let link = extension.link.unwrap_or_else(|| until_nul(header.field(157..257)).to_vec());
        let link = String::from_utf8_lossy(&link);
        let device = || (header.number(329..337).unwrap_or(0) as u32, header.number(337..345).unwrap_or(0) as u32);
        let kind = match header.flag() {
            b'1' => Some(Kind::Hardlink(clean(&link).into())),
            b'2' => Some(Kind::Symlink((*link).into())),
            b'3' => Some(Kind::Special(b'3', device().0, device().1)),
            b'4' => Some(Kind::Special(b'4', device().0, device().1)),
            b'5' => Some(Kind::Directory),
            b'6' => Some(Kind::Special(b'6', 0, 0)),
            b'S' => return Err(invalid("it holds sparse files, which are not supported yet")),
            // Very old archives mark directories by a slash.
            _ if path.ends_with('/') => Some(Kind::Directory),
            _ => None,
        };
        self.begin(if kind.is_none() { extension.size.unwrap_or(size) } else { 0 });
        let number = self.number;
        self.number += 1;
        Ok(Entry {
            number,
            path: clean(&path),
            mtime: extension.mtime.unwrap_or_else(|| header.number(136..148).unwrap_or(0).cast_signed()),
            kind,
            mode: header.number(100..108)? as u32 & 0o7777,
            uid: extension.uid.map_or_else(|| header.number(108..116), Ok)?,
            gid: extension.gid.map_or_else(|| header.number(116..124), Ok)?,
            xattrs: extension.xattrs,
        })
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let rest = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        self.begin(0);
        if skipped == rest { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn read_header(&mut self) -> io::Result<Option<Header>> {
        let mut block = Vec::with_capacity(BLOCK);
        (&mut self.input).take(BLOCK as u64).read_to_end(&mut block)?;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let header = Header(block);
        let sum: u64 = header.0.iter().map(|b| u64::from(*b)).sum();
        let field: u64 = header.field(148..156).iter().map(|b| u64::from(*b)).sum();
        if header.0.len() != BLOCK || sum - field + 8 * u64::from(b' ') != header.number(148..156)? {
            return Err(invalid("it is not a tar file, or a damaged one"));
        }
        Ok(Some(header))
    }

    fn read_extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(invalid("an extended header is too large"));
        }
        self.begin(size);
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The bytes of one entry.
struct EntryContent<'a, R>(&'a mut TarReader<R>);

impl<R: Read> Read for EntryContent<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.0.left).unwrap_or(usize::MAX));
        let Some(part) = buffer.get_mut(..most).filter(|p| !p.is_empty()) else { return Ok(0) };
        let count = self.0.input.read(part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.left -= count as u64;
        Ok(count)
    }
}

impl Extension {
    fn read_pax(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let (key, value, rest) = split_record(records).ok_or_else(|| invalid("an extended header is malformed"))?;
            records = rest;
            let number = || std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            match key {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "uid" => self.uid = number(),
                "gid" => self.gid = number(),
                "size" => self.size = number(),
                "mtime" => {
                    let text = std::str::from_utf8(value).unwrap_or_default();
                    self.mtime = text.split('.').next().and_then(|whole| whole.parse().ok());
                }
                key if key.starts_with("GNU.sparse.") => {
                    return Err(invalid("it holds sparse files, which are not supported yet"));
                }
                key => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                        self.xattrs.insert(name.to_owned(), value.to_vec());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Splits off the first pax record: `LENGTH KEY=VALUE` and a line feed, which values may hold too.
fn split_record(records: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = records.iter().position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|b| *b == b'=')?;
    Some((std::str::from_utf8(record.get(..equals)?).ok()?, record.get(equals + 1..)?, records.get(length..)?))
}

/// One block that begins an entry.
struct Header(Vec<u8>);

impl Header {
    fn field(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.0.get(range).unwrap_or_default()
    }

    fn flag(&self) -> u8 {
        self.0.get(156).copied().unwrap_or_default()
    }

    /// Reads a number: octal digits, or GNU's binary form.
    fn number(&self, range: std::ops::Range<usize>) -> io::Result<u64> {
        let field = self.field(range);
        if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
            let start = u64::from(first & 0x7f);
            return Ok(rest.iter().fold(start, |value, byte| value.wrapping_shl(8) | u64::from(*byte)));
        }
        let text = std::str::from_utf8(until_nul(field)).unwrap_or("?").trim();
        if text.is_empty() {
            return Ok(0);
        }
        u64::from_str_radix(text, 8).map_err(|_| invalid("a number in a header is malformed"))
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(self.field(0..100));
        let prefix = until_nul(self.field(345..500));
        if self.field(257..263) != b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Entry {
    /// Returns the node; its bytes, if it has any, are to be found in `archive`.
    pub fn into_node(self, archive: &Arc<Archive>) -> Node {
        let content = || Content::Member(archive.clone(), self.number);
        let kind = self.kind.unwrap_or_else(|| Kind::File { content: content(), linked: false });
        let xattrs = (!self.xattrs.is_empty()).then(|| Arc::new(self.xattrs));
        Node { kind, mode: self.mode, uid: self.uid, gid: self.gid, xattrs }
    }
}

/// Reads the metadata of a layer, to the end of its bytes.
pub fn read_layer(reader: impl Read + Send, archive: Archive) -> io::Result<Layer> {
    let archive = Arc::new(archive);
    let mut layer = Layer::default();
    let mut tar = TarReader::new(decompress(reader)?);
    while let Some(mut entry) = tar.next_entry()? {
        let path = std::mem::take(&mut entry.path);
        let (parent, name) = (parent_of(&path), name_of(&path));
        if name == ".wh..wh..opq" {
            layer.opaque.insert(parent.into());
        } else if let Some(hidden) = name.strip_prefix(".wh.") {
            if !hidden.starts_with(".wh.") {
                layer.whiteouts.insert(join(parent, hidden).into());
            }
        } else if !path.is_empty() {
            layer.entries.insert(path.into(), entry.into_node(&archive));
        }
    }
    tar.finish()?;
    resolve_links(&mut layer);
    let above = layer.entries.keys().flat_map(|path| ancestors(path));
    layer.implied = above.filter(|path| !layer.entries.contains_key(*path)).map(Into::into).collect();
    Ok(layer)
}

/// Gives hard links the content of their targets, where the layer holds them.
fn resolve_links(layer: &mut Layer) {
    let links: Vec<(Box<str>, Box<str>)> = layer
        .entries
        .iter()
        .filter_map(|(path, node)| match &node.kind {
            Kind::Hardlink(target) => Some((path.clone(), target.clone())),
            Kind::Directory | Kind::File { .. } | Kind::Symlink(_) | Kind::Special(..) => None,
        })
        .collect();
    for (path, target) in links {
        let Some(node) = layer.entries.get_mut(&target) else { continue };
        if let Kind::File { linked, .. } = &mut node.kind {
            *linked = true;
            let node = node.clone();
            layer.entries.insert(path, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tar_write::{MAX_ID, TarWriter, pax_record};
    use super::*;

    fn round_trip(entries: &[(&str, Node)]) -> Layer {
        let mut tar = TarWriter::new(Vec::new());
        for (path, node) in entries {
            match &node.kind {
                Kind::File { content: Content::Text(text), .. } => {
                    tar.file(path, node, text.len() as u64, &mut &text[..]).unwrap();
                }
                Kind::Directory | Kind::File { .. } | Kind::Symlink(_) | Kind::Hardlink(_) | Kind::Special(..) => {
                    tar.entry(path, node).unwrap();
                }
            }
        }
        let bytes = tar.finish().unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        read_layer(&bytes[..], Archive::Blob(crate::source::ObjectId([0; 20]))).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(90));
        let longer = format!("{}/{}", "é".repeat(60), "f".repeat(150));
        let xattrs = Some(Arc::new(BTreeMap::from([("security.capability".to_owned(), vec![1, 0, b'\n'])])));
        let big = Node { uid: 3_000_000_000, gid: MAX_ID + 1, mode: 0o4755, xattrs, ..Node::directory() };
        let entries = [
            ("a", Node { mode: 0o1777, ..Node::directory() }),
            ("a/link", Node::symlink(&"x/".repeat(80))),
            ("a/null", Node { kind: Kind::Special(b'3', 1, 3), ..Node::directory() }),
            (long.as_str(), big.clone()),
            (longer.as_str(), big),
        ];
        let layer = round_trip(&entries);
        assert_eq!(layer.entries.len(), entries.len());
        for (path, node) in &entries {
            assert_eq!(layer.entries.get(*path), Some(node), "{path}");
        }
    }

    #[test]
    fn hard_links_share_their_content() {
        let text = |t: &str| Node::file(Content::Text(t.as_bytes().into()));
        let link = |t: &str| Node { kind: Kind::Hardlink(t.into()), ..Node::directory() };
        let layer = round_trip(&[("a", text("1")), ("b", link("a")), ("c", link("elsewhere"))]);
        assert_eq!(layer.entries["a"], layer.entries["b"]);
        assert!(matches!(layer.entries["a"].kind, Kind::File { linked: true, .. }));
        assert_eq!(layer.entries["c"].kind, Kind::Hardlink("elsewhere".into()));
    }

    #[test]
    fn whiteouts_are_told_from_files() {
        let mut tar = TarWriter::new(Vec::new());
        tar.whiteout("d/x").unwrap();
        let empty = Node::file(Content::Text(Arc::default()));
        tar.file("o/.wh..wh..opq", &empty, 0, &mut io::empty()).unwrap();
        let bytes = tar.finish().unwrap();
        let layer = read_layer(&bytes[..], Archive::Blob(crate::source::ObjectId([0; 20]))).unwrap();
        assert!(layer.whiteouts.contains("d/x") && layer.opaque.contains("o") && layer.entries.is_empty());
    }

    #[test]
    fn pax_records_count_their_own_length() {
        assert_eq!(pax_record("path", b"x"), b"9 path=x\n");
        assert_eq!(pax_record("path", b"xy"), b"11 path=xy\n");
        for size in [1, 90, 91, 92, 990, 991, 992] {
            let record = pax_record("path", &vec![b'\n'; size]);
            let (key, value, rest) = split_record(&record).unwrap();
            assert_eq!((key, value.len(), rest.len()), ("path", size, 0));
        }
    }

    #[test]
    fn archives_of_other_writers_are_read() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o600);
        header.set_uid(1 << 40);
        let long = "x/".repeat(200) + "f";
        tar.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "link", &long).unwrap();
        let bytes = tar.into_inner().unwrap();
        let mut reader = TarReader::new(&bytes[..]);
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!((entry.path.as_str(), entry.uid, entry.mode), (long.as_str(), 1 << 40, 0o600));
        let mut text = String::new();
        reader.content().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        assert_eq!(reader.next_entry().unwrap().unwrap().kind, Some(Kind::Symlink(long.as_str().into())));
        assert!(reader.next_entry().unwrap().is_none());
        assert!(TarReader::new(&b"no tar at all"[..]).next_entry().is_err());
        assert!(TarReader::new(&bytes[..700]).next_entry().is_err());
    }
}
