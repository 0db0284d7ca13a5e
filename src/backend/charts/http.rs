//! Repositories over HTTP.

#![expect(clippy::disallowed_methods, reason = "certificates are read here")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity, StatusCode};
use url::Url;

use super::Access;
use crate::ports::{FetchError, Wanted};

/// The largest index that is read. Unit: bytes.
const MAX_INDEX: u64 = 256 << 20;
/// The largest archive that is read. Unit: bytes. Source: Helm's limit of what an archive may hold.
pub const MAX_ARCHIVE: u64 = 100 << 20;
/// How long a connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may be silent.
pub const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// Makes the client for one way of access. Archives must come as they are, even where a server calls them packed.
pub fn client(access: &Access, wanted: Wanted) -> Result<Client, Box<dyn Error + Send + Sync>> {
    Ok(builder(access)?.read_timeout(READ_TIMEOUT).gzip(wanted == Wanted::Index).build()?)
}

/// Begins a client for one way of access; it takes bodies as they come.
pub fn builder(access: &Access) -> Result<ClientBuilder, Box<dyn Error + Send + Sync>> {
    let mut builder = Client::builder()
        .user_agent(concat!("stagewright/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .gzip(false);
    if let Some(file) = &access.ca_file {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&read(file)?)?);
    }
    if let (Some(cert), Some(key)) = (&access.cert_file, &access.key_file) {
        let mut pem = read(cert)?;
        pem.push(b'\n');
        pem.extend(read(key)?);
        builder = builder.identity(Identity::from_pem(&pem)?);
    }
    if access.insecure_skip_tls_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    Ok(builder)
}

/// Reads a file of certificates or keys.
pub fn read(file: &Path) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    std::fs::read(file).map_err(|e| format!("read {}: {e}", file.display()).into())
}

/// Fetches an address.
pub async fn get(client: &Client, access: &Access, url: Url, wanted: Wanted) -> Result<Vec<u8>, FetchError> {
    let place = shown(&url);
    let failed = |e: reqwest::Error| FetchError::Failed { place: place.clone(), source: Box::new(e.without_url()) };
    let mut request = client.get(url);
    if !access.username.is_empty() || !access.password.is_empty() {
        request = request.basic_auth(&access.username, Some(&access.password));
    }
    let mut response = request.send().await.map_err(failed)?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(FetchError::NotFound { place }),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            return Err(FetchError::Denied { place, reason: status.to_string() });
        }
        status => return Err(FetchError::Unusable { place, fault: format!("the server answered {status}") }),
    }
    let limit = match wanted {
        Wanted::Index => MAX_INDEX,
        Wanted::Archive => MAX_ARCHIVE,
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Err(FetchError::Unusable { place, fault: format!("it is larger than {limit} bytes") });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// An address as it may be shown: without user, password and query.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // neither can fail for an address that has a host
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}
