//! The bytes that are sent to the engine: the build context, and images to be loaded.
//!
//! The one idea: nothing is gathered. A thread writes tar into a channel, the request reads from it; what the engine
//! does not take yet is not read from the repository or the store either.
#![expect(clippy::disallowed_methods, reason = "what was fetched lies on the disk")]

use std::io::{self, Read, Write};
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::mpsc;

use super::dockerfile::{BaseImage, Content};
use crate::backend::native::copy::fetched;
use crate::backend::native::tar_read::decompress;
use crate::ports::oci::{MEDIA_LAYER, MEDIA_LAYER_GZIP, oci_layer_media_type};
use crate::ports::{BlobDigest, BlobError, BlobStore, BuildContext, BuildError};
use crate::source::{MemoryObjects, Mode, ObjectId, Objects as _};
use crate::stage::{CopyMode, take};

/// How much is sent at once. Unit: bytes.
const CHUNK: usize = 256 * 1024;
/// How many chunks wait to be sent.
const WAITING: usize = 8;
/// How much of an unpacked layer is kept in memory. Unit: bytes.
const SPOOL_BYTES: usize = 32 * 1024 * 1024;

/// The end of a channel that a thread writes to.
pub struct ChunkWriter {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.buffer);
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Runs `write` in a thread while `send` reads what it writes; an error of `write` counts more than that of `send`.
pub fn stream<T, E: Send>(
    write: impl FnOnce(&mut ChunkWriter) -> Result<(), E> + Send,
    send: impl FnOnce(ChunkStream) -> T,
) -> (Result<(), E>, T) {
    let (sender, receiver) = mpsc::channel(WAITING);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut out = ChunkWriter { sender, buffer: Vec::new() };
            let written = write(&mut out);
            if written.is_err() {
                // The request must not end as if all had been sent.
                let _ = out.sender.blocking_send(Err(io::Error::other("what is sent cannot be read")));
            } else {
                let _ = out.flush();
            }
            written
        });
        let sent = send(ChunkStream(receiver));
        (writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), sent)
    })
}

/// What a thread writes, in chunks.
pub struct ChunkStream(mpsc::Receiver<io::Result<Vec<u8>>>);

impl Stream for ChunkStream {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// Says whether an error only tells that the other side stopped reading.
pub fn is_broken_pipe(error: &BuildError) -> bool {
    let of = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    match error {
        BuildError::Io { source, .. } | BuildError::Blob(BlobError::Io { source, .. }) => of(source),
        BuildError::Unsupported { .. }
        | BuildError::NoImage(_)
        | BuildError::Step { .. }
        | BuildError::Command { .. }
        | BuildError::At(_)
        | BuildError::Cancelled(_)
        | BuildError::Files(_)
        | BuildError::Blob(_)
        | BuildError::Store(_) => false,
    }
}

fn failed(attempt: &str) -> impl FnOnce(io::Error) -> BuildError + use<'_> {
    move |source| BlobError::from_io(attempt.to_owned(), source).into()
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Writes the build context.
pub fn write_context(
    out: &mut dyn Write,
    dockerfile: &str,
    content: &[Content],
    objects: &Arc<MemoryObjects>,
    context: &BuildContext<'_>,
) -> Result<(), BuildError> {
    const ATTEMPT: &str = "send the build context";
    let mut tar = tar::Builder::new(out);
    let text = |tar: &mut tar::Builder<&mut dyn Write>, path: &str, mode: u32, text: &str| {
        tar.append_data(&mut header(tar::EntryType::Regular, mode, text.len() as u64), path, text.as_bytes())
    };
    text(&mut tar, "Dockerfile", 0o644, dockerfile).map_err(failed(ATTEMPT))?;
    for (number, content) in content.iter().enumerate() {
        let folder = format!("c{number}");
        directory(&mut tar, &folder, 0o755).map_err(failed(ATTEMPT))?;
        match content {
            Content::Text { at, text: held, mode } => {
                text(&mut tar, &format!("{folder}/{at}"), *mode, held).map_err(failed(ATTEMPT))?;
            }
            Content::Address { at, url, checksum, step, mode } => {
                let (tree, name) = fetched(context, step, url, checksum.as_deref())?;
                let file = std::fs::File::open(tree.path(&name)).map_err(failed(ATTEMPT))?;
                let size = file.metadata().map_err(failed(ATTEMPT))?.len();
                let mut header = header(tar::EntryType::Regular, *mode, size);
                tar.append_data(&mut header, format!("{folder}/{at}"), file.take(size)).map_err(failed(ATTEMPT))?;
            }
            Content::Tree { at, id, mode, source, chmod } => {
                let path = source.path.trim_matches('/');
                let refuse = |why: String| BuildError::Step { step: format!("take `{path}`"), why };
                let taken = take(objects, source.root, path, &source.filter).map_err(|e| refuse(e.to_string()))?;
                if taken != Some((*mode, *id)) {
                    return Err(refuse(format!("it should give {id}, but gives something else; plan again")));
                }
                let mut above = folder.clone();
                for name in at.rsplit_once('/').map_or("", |(above, _)| above).split('/').filter(|n| !n.is_empty()) {
                    above = format!("{above}/{name}");
                    directory(&mut tar, &above, 0o755).map_err(failed(ATTEMPT))?;
                }
                let place = if at.is_empty() { folder } else { format!("{folder}/{at}") };
                write_tree(&mut tar, objects, place, (*mode, *id), chmod.as_ref())?;
            }
        }
    }
    tar.finish().map_err(failed(ATTEMPT))
}

fn directory(tar: &mut tar::Builder<&mut dyn Write>, path: &str, mode: u32) -> io::Result<()> {
    tar.append_data(&mut header(tar::EntryType::Directory, mode, 0), format!("{path}/"), io::empty())
}

fn write_tree(
    tar: &mut tar::Builder<&mut dyn Write>,
    objects: &Arc<MemoryObjects>,
    place: String,
    (mode, id): (Mode, ObjectId),
    chmod: Option<&CopyMode>,
) -> Result<(), BuildError> {
    let attempt = "send the build context";
    let bits = |mode: u32, is_directory| chmod.map_or(mode, |change| change.apply(mode, is_directory));
    let mut todo = vec![(place, mode, id)];
    while let Some((place, mode, id)) = todo.pop() {
        match mode {
            Mode::Directory => {
                directory(tar, &place, bits(0o755, true)).map_err(failed(attempt))?;
                for entry in objects.tree(id)?.entries().iter().rev() {
                    todo.push((format!("{place}/{}", entry.name), entry.mode, entry.id));
                }
            }
            Mode::File | Mode::Executable => {
                let bytes = objects.blob(id)?;
                let mode = if mode == Mode::Executable { 0o755 } else { 0o644 };
                let mut header = header(tar::EntryType::Regular, bits(mode, false), bytes.len() as u64);
                tar.append_data(&mut header, &place, &*bytes).map_err(failed(attempt))?;
            }
            Mode::Symlink => {
                let target = objects.blob(id)?;
                let target = String::from_utf8_lossy(&target);
                let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, &place, &*target).map_err(failed(attempt))?;
            }
            Mode::Submodule => {
                let what = format!("`{place}` is a submodule; its files are not in this repository");
                return Err(BuildError::Unsupported { builder: super::NAME, what });
            }
        }
    }
    Ok(())
}

