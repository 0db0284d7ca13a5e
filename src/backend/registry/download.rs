//! Fetching a blob into the cache.
//!
//! The one idea: bytes go through the digest on their way to the disk, and only what has the right one gets a name.
//! A body that breaks off goes on where it stopped, when the registry knows ranges.

use std::io::Write as _;

use reqwest::{Method, StatusCode};

use super::cache::{BlobFolder, BlobWriter};
use super::error::{Kind, RegistryError};
use super::session::{Call, Right, Session, Target};
use crate::ports::BlobDigest;

/// Why a blob was not fetched.
pub enum Failure {
    /// The registry.
    Registry(RegistryError),
    /// The cache.
    Cache(std::io::Error),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Cache(error)
    }
}

/// Fetches a blob of a repository; `false` when it is not there.
pub async fn fetch(session: &Session, path: &str, digest: &BlobDigest, cache: &BlobFolder) -> Result<bool, Failure> {
    let mut attempts = session.attempts();
    let mut blob = cache.begin()?;
    loop {
        let came = match go_on(session, path, digest, &mut blob, cache).await {
            Ok(()) => match cache.end(blob, Some(digest))? {
                Ok(_) => return Ok(true),
                Err(other) => {
                    blob = cache.begin()?;
                    let what = format!("what {} sent for {digest} has the digest {other}", session.host);
                    RegistryError::new(Kind::Corrupted, what)
                }
            },
            Err(Failure::Registry(e)) if e.kind() == Kind::NotFound => return Ok(false),
            Err(Failure::Registry(e)) => e,
            Err(Failure::Cache(e)) => return Err(Failure::Cache(e)),
        };
        attempts.again(came).await?;
    }
}

/// Reads the rest of the body.
async fn go_on(
    session: &Session,
    path: &str,
    digest: &BlobDigest,
    blob: &mut BlobWriter,
    cache: &BlobFolder,
) -> Result<(), Failure> {
    let rest = format!("blobs/{digest}");
    let mut headers = Vec::new();
    if blob.size() > 0 {
        headers.push(("Range", format!("bytes={}-", blob.size())));
    }
    let call = Call {
        method: Method::GET,
        to: Target::Below(&rest),
        path,
        right: Right::Pull,
        from: None,
        headers,
        body: None,
        hoped: &[StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE],
    };
    let mut response = session.once(&call).await?;
    let expected = format!("bytes {}-", blob.size());
    let range = response.headers().get("Content-Range").and_then(|v| v.to_str().ok());
    let goes_on = response.status() == StatusCode::PARTIAL_CONTENT && range.is_some_and(|r| r.starts_with(&expected));
    if blob.size() > 0 && !goes_on {
        *blob = cache.begin()?;
        if response.status() != StatusCode::OK {
            let what = format!("{} does not go on with {digest} where it stopped", session.host);
            return Err(RegistryError::new(Kind::Passing(None), what).into());
        }
    }
    while let Some(chunk) = response.chunk().await.map_err(|e| RegistryError::of_transport(&session.host, e))? {
        blob.write_all(&chunk)?;
    }
    Ok(())
}
