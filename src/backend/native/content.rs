//! The bytes of files, and writing a layer of them.
//!
//! The one idea: members of archives can only be read in the order of their archive, a layer is written in the order
//! of its paths. What lies between is kept in memory while it is small, else in a temporary file.

#![expect(clippy::disallowed_methods, reason = "files that commands made are read here")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use flate2::{Compression, GzBuilder};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::files::{Archive, Content, Kind, Layer, Node};
use super::tar_read::{TarReader, decompress};
use super::tar_write::TarWriter;
use crate::ports::oci::MEDIA_LAYER_GZIP;
use crate::ports::{BlobDigest, BlobError, BuildContext, BuildError, Descriptor};

/// Fixed for good: another level would give other digests. Level 4 takes a third longer and saves a tenth.
const GZIP_LEVEL: u32 = 2;
/// What is compressed on its own, as one member of the gzip file. Fixed for good, as the level. Unit: bytes.
const PIECE: usize = 1024 * 1024;
/// How much is gathered to be compressed at once. Unit: bytes.
const BATCH: usize = 8 * PIECE;
/// How much is kept in memory per layer. Unit: bytes.
const SPOOL_BYTES: usize = 32 * 1024 * 1024;

/// A written layer.
#[derive(Clone, Debug)]
pub struct WrittenLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of the tar file in it.
    pub diff_id: BlobDigest,
}

/// Opens an archive as its compressed bytes.
pub fn open_archive(context: &BuildContext<'_>, archive: &Archive) -> Result<Box<dyn Read + Send>, BuildError> {
    Ok(match archive {
        Archive::Layer(digest) => context.store.open(digest)?,
        Archive::Blob(id) => Box::new(io::Cursor::new(context.objects.blob(*id)?)),
    })
}

/// Reads the whole of a small file.
pub fn read_content(context: &BuildContext<'_>, content: &Content) -> Result<Vec<u8>, BuildError> {
    match content {
        Content::Blob(id) => Ok(context.objects.blob(*id)?.to_vec()),
        Content::Text(text) => Ok(text.to_vec()),
        Content::Host(tree, path) => {
            let place = tree.path(path);
            std::fs::read(&place).map_err(|e| BlobError::from_io(format!("read {}", place.display()), e).into())
        }
        Content::Member(archive, number) => {
            let mut bytes = Vec::new();
            each_member(context, archive, &BTreeSet::from([*number]), |_, reader| reader.read_to_end(&mut bytes))?;
            Ok(bytes)
        }
    }
}

