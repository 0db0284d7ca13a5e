//! Charts in OCI registries.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::Access;
use super::http::{CONNECT_TIMEOUT, MAX_ARCHIVE, READ_TIMEOUT, read};
use crate::backend::credentials::{self, CredentialSource, Login};
use crate::ports::{BlobDigest, CHART_CONFIG, CHART_LAYERS, FetchError};

/// How many tags are asked for at once.
const TAGS: usize = 1_000;
/// How many pages of tags are read.
const MAX_PAGES: usize = 1_000;

/// Makes the client for one way of access.
pub fn client(access: &Access, place: &str) -> Result<Client, FetchError> {
    let failed = |source| FetchError::Failed { place: place.to_owned(), source };
    if access.cert_file.is_some() {
        let fault = "client certificates cannot be shown to OCI registries yet".to_owned();
        return Err(FetchError::Unusable { place: place.to_owned(), fault });
    }
    let ca = access
        .ca_file
        .iter()
        .map(|file| Ok(Certificate { encoding: CertificateEncoding::Pem, data: read(file).map_err(failed)? }));
    let config = ClientConfig {
        protocol: if access.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
        accept_invalid_certificates: access.insecure_skip_tls_verify,
        extra_root_certificates: ca.collect::<Result<_, _>>()?,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: concat!("stagewright/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|e| failed(e.into()))
}

/// Reads `HOST/PATH/NAME` with a tag or a digest.
pub fn reference(repository: &str, tag: &str) -> Result<Reference, FetchError> {
    let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
    if host.contains('@') {
        // What stands before it is not repeated: it may be a password.
        let fault = "an address of a registry holds no user and no password: use --username and --password".to_owned();
        let place = format!("oci://{}", repository.rsplit('@').next().unwrap_or(""));
        return Err(FetchError::Unusable { place, fault });
    }
    if host.is_empty() || path.is_empty() {
        let fault = "write oci://HOST/PATH/NAME".to_owned();
        return Err(FetchError::Unusable { place: format!("oci://{repository}"), fault });
    }
    let (host, path) = (host.to_owned(), path.to_owned());
    Ok(if tag.starts_with("sha256:") {
        Reference::with_digest(host, path, tag.to_owned())
    } else {
        Reference::with_tag(host, path, tag.to_owned())
    })
}

/// Returns what the registry is told of us: user and password, else what the files of `docker login` say.
pub fn auth(access: &Access, reference: &Reference, sources: &[CredentialSource]) -> Result<RegistryAuth, FetchError> {
    if !access.username.is_empty() || !access.password.is_empty() {
        return Ok(RegistryAuth::Basic(access.username.clone(), access.password.clone()));
    }
    let host = reference.resolve_registry();
    let refused = |reason| FetchError::Denied { place: host.to_owned(), reason };
    match credentials::find(host, sources).map_err(refused)? {
        Login::Anonymous => Ok(RegistryAuth::Anonymous),
        Login::Basic { user, password } => Ok(RegistryAuth::Basic(user, password)),
        Login::IdentityToken(_) => {
            Err(refused("there are credentials for it, but identity tokens cannot be used for charts yet".to_owned()))
        }
    }
}

/// Lists all tags of a repository.
pub async fn tags(client: &Client, auth: &RegistryAuth, reference: &Reference) -> Result<Vec<String>, FetchError> {
    let place = format!("oci://{}/{}", reference.registry(), reference.repository());
    let mut all: BTreeSet<String> = BTreeSet::new();
    let mut last: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let page = client.list_tags(reference, auth, Some(TAGS), last.as_deref()).await;
        let page = page.map_err(|error| told(&place, error))?;
        let before = all.len();
        last = page.tags.last().cloned();
        all.extend(page.tags);
        // Some registries know no pages and answer everything again.
        if all.len() == before || all.len() - before < TAGS {
            break;
        }
    }
    Ok(all.into_iter().collect())
}

/// Fetches the archive of a chart.
pub async fn pull(client: &Client, auth: &RegistryAuth, reference: &Reference) -> Result<Vec<u8>, FetchError> {
    let place = format!("oci://{}", reference.whole());
    let unusable = |fault: String| FetchError::Unusable { place: place.clone(), fault };
    let accepted = [OCI_IMAGE_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE];
    let (bytes, digest) = client.pull_manifest_raw(reference, auth, &accepted).await.map_err(|e| told(&place, e))?;
    if let Some(wanted) = reference.digest().filter(|wanted| *wanted != digest) {
        return Err(unusable(format!("the manifest that came has the digest {digest}, not {wanted}")));
    }
    let manifest: OciImageManifest =
        serde_json::from_slice(&bytes).map_err(|e| unusable(format!("its manifest cannot be read: {e}")))?;
    if manifest.config.media_type != CHART_CONFIG {
        return Err(unusable(format!("it is no chart: its configuration is {}", manifest.config.media_type)));
    }
    let layer = manifest.layers.iter().find(|layer| CHART_LAYERS.contains(&layer.media_type.as_str()));
    let layer = layer.ok_or_else(|| unusable("its manifest names no archive".to_owned()))?;
    let too_large = || unusable(format!("it is larger than {MAX_ARCHIVE} bytes"));
    if u64::try_from(layer.size).is_ok_and(|size| size > MAX_ARCHIVE) {
        return Err(too_large());
    }
    let mut stream = client.pull_blob_stream(reference, layer).await.map_err(|e| told(&place, e))?;
    let mut archive = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| FetchError::Failed { place: place.clone(), source: Box::new(e) })?;
        archive.extend_from_slice(&chunk);
        if archive.len() as u64 > MAX_ARCHIVE {
            return Err(too_large());
        }
    }
    let came = BlobDigest::of(&archive).to_string();
    if came != layer.digest {
        return Err(unusable(format!(
            "the archive that came has the digest {came}, the manifest says {}",
            layer.digest
        )));
    }
    Ok(archive)
}

/// Says what a registry answered.
#[expect(clippy::wildcard_enum_match_arm, reason = "the client's own errors; most speak for themselves")]
fn told(place: &str, error: OciDistributionError) -> FetchError {
    let place = place.to_owned();
    match &error {
        OciDistributionError::ImageManifestNotFoundError(_) | OciDistributionError::ServerError { code: 404, .. } => {
            FetchError::NotFound { place }
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            let is = |codes: &[OciErrorCode]| envelope.errors.iter().any(|e| codes.contains(&e.code));
            if is(&[
                OciErrorCode::ManifestUnknown,
                OciErrorCode::NameUnknown,
                OciErrorCode::NotFound,
                OciErrorCode::BlobUnknown,
            ]) {
                return FetchError::NotFound { place };
            }
            let messages: Vec<&str> = envelope.errors.iter().map(|e| e.message.as_str()).collect();
            let reason = messages.join("; ");
            if is(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                return FetchError::Denied { place, reason };
            }
            FetchError::Unusable { place, fault: format!("the registry answered: {reason}") }
        }
        OciDistributionError::UnauthorizedError { .. } => {
            FetchError::Denied { place, reason: "log in, or give --username and --password".to_owned() }
        }
        OciDistributionError::AuthenticationFailure(_) => {
            FetchError::Denied { place, reason: "the registry did not accept the user".to_owned() }
        }
        _ => match error {
            OciDistributionError::RequestError(e) => FetchError::Failed { place, source: Box::new(e.without_url()) },
            other => FetchError::Failed { place, source: Box::new(other) },
        },
    }
}
