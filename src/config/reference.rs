//! The form of outside image references.

/// Says whether a text is an image reference that carries a tag or a digest. Source: distribution/reference.
pub(super) fn is_pinned(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (rest, None),
    };
    let good_digest = digest.is_none_or(|d| d.split_once(':').is_some_and(|(a, h)| !a.is_empty() && is_hex(h)));
    (digest.is_some() || tag.is_some()) && good_digest && tag.is_none_or(super::slug::is_tag) && is_repository(name)
}

/// Says whether an outside reference has no tag and no digest.
pub(super) fn is_untagged(text: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or(text);
    !last.contains([':', '@'])
}

fn is_hex(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_repository(name: &str) -> bool {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first => {
            (Some(first), rest)
        }
        Some(_) | None => (None, name),
    };
    let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    domain.is_none_or(|d| d.chars().all(host)) && path.split('/').all(is_component)
}

fn is_component(part: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    edge(part.bytes().next()) && edge(part.bytes().next_back()) && part.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_with_tag_or_digest_are_outside() {
        let digest = format!("x@sha256:{}", "0".repeat(64));
        for text in ["nginx:1", &digest, "host:5000/a/b:v1", "ghcr.io/Org".to_lowercase().as_str(), "localhost/x:1"] {
            assert_eq!(is_pinned(text), text != "ghcr.io/org", "{text}");
        }
        for text in ["nginx", "host:5000/x", "Foo:1", "a b:1", "x:", "-x:1", ""] {
            assert!(!is_pinned(text), "{text}");
        }
        assert!(is_untagged("host:5000/x") && is_untagged("alpine") && !is_untagged("alpine:3"));
    }
}
