//! Bringing a blob into a repository: found, mounted from another one, or sent.
//!
//! The one idea: the registry checks the digest at the end, so whatever breaks on the way can be done again. A large
//! blob goes on where it broke off, when the registry still knows how much of it has come.

#![expect(clippy::disallowed_methods, reason = "blobs are read from the cache")]

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use reqwest::header::{CONTENT_LENGTH, LOCATION, RANGE};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use url::Url;

use super::error::{Kind, RegistryError};
use super::session::{Call, Right, Session, Target};
use crate::ports::BlobDigest;

/// A blob up to this size is sent in one piece with the request that ends the upload. Unit: bytes.
const SMALL: u64 = 4 << 20;
/// How much of a file is read at once. Unit: bytes.
const CHUNK: usize = 256 << 10;

/// What is sent.
#[derive(Clone)]
pub enum Piece {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A file from a place on.
    File {
        /// Where it is.
        path: PathBuf,
        /// The first byte.
        offset: u64,
        /// How many. Unit: bytes.
        len: u64,
    },
}

impl Piece {
    /// Returns the size. Unit: bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Puts it into a request.
    pub fn send_with(&self, request: RequestBuilder) -> io::Result<RequestBuilder> {
        Ok(match self {
            Self::Bytes(bytes) => request.body(bytes.clone()),
            Self::File { path, offset, len } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*offset))?;
                let stream = futures_util::stream::try_unfold((file, *len), |(mut file, left)| async move {
                    let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
                    let count = file.read(&mut chunk)?;
                    chunk.truncate(count);
                    let left = left - count as u64;
                    Ok::<_, io::Error>((count > 0).then_some((chunk, (file, left))))
                });
                request.header(CONTENT_LENGTH, *len).body(Body::wrap_stream(stream))
            }
        })
    }
}

/// A blob that lies in the cache.
#[derive(Clone, Copy)]
pub struct Upload<'a> {
    /// Its digest.
    pub digest: &'a BlobDigest,
    /// Its bytes.
    pub file: &'a Path,
    /// Their number.
    pub size: u64,
}

/// Says whether a repository has a blob.
pub async fn has(session: &Session, path: &str, digest: &BlobDigest) -> Result<bool, RegistryError> {
    let rest = format!("blobs/{digest}");
    let hoped = &[StatusCode::OK];
    let call = Call { hoped, ..call(Method::HEAD, Target::Below(&rest), path, Right::Pull) };
    Ok(session.read(&call, usize::MAX).await?.is_some())
}

/// Makes a blob of another repository of the same registry appear in this one; `false` when it must be sent.
pub async fn mount(session: &Session, path: &str, digest: &BlobDigest, from: &str) -> Result<bool, RegistryError> {
    let rest = format!("blobs/uploads/?mount={digest}&from={from}");
    let hoped = &[StatusCode::CREATED, StatusCode::ACCEPTED];
    let call = Call {
        from: Some(from),
        body: Some(empty()),
        hoped,
        ..call(Method::POST, Target::Below(&rest), path, Right::Push)
    };
    let mut attempts = session.attempts();
    loop {
        match session.once(&call).await {
            Ok(response) if response.status() == StatusCode::CREATED => return Ok(true),
            // The registry began an upload instead, which it forgets after a time.
            Ok(_) => return Ok(false),
            // It may not be read from there: then it is sent.
            Err(e) if matches!(e.kind(), Kind::Lasting | Kind::NotFound) => return Ok(false),
            Err(e) => attempts.again(e).await?,
        }
    }
}

/// Sends a blob.
pub async fn send(session: &Session, path: &str, upload: Upload<'_>) -> Result<(), RegistryError> {
    let mut attempts = session.attempts();
    loop {
        let sent = if upload.size <= SMALL {
            send_small(session, path, upload).await
        } else {
            send_large(session, path, upload).await
        };
        match sent {
            Ok(()) => return Ok(()),
            // A session that the registry has forgotten is begun again.
            Err(e) if e.kind() == Kind::NotFound => {
                attempts.again(RegistryError::new(Kind::Passing(None), e.to_string())).await?;
            }
            Err(e) => attempts.again(e).await?,
        }
    }
}

async fn send_small(session: &Session, path: &str, upload: Upload<'_>) -> Result<(), RegistryError> {
    let at = begin(session, path).await?;
    end(session, path, upload, at, 0).await
}