/// Writes a layer into the store.
pub fn write_layer(context: &BuildContext<'_>, layer: &Layer) -> Result<WrittenLayer, BuildError> {
    let mut spool = Spool::fill(context, layer)?;
    let mut failure = None;
    let mut diff_id = None;
    let written = context.store.put(&mut |out| {
        let mut tar = TarWriter::new(LayerWriter { out, hash: Sha256::new(), buffer: Vec::new() });
        if let Err(error) = write_entries(context, layer, &mut spool, &mut tar) {
            failure = Some(error);
            return Err(io::Error::other("the layer cannot be made"));
        }
        diff_id = Some(tar.finish()?.finish()?);
        Ok(())
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let (digest, size) = written?;
    let diff_id = diff_id.expect("a layer that was stored was written to its end");
    Ok(WrittenLayer { descriptor: Descriptor { media_type: MEDIA_LAYER_GZIP.into(), digest, size }, diff_id })
}

fn write_entries<W: Write>(
    context: &BuildContext<'_>,
    layer: &Layer,
    spool: &mut Spool,
    tar: &mut TarWriter<W>,
) -> Result<(), BuildError> {
    let mut first_names: BTreeMap<Identity, &str> = BTreeMap::new();
    let failed = |e: io::Error| BuildError::Blob(BlobError::from_io("write a layer".into(), e));
    for path in &layer.whiteouts {
        tar.whiteout(path).map_err(failed)?;
    }
    for (path, node) in &layer.entries {
        if let Kind::File { content, linked: true } = &node.kind
            && let Some(identity) = Identity::of(content)
        {
            if let Some(first) = first_names.get(&identity) {
                tar.link(path, node, first).map_err(failed)?;
                continue;
            }
            first_names.insert(identity, path);
        }
        match &node.kind {
            Kind::File { content: Content::Member(archive, number), .. } => {
                spool.write(archive, *number, path, node, tar).map_err(failed)?;
            }
            Kind::File { content: Content::Host(tree, inside), .. } => {
                let place = tree.path(inside);
                let file = File::open(&place).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                tar.file(path, node, size, &mut file.take(size)).map_err(failed)?;
            }
            Kind::File { content: Content::Blob(id), .. } => {
                let bytes = context.objects.blob(*id)?;
                tar.file(path, node, bytes.len() as u64, &mut &*bytes).map_err(failed)?;
            }
            Kind::File { content: Content::Text(text), .. } => {
                tar.file(path, node, text.len() as u64, &mut &**text).map_err(failed)?;
            }
            Kind::Directory | Kind::Symlink(_) | Kind::Hardlink(_) | Kind::Special(..) => {
                tar.entry(path, node).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// What makes two linked files the same file.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Member(Arc<Archive>, usize),
    Host(PathBuf),
}

impl Identity {
    fn of(content: &Content) -> Option<Self> {
        match content {
            Content::Member(archive, number) => Some(Self::Member(archive.clone(), *number)),
            Content::Host(tree, path) => Some(Self::Host(tree.path(path))),
            Content::Blob(_) | Content::Text(_) => None,
        }
    }
}

/// The layer as others will find it in the store: its bytes are those of the written archive.
pub fn as_stored(layer: Layer, digest: &BlobDigest) -> Layer {
    let archive = Arc::new(Archive::Layer(digest.clone()));
    let first = layer.whiteouts.len();
    let mut links: BTreeMap<Identity, usize> = BTreeMap::new();
    let stored = |(i, (path, node)): (usize, (Box<str>, Node))| {
        let Kind::File { content, linked } = node.kind else { return (path, node) };
        let mut number = first + i;
        if let Some(identity) = Identity::of(&content).filter(|_| linked) {
            number = *links.entry(identity).or_insert(number);
        }
        (path, Node { kind: Kind::File { content: Content::Member(archive.clone(), number), linked }, ..node })
    };
    let entries = layer.entries.into_iter().enumerate().map(stored).collect();
    Layer { entries, ..layer }
}

/// Bytes of members of archives that a layer needs, in the order of the archives.
struct Spool {
    file: tempfile::SpooledTempFile,
    places: BTreeMap<(Archive, usize), (u64, u64)>,
}

impl Spool {
    fn fill(context: &BuildContext<'_>, layer: &Layer) -> Result<Self, BuildError> {
        let mut wanted: BTreeMap<&Archive, BTreeSet<usize>> = BTreeMap::new();
        for node in layer.entries.values() {
            if let Kind::File { content: Content::Member(archive, number), .. } = &node.kind {
                wanted.entry(archive).or_default().insert(*number);
            }
        }
        let mut spool = Self { file: tempfile::spooled_tempfile(SPOOL_BYTES), places: BTreeMap::new() };
        let mut end = 0;
        for (archive, numbers) in wanted {
            each_member(context, archive, &numbers, |number, reader| {
                let size = io::copy(reader, &mut spool.file)?;
                spool.places.insert((archive.clone(), number), (end, size));
                end += size;
                Ok(())
            })?;
        }
        Ok(spool)
    }

    fn write<W: Write>(
        &mut self,
        archive: &Archive,
        number: usize,
        path: &str,
        node: &Node,
        tar: &mut TarWriter<W>,
    ) -> io::Result<()> {
        let (at, size) = *self.places.get(&(archive.clone(), number)).expect("all members of the layer were read");
        self.file.seek(SeekFrom::Start(at))?;
        tar.file(path, node, size, &mut (&mut self.file).take(size))
    }
}

/// Calls `each` with the bytes of some members of an archive, in their order.
fn each_member<T>(
    context: &BuildContext<'_>,
    archive: &Archive,
    numbers: &BTreeSet<usize>,
    mut each: impl FnMut(usize, &mut dyn Read) -> io::Result<T>,
) -> Result<(), BuildError> {
    let failed = |e| BuildError::Blob(BlobError::from_io(format!("read {archive}"), e));
    let Some(last) = numbers.last() else { return Ok(()) };
    let mut tar = TarReader::new(decompress(open_archive(context, archive)?).map_err(failed)?);
    while let Some(entry) = tar.next_entry().map_err(failed)? {
        if numbers.contains(&entry.number) {
            each(entry.number, &mut tar.content()).map_err(failed)?;
        }
        if entry.number >= *last {
            break;
        }
    }
    Ok(())
}

impl std::fmt::Display for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Layer(digest) => write!(f, "layer {digest}"),
            Self::Blob(id) => write!(f, "the archive {id}"),
        }
    }
}

/// Hashes and compresses, in pieces that are cut at fixed places and compressed at the same time.
struct LayerWriter<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl LayerWriter<'_> {
    fn write_out(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        let compressed: Vec<Vec<u8>> = self.buffer.par_chunks(PIECE).map(compress).collect::<io::Result<_>>()?;
        self.buffer.clear();
        compressed.iter().try_for_each(|piece| self.out.write_all(piece))
    }

    /// Ends the file and returns the digest of what came in.
    fn finish(mut self) -> io::Result<BlobDigest> {
        self.write_out()?;
        Ok(BlobDigest::from_sha256(self.hash.finalize().into()))
    }
}

/// Compresses a layer that is a tar file as our own layers are; equal bytes give equal bytes.
pub fn compress_layer(tar: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = LayerWriter { out, hash: Sha256::new(), buffer: Vec::new() };
    io::copy(tar, &mut writer)?;
    writer.finish().map(|_| ())
}

fn compress(piece: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(GZIP_LEVEL));
    gzip.write_all(piece)?;
    gzip.finish()
}

impl Write for LayerWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BATCH - self.buffer.len());
        self.buffer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.buffer.len() == BATCH {
            self.write_out()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
