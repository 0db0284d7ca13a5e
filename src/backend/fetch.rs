//! Files that a builder fetches over HTTP: ADD of an address.
//!
//! The one idea: nothing is kept in memory. What comes is written to a file and hashed on the way; what fails for a while
//! is begun anew.

#![expect(clippy::disallowed_methods, reason = "what is fetched is written to a file")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::runtime;
use crate::ports::shown_url;

/// How often a file is asked for.
const ATTEMPTS: u32 = 5;
/// The wait before the second attempt; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may be silent.
const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// Why one attempt gave nothing.
struct Failure {
    why: String,
    may_pass: bool,
}

/// Fetches an address into a file; `checksum` is `sha256:` and hexadecimal digits.
///
/// # Errors
/// Why it could not be fetched, in words.
pub fn fetch(url: &str, checksum: Option<&str>, to: &Path, cancelled: &AtomicBool) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("stagewright/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .gzip(false);
    runtime::prepare();
    let client = client.build().map_err(|e| with_causes(&e))?;
    let mut wait = FIRST_WAIT;
    let mut attempt = 1;
    let digest = loop {
        match runtime::block_on(fetch_once(&client, url, to, cancelled)) {
            Ok(digest) => break digest,
            Err(failure) if failure.may_pass && attempt < ATTEMPTS && !cancelled.load(Ordering::Relaxed) => {
                attempt += 1;
                std::thread::sleep(wait);
                wait *= 2;
            }
            Err(Failure { why, .. }) => {
                let times = if attempt > 1 { format!(", {attempt} times") } else { String::new() };
                return Err(format!("{} cannot be fetched{times}: {why}", shown_url(url)));
            }
        }
    };
    match checksum {
        Some(wanted) if wanted != digest => {
            Err(format!("the content of {} is {digest}, which is not the `--checksum` {wanted}", shown_url(url)))
        }
        Some(_) | None => Ok(()),
    }
}

async fn fetch_once(client: &reqwest::Client, url: &str, to: &Path, cancelled: &AtomicBool) -> Result<String, Failure> {
    let passing = |e: &reqwest::Error| Failure { why: with_causes(e), may_pass: !e.is_builder() && !e.is_redirect() };
    let lasting = |e: std::io::Error| Failure { why: with_causes(&e), may_pass: false };
    let answer = client.get(url).send().await.map_err(|e| passing(&e))?;
    let status = answer.status();
    if !status.is_success() {
        let may_pass = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        return Err(Failure { why: format!("the server says {status}"), may_pass });
    }
    let mut file = File::create(to).map_err(lasting)?;
    let mut hash = Sha256::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Failure { why: "the run was cancelled".to_owned(), may_pass: false });
        }
        let chunk = chunk.map_err(|e| passing(&e))?;
        hash.update(&chunk);
        file.write_all(&chunk).map_err(lasting)?;
    }
    Ok(format!("sha256:{}", hex::encode(hash.finalize())))
}

/// Tells an error with all its causes; addresses are told once.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !told.iter().any(|t| t.contains(&text)) {
            told.push(text);
        }
        next = error.source();
    }
    told.join(": ")
}