async fn send_large(session: &Session, path: &str, upload: Upload<'_>) -> Result<(), RegistryError> {
    let mut at = begin(session, path).await?;
    let mut offset = 0;
    let mut attempts = session.attempts();
    while offset < upload.size {
        let len = upload.size - offset;
        let mut headers = vec![("Content-Type", "application/octet-stream".to_owned())];
        if offset > 0 {
            headers.push(("Content-Range", format!("{offset}-{}", upload.size - 1)));
        }
        let body = Some(Piece::File { path: upload.file.to_owned(), offset, len });
        let hoped = &[StatusCode::ACCEPTED, StatusCode::NO_CONTENT, StatusCode::CREATED];
        let patch = Call { headers, body, hoped, ..call(Method::PATCH, Target::Url(at.clone()), path, Right::Push) };
        match session.once(&patch).await {
            Ok(response) => {
                offset = upload.size;
                at = location(session, &response)?;
            }
            Err(e) => {
                attempts.again(e).await?;
                (at, offset) = progress(session, path, &at, upload.size).await?;
            }
        }
    }
    end(session, path, upload, at, upload.size).await
}

/// Begins an upload and returns where it goes.
async fn begin(session: &Session, path: &str) -> Result<Url, RegistryError> {
    let hoped = &[StatusCode::ACCEPTED];
    let begin =
        Call { body: Some(empty()), hoped, ..call(Method::POST, Target::Below("blobs/uploads/"), path, Right::Push) };
    location(session, &session.once(&begin).await?)
}

/// Sends what is left and names the digest.
async fn end(session: &Session, path: &str, upload: Upload<'_>, mut at: Url, offset: u64) -> Result<(), RegistryError> {
    at.query_pairs_mut().append_pair("digest", &upload.digest.to_string());
    let body = Piece::File { path: upload.file.to_owned(), offset, len: upload.size - offset };
    let body = if body.len() == 0 { Some(empty()) } else { Some(body) };
    let headers = vec![("Content-Type", "application/octet-stream".to_owned())];
    let hoped = &[StatusCode::CREATED, StatusCode::NO_CONTENT, StatusCode::OK];
    let end = Call { headers, body, hoped, ..call(Method::PUT, Target::Url(at), path, Right::Push) };
    let response = session.once(&end).await?;
    let named = response.headers().get("Docker-Content-Digest").and_then(|v| v.to_str().ok());
    if named.is_some_and(|named| named.starts_with("sha256:") && named != upload.digest.to_string()) {
        let what = format!("{} stored another digest than {}", session.host, upload.digest);
        return Err(RegistryError::new(Kind::Corrupted, what));
    }
    Ok(())
}

/// Asks how much of an upload has come.
async fn progress(session: &Session, path: &str, at: &Url, size: u64) -> Result<(Url, u64), RegistryError> {
    let hoped = &[StatusCode::NO_CONTENT, StatusCode::ACCEPTED];
    let ask = Call { hoped, ..call(Method::GET, Target::Url(at.clone()), path, Right::Push) };
    let response = session.once(&ask).await?;
    let range = response.headers().get(RANGE).and_then(|v| v.to_str().ok());
    let last = range.and_then(|r| r.trim_start_matches("bytes=").strip_prefix("0-")?.parse::<u64>().ok());
    // `0-0` is what registries say when nothing has come.
    let offset = last.filter(|last| *last > 0).map_or(0, |last| last + 1);
    if offset > size {
        let what = format!("{} says that more has come than was sent", session.host);
        return Err(RegistryError::new(Kind::Passing(None), what));
    }
    Ok((location(session, &response).unwrap_or_else(|_| at.clone()), offset))
}

/// Where an upload goes on. A registry behind a proxy may not know that it is spoken to over TLS.
fn location(session: &Session, response: &Response) -> Result<Url, RegistryError> {
    let text = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
    let url = text.and_then(|text| response.url().join(text).ok());
    let mut url = url.ok_or_else(|| {
        RegistryError::new(Kind::Lasting, format!("{} does not say where an upload goes", session.host))
    })?;
    let from = response.url();
    if from.scheme() == "https" && url.scheme() == "http" && url.host_str() == from.host_str() {
        let _ = url.set_scheme("https");
        let _ = url.set_port(from.port());
    }
    Ok(url)
}

fn empty() -> Piece {
    Piece::Bytes(Vec::new())
}

fn call<'a>(method: Method, to: Target<'a>, path: &'a str, right: Right) -> Call<'a> {
    Call { method, to, path, right, from: None, headers: Vec::new(), body: None, hoped: &[] }
}
