//! Images as the engine gives them out: layers become blobs of the store.
//!
//! The one idea: a layer is known by the digest of its bytes, not by its name in the archive, so the forms of all
//! versions (a folder a layer, or `blobs/sha256`) are read the same way.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek as _};

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::engine::{Engine, EngineError};
use crate::backend::disk::HashingWriter;
use crate::backend::native::content::compress_layer;
use crate::backend::native::tar_read::decompress;
use crate::backend::runtime;
use crate::ports::oci::{ImageConfig, MEDIA_LAYER_GZIP};
use crate::ports::{BlobDigest, BlobError, BlobStore, Descriptor, StoreError};

/// Layers up to this size are kept in memory while they are looked at. Unit: bytes.
const SPOOL_BYTES: usize = 32 * 1024 * 1024;
/// The most that a configuration may take. Unit: bytes.
const MAX_CONFIG: u64 = 8 * 1024 * 1024;

/// An image that was taken out of the engine.
pub struct Exported {
    /// Its configuration, as bytes.
    pub config: Vec<u8>,
    /// The same, read.
    pub parsed: ImageConfig,
    /// The layers that were asked for, by the digests of their uncompressed bytes.
    pub layers: BTreeMap<BlobDigest, Descriptor>,
}

/// Why an image could not be taken out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A blob failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// What the engine gave is not an image.
    #[error("the engine gave something else than the image {0}")]
    NoImage(String),
}

impl From<ExportError> for StoreError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Blob(error) => error.into(),
            ExportError::Engine(source) => io_error("take an image out of the engine", source),
            ExportError::NoImage(image) => {
                Self::Invalid { what: format!("the image {image} of the engine"), why: "it cannot be read".into() }
            }
        }
    }
}

/// Says what was attempted.
pub fn io_error(attempt: &str, source: EngineError) -> StoreError {
    StoreError::Io { attempt: attempt.to_owned(), source: io::Error::other(source) }
}

/// Reads what a request receives, in another thread.
struct Chunks {
    receiver: mpsc::Receiver<io::Result<Vec<u8>>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = io::Cursor::new(chunk?),
                None => return Ok(0),
            }
        }
    }
}

/// Takes an image out of the engine; layers that `wanted` refuses are passed over.
///
/// # Errors
/// See [`ExportError`].
pub fn export(
    engine: &Engine,
    image: &str,
    wanted: &(dyn Fn(&BlobDigest) -> bool + Sync),
    store: &(impl BlobStore + ?Sized),
) -> Result<Exported, ExportError> {
    let connection = engine.connect()?;
    let (sender, receiver) = mpsc::channel::<io::Result<Vec<u8>>>(8);
    let docker = connection.docker.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            runtime::block_on(async {
                let mut stream = std::pin::pin!(docker.export_image(image));
                while let Some(chunk) = stream.next().await {
                    let chunk = chunk.map(|bytes| bytes.to_vec()).map_err(io::Error::other);
                    if sender.send(chunk).await.is_err() {
                        return;
                    }
                }
            });
        });
        let chunks = Chunks { receiver, chunk: io::Cursor::default() };
        read_archive(chunks, image, wanted, store)
    })
}

fn read_archive(
    reader: impl Read,
    image: &str,
    wanted: &dyn Fn(&BlobDigest) -> bool,
    store: &(impl BlobStore + ?Sized),
) -> Result<Exported, ExportError> {
    let failed = |e: io::Error| BlobError::from_io(format!("take the image {image} out of the engine"), e);
    let mut tar = tar::Archive::new(reader);
    let mut layers = BTreeMap::new();
    let mut found: Option<(Vec<u8>, ImageConfig)> = None;
    for entry in tar.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(failed)?.display().to_string();
        let size = entry.size();
        let mut start = Vec::new();
        (&mut entry).take(1).read_to_end(&mut start).map_err(failed)?;
        if start.first() == Some(&b'{') && size <= MAX_CONFIG {
            entry.read_to_end(&mut start).map_err(failed)?;
            // The description of a single layer has no list of layers.
            let parsed = ImageConfig::parse(&start, || path.clone()).ok();
            if let Some(parsed) = parsed.filter(|p| !p.os.is_empty() && !p.rootfs.diff_ids.is_empty()) {
                found = Some((start, parsed));
            } else if BlobDigest::of(&start).to_string() == image {
                let parsed = ImageConfig::parse(&start, || path.clone());
                let parsed = parsed.map_err(|_| ExportError::NoImage(image.into()))?;
                found = Some((start, parsed));
            }
            continue;
        }
        if !(path.ends_with("/layer.tar") || path.starts_with("blobs/")) {
            continue;
        }
        // Blobs of newer engines are named by their digest; those that nobody wants are not even read.
        let named = path.rsplit('/').next().and_then(|hex| BlobDigest::parse(&format!("sha256:{hex}")));
        let mut spool = tempfile::spooled_tempfile(SPOOL_BYTES);
        let mut whole = io::Cursor::new(start).chain(&mut entry);
        if named.as_ref().is_some_and(|digest| layers.contains_key(digest)) {
            continue;
        }
        io::copy(&mut whole, &mut spool).map_err(failed)?;
        spool.rewind().map_err(failed)?;
        let mut hash = HashingWriter::new(io::sink());
        io::copy(&mut decompress(&mut spool).map_err(failed)?, &mut hash).map_err(failed)?;
        let (diff_id, _) = hash.finish();
        if !wanted(&diff_id) || layers.contains_key(&diff_id) {
            continue;
        }
        spool.rewind().map_err(failed)?;
        let (digest, size) = store.put(&mut |out| {
            spool.rewind()?;
            compress_layer(&mut decompress(&mut spool)?, out)
        })?;
        layers.insert(diff_id, Descriptor { media_type: MEDIA_LAYER_GZIP.into(), digest, size });
    }
    let (config, parsed) = found.ok_or_else(|| ExportError::NoImage(image.to_owned()))?;
    Ok(Exported { config, parsed, layers })
}