/// Writes an image as `docker load` reads it; with `layers` or, where the engine has them, without.
pub fn write_archive(
    out: &mut dyn Write,
    image: &BaseImage,
    names: &[String],
    store: &(impl BlobStore + ?Sized),
    with_layers: bool,
) -> Result<(), BuildError> {
    const ATTEMPT: &str = "send an image to the engine";
    let mut tar = tar::Builder::new(out);
    let paths: Vec<String> = image.parsed.rootfs.diff_ids.iter().map(|id| format!("{}/layer.tar", id.hex())).collect();
    let config = format!("{}.json", BlobDigest::of(&image.config).hex());
    let manifest = serde_json::json!([{"Config": config, "RepoTags": names, "Layers": paths}]).to_string();
    let mut sent = std::collections::BTreeSet::new();
    for (path, layer) in paths.iter().zip(&image.manifest.layers).filter(|_| with_layers) {
        if !sent.insert(path.as_str()) {
            continue;
        }
        if let Some((folder, _)) = path.split_once('/') {
            directory(&mut tar, folder, 0o755).map_err(failed(ATTEMPT))?;
        }
        let mut reader = store.open(&layer.digest)?;
        // The engine unpacks gzip itself, other compressions only when it is newer.
        if [MEDIA_LAYER, MEDIA_LAYER_GZIP].contains(&oci_layer_media_type(&layer.media_type)) {
            let mut header = header(tar::EntryType::Regular, 0o644, layer.size);
            tar.append_data(&mut header, path, reader).map_err(failed(ATTEMPT))?;
            continue;
        }
        let mut spool = tempfile::spooled_tempfile(SPOOL_BYTES);
        let mut plain = decompress(&mut reader).map_err(failed(ATTEMPT))?;
        let size = io::copy(&mut plain, &mut spool).map_err(failed(ATTEMPT))?;
        io::Seek::rewind(&mut spool).map_err(failed(ATTEMPT))?;
        let mut header = header(tar::EntryType::Regular, 0o644, size);
        tar.append_data(&mut header, path, spool.take(size)).map_err(failed(ATTEMPT))?;
    }
    for (path, bytes) in [(config.as_str(), &image.config[..]), ("manifest.json", manifest.as_bytes())] {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        tar.append_data(&mut header, path, bytes).map_err(failed(ATTEMPT))?;
    }
    tar.finish().map_err(failed(ATTEMPT))
}
