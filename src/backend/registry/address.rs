//! Names of registries and repositories.

use std::net::IpAddr;

use crate::ports::oci::normalize_reference;

/// The host of Docker's registry as people write it.
pub const DOCKER: &str = "docker.io";
/// The longest tag. Source: OCI distribution specification.
const LONGEST_TAG: usize = 128;

/// A repository in a registry, written `HOST[:PORT]/PATH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// Host, and port if it is not that of HTTPS.
    pub host: String,
    /// The name within the registry.
    pub path: String,
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl Repository {
    /// Reads `HOST[:PORT]/PATH`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((host, path)) = text.split_once('/') else {
            return Err("a registry is written HOST[:PORT]/PATH".to_owned());
        };
        if host.contains('@') || text.contains("://") {
            return Err("a registry is written HOST[:PORT]/PATH, without scheme, user and password".to_owned());
        }
        let host_is_host = (host.contains(['.', ':']) || host == "localhost")
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
            && host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']') || port.parse::<u16>().is_ok());
        if !host_is_host {
            return Err(format!("`{host}` is no host of a registry: write it with its domain or port"));
        }
        let is_part = |part: &str| {
            let edges = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            edges(part.chars().next())
                && edges(part.chars().next_back())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        if !path.split('/').all(is_part) {
            return Err(format!(
                "`{path}` is no name of a repository: lower-case letters, digits, `.`, `_`, `-` and `/`"
            ));
        }
        Ok(Self { host: host.to_owned(), path: path.to_owned() })
    }

    /// Reads the reference of an image in short or full form: its repository, and the tag or digest.
    pub fn of_reference(reference: &str) -> Option<(Self, String)> {
        let full = normalize_reference(reference);
        let (name, tag) = match full.split_once('@') {
            Some((name, digest)) => (name.to_owned(), digest.to_owned()),
            None => full.rsplit_once(':').map(|(name, tag)| (name.to_owned(), tag.to_owned()))?,
        };
        let (host, path) = name.split_once('/')?;
        let ok = !path.is_empty() && !tag.is_empty() && !format!("{path}{tag}").contains(['?', '#', '%', ' ']);
        ok.then(|| (Self { host: host.to_owned(), path: path.to_owned() }, tag))
    }

    /// Returns where the API is spoken: Docker's is on another host than its name says.
    pub fn api_host(host: &str) -> &str {
        if host == DOCKER { "registry-1.docker.io" } else { host }
    }
}

/// Says whether a host is this machine: such a registry need not speak TLS, as in Docker.
pub fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the tag that remembers what was stored last under an image's name.
pub fn newest_tag(name: &str) -> String {
    let readable = format!("newest-{}", name.replace('/', "__"));
    let ok = readable.len() <= LONGEST_TAG
        && readable.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.contains("__");
    if ok { readable } else { format!("newest-x-{}", crate::digest::Sha224Digest::of_bytes(name.as_bytes())) }
}

/// Says whether a registry takes this as a tag.
pub fn is_tag(tag: &str) -> bool {
    let first = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first && tag.len() <= LONGEST_TAG && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_names_host_and_path() {
        let parsed = |text: &str| Repository::parse(text).map(|r| (r.host, r.path));
        assert_eq!(parsed("r.example:5000/shop/app").unwrap(), ("r.example:5000".into(), "shop/app".into()));
        assert_eq!(parsed("localhost/shop").unwrap(), ("localhost".into(), "shop".into()));
        assert_eq!(parsed("[::1]:5000/shop").unwrap().0, "[::1]:5000");
        for wrong in [
            "shop",
            "shop/app",
            "r.example/",
            "r.example/Shop",
            "me:pw@r.example/shop",
            "r.example:x/shop",
            "r.example/a//b",
            "r.example/../b",
        ] {
            assert!(Repository::parse(wrong).is_err(), "{wrong}");
        }
        let (repository, tag) = Repository::of_reference("alpine").unwrap();
        assert_eq!((repository.to_string().as_str(), tag.as_str()), ("docker.io/library/alpine", "latest"));
        let (repository, tag) = Repository::of_reference("r.example:5000/a@sha256:00").unwrap();
        assert_eq!((repository.host.as_str(), tag.as_str()), ("r.example:5000", "sha256:00"));
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1:5000", "r.example"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn every_name_of_an_image_has_a_tag_of_its_own() {
        assert_eq!(newest_tag("shop/web"), "newest-shop__web");
        for name in ["", "a b", "a__b", "ü", &"n".repeat(200)] {
            assert!(is_tag(&newest_tag(name)), "{name}");
        }
        assert_ne!(newest_tag("a__b"), newest_tag("a/b"));
    }
}
