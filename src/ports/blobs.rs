//! The blob port: content-addressed bytes of layers, configurations and manifests.

use std::io::Read;

use serde::{Deserialize, Serialize};

/// The digest of a blob: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobDigest(String);

impl BlobDigest {
    /// Hashes bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes))))
    }

    /// Names a blob by the SHA-256 of its bytes.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(hash)))
    }

    /// Reads `sha256:` and 64 lower-case hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let ok = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        ok.then(|| Self(text.to_owned()))
    }

    /// Returns the 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or(&self.0)
    }
}

impl std::fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a blob in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: BlobDigest,
    /// Unit: bytes.
    pub size: u64,
}

/// Why a blob could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not there.
    #[error("blob {0} is not in the store")]
    Absent(BlobDigest),
    /// Its bytes do not have its digest.
    #[error("`{place}` is corrupted: its bytes do not have the digest {digest}; remove it and apply again")]
    Corrupted {
        /// The digest it was asked for by.
        digest: BlobDigest,
        /// Where it is: a file, an address.
        place: String,
    },
    /// Input or output failed.
    #[error("{attempt}")]
    Io {
        /// What was attempted, on which object.
        attempt: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Stores blobs by digest. Writing is atomic: a blob is there whole or not at all.
pub trait BlobStore: Send + Sync {
    /// Says whether a blob is there.
    ///
    /// # Errors
    /// The store failed.
    fn has(&self, digest: &BlobDigest) -> Result<bool, BlobError>;

    /// Opens a blob for reading; a reader at the end has checked the digest.
    ///
    /// # Errors
    /// The blob is absent, or the store failed.
    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send>, BlobError>;

    /// Stores what `content` writes and returns its digest and size in bytes; an equal blob is kept as it is.
    ///
    /// # Errors
    /// The store or `content` failed; nothing is left behind.
    fn put(
        &self,
        content: &mut dyn FnMut(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<(BlobDigest, u64), BlobError>;

    /// Reads a whole small blob.
    ///
    /// # Errors
    /// As [`BlobStore::open`]; also when the bytes do not have the digest.
    fn read(&self, digest: &BlobDigest) -> Result<Vec<u8>, BlobError> {
        let mut bytes = Vec::new();
        self.open(digest)?.read_to_end(&mut bytes).map_err(|e| BlobError::from_io(format!("read blob {digest}"), e))?;
        Ok(bytes)
    }
}

impl BlobError {
    /// Returns the blob error that an input or output error carries, as that of a [`CheckedReader`], else wraps it.
    pub fn from_io(attempt: String, source: std::io::Error) -> Self {
        source.downcast::<Self>().unwrap_or_else(|source| Self::Io { attempt, source })
    }
}

/// A reader that checks the digest of what it read when it comes to the end.
///
/// Errors at the end: an [`std::io::Error`] that carries [`BlobError::Corrupted`]; see [`BlobError::from_io`].
pub struct CheckedReader<R> {
    inner: R,
    hash: Option<sha2::Sha256>,
    digest: BlobDigest,
    place: String,
}

impl<R: Read> CheckedReader<R> {
    /// Wraps a reader of the blob's bytes; `place` names it in the error.
    pub fn new(inner: R, digest: BlobDigest, place: String) -> Self {
        use sha2::Digest as _;
        Self { inner, hash: Some(sha2::Sha256::new()), digest, place }
    }
}

impl<R: Read> Read for CheckedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use sha2::Digest as _;
        let count = self.inner.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if count > 0 {
            if let Some(hash) = &mut self.hash {
                hash.update(read);
            }
        } else if !buffer.is_empty()
            && let Some(hash) = self.hash.take()
            && hex::encode(hash.finalize()) != self.digest.hex()
        {
            let error = BlobError::Corrupted { digest: self.digest.clone(), place: self.place.clone() };
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }
}
