//! Manifests and tags: reading, writing, listing.

use reqwest::{Method, StatusCode};
use url::Url;

use super::error::{Kind, RegistryError};
use super::session::{Answer, Call, Right, Session, Target};
use super::upload::Piece;
use crate::ports::BlobDigest;
use crate::ports::oci::{MEDIA_INDEX, MEDIA_MANIFEST};

/// The documents that we read.
const ACCEPT: [&str; 4] = [
    MEDIA_MANIFEST,
    MEDIA_INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// The largest manifest that is read. Unit: bytes. Source: what registries take, four times.
const MAX_MANIFEST: usize = 16 << 20;
/// The largest page of tags that is read. Unit: bytes.
const MAX_TAGS: usize = 256 << 20;
/// How many tags are asked for at once.
const PAGE: usize = 1_000;
/// How many pages are read.
const MAX_PAGES: usize = 10_000;

/// A manifest or index as it is stored.
pub struct Document {
    /// Its media type as the registry says.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Fetches the manifest under a tag or digest; `None` where there is none.
pub async fn get(session: &Session, path: &str, reference: &str) -> Result<Option<Document>, RegistryError> {
    let mut attempts = session.attempts();
    let rest = format!("manifests/{reference}");
    let call = Call {
        method: Method::GET,
        to: Target::Below(&rest),
        path,
        right: Right::Pull,
        from: None,
        headers: vec![("Accept", ACCEPT.join(", "))],
        body: None,
        hoped: &[StatusCode::OK],
    };
    loop {
        let Some(answer) = session.read(&call, MAX_MANIFEST).await? else { return Ok(None) };
        match checked(session, reference, answer) {
            Ok(document) => return Ok(Some(document)),
            Err(e) => attempts.again(e).await?,
        }
    }
}

/// Compares the bytes with what they are called.
fn checked(session: &Session, reference: &str, answer: Answer) -> Result<Document, RegistryError> {
    let digest = BlobDigest::of(&answer.body);
    let asked = BlobDigest::parse(reference).map(|digest| digest.to_string());
    // A registry may name a digest of another kind, which is not compared.
    let named = answer.digest.filter(|digest| digest.starts_with("sha256:"));
    if let Some(wanted) = asked.or(named).filter(|wanted| *wanted != digest.to_string()) {
        let what = format!("the manifest that {} sent has the digest {digest}, not {wanted}", session.host);
        return Err(RegistryError::new(Kind::Corrupted, what));
    }
    Ok(Document { media_type: answer.kind.unwrap_or_default(), bytes: answer.body })
}

/// Stores a manifest under a tag or its digest.
pub async fn put(
    session: &Session,
    path: &str,
    tag: &str,
    media_type: &str,
    bytes: &[u8],
) -> Result<(), RegistryError> {
    let rest = format!("manifests/{tag}");
    let call = Call {
        method: Method::PUT,
        to: Target::Below(&rest),
        path,
        right: Right::Push,
        from: None,
        headers: vec![("Content-Type", media_type.to_owned())],
        body: Some(Piece::Bytes(bytes.to_vec())),
        hoped: &[StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED],
    };
    let mut attempts = session.attempts();
    loop {
        match session.once(&call).await {
            Ok(_) => return Ok(()),
            Err(e) => attempts.again(e).await?,
        }
    }
}

/// Lists the tags that begin with `prefix`; all, when it is empty.
///
/// Asks for what comes after the prefix in the order of tags. A registry that does not know how answers from the
/// beginning, and then everything is read.
pub async fn tags(session: &Session, path: &str, prefix: &str) -> Result<Vec<String>, RegistryError> {
    let mut found = Vec::new();
    // A tag `PREFIX` sorts before all that begin with it, but must not be left out itself.
    let marker = prefix.strip_suffix('-').unwrap_or("");
    let mut rest = format!("tags/list?n={PAGE}");
    if !marker.is_empty() {
        rest += &format!("&last={marker}");
    }
    let mut next: Option<Url> = None;
    for _ in 0..MAX_PAGES {
        let to = next.take().map_or(Target::Below(&rest), Target::Url);
        let call = Call {
            method: Method::GET,
            to,
            path,
            right: Right::Pull,
            from: None,
            headers: Vec::new(),
            body: None,
            hoped: &[StatusCode::OK],
        };
        // A repository without tags is as good as none.
        let Some(answer) = session.read(&call, MAX_TAGS).await? else { break };
        let page = page(&answer.body).ok_or_else(|| {
            RegistryError::new(Kind::Lasting, format!("{} sent a list of tags that cannot be read", session.host))
        })?;
        let ordered = !marker.is_empty() && page.is_sorted() && page.first().is_some_and(|tag| tag.as_str() > marker);
        let beyond = page.last().is_some_and(|tag| tag.as_str() > prefix && !tag.starts_with(prefix));
        found.extend(page.into_iter().filter(|tag| tag.starts_with(prefix)));
        next = answer.link.as_deref().and_then(|link| following(&answer.url, link));
        if next.is_none() || (ordered && beyond) {
            break;
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn page(body: &[u8]) -> Option<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Page {
        tags: Option<Vec<String>>,
    }
    serde_json::from_slice::<Page>(body).ok().map(|page| page.tags.unwrap_or_default())
}

/// Reads `<…>; rel="next"`. Another host is not followed: it would be told who we are.
fn following(from: &Url, link: &str) -> Option<Url> {
    let (address, relation) = link.strip_prefix('<')?.split_once('>')?;
    let url = from.join(address).ok()?;
    let same = url.host_str() == from.host_str() && url.port_or_known_default() == from.port_or_known_default();
    (same && relation.contains("next") && url != *from).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_host() {
        let from = Url::parse("https://r.example/v2/shop/tags/list?n=2").unwrap();
        let next = following(&from, "</v2/shop/tags/list?n=2&last=b>; rel=\"next\"").unwrap();
        assert_eq!(next.as_str(), "https://r.example/v2/shop/tags/list?n=2&last=b");
        assert_eq!(following(&from, "<https://evil.example/v2/>; rel=\"next\""), None);
        assert_eq!(following(&from, "</x>; rel=\"prev\""), None);
    }

    #[test]
    fn a_page_without_tags_is_empty() {
        assert_eq!(page(br#"{"name":"shop","tags":null}"#), Some(Vec::new()));
        assert_eq!(page(b"<html>"), None);
    }
}
