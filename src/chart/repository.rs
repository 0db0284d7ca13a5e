//! Repositories of charts: addresses, the index of a repository, and the choice of a version.
//!
//! What does not live here: the network. An index comes as bytes.

use semver::Version;

use crate::source::FileId;
use crate::syntax::yaml::{self, Node};

use super::constraint::{Constraint, parse_version};

/// How many near versions are told where none is in the range.
const NEAR: usize = 5;

/// A repository that has a name. Source: Helm's repositories.yaml.
#[derive(Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of repositories.yaml")]
pub struct NamedRepository {
    pub name: String,
    pub url: String,
    pub username: String,
    pub password: String,
    pub ca_file: String,
    pub cert_file: String,
    pub key_file: String,
    pub insecure_skip_tls_verify: bool,
}

impl std::fmt::Debug for NamedRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NamedRepository({})", self.name)
    }
}

/// Where a dependency comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location<'a> {
    /// It lies in `charts/` already.
    Vendored,
    /// It lies in a folder: a path from the chart's own folder, or an absolute one.
    Folder(&'a str),
    /// An OCI registry: `HOST/PATH`, to which the chart's name is added.
    Oci(&'a str),
    /// A repository with an index.
    Http(&'a str),
    /// A repository that has this name in the repository configuration.
    Named(&'a str),
    /// Nothing of that.
    Unknown,
}

impl<'a> Location<'a> {
    /// Reads what Chart.yaml says as `repository`.
    pub fn of(repository: &'a str) -> Self {
        let named = repository.strip_prefix('@').or_else(|| repository.strip_prefix("alias:"));
        match (repository, repository.split_once("://")) {
            ("", _) => Self::Vendored,
            (_, Some(("file", path))) => Self::Folder(path),
            (_, Some(("oci", path))) => Self::Oci(path.trim_end_matches('/')),
            (_, Some(("http" | "https", _))) => Self::Http(repository),
            _ => named.map_or(Self::Unknown, Self::Named),
        }
    }
}

/// Reads a file of named repositories.
///
/// # Errors
/// It is not YAML.
pub fn read_named(text: &str) -> Result<Vec<NamedRepository>, String> {
    let node = yaml::decode(text, FileId(0), 0, yaml::Options::HELM).map_err(|e| e.message)?;
    let of = |node: &Node| {
        let text = |key: &str| node.get(key).and_then(Node::scalar_text).unwrap_or_default().to_owned();
        NamedRepository {
            name: text("name"),
            url: text("url"),
            username: text("username"),
            password: text("password"),
            ca_file: text("caFile"),
            cert_file: text("certFile"),
            key_file: text("keyFile"),
            insecure_skip_tls_verify: node.get("insecure_skip_tls_verify").and_then(Node::as_bool).unwrap_or(false),
        }
    };
    let list = node.get("repositories").and_then(Node::as_sequence).unwrap_or_default();
    Ok(list.iter().map(of).collect())
}

/// An address as it may be shown: without user, password and query.
pub fn shown(address: &str) -> String {
    match url::Url::parse(address) {
        Ok(mut url) if !url.cannot_be_a_base() => {
            // neither can fail for an address that has a host
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.to_string().trim_end_matches('/').to_owned()
        }
        // No address; what may be a login is left out all the same.
        Ok(_) | Err(_) => match address.split_once("://") {
            Some((scheme, rest)) if rest.split('/').next().is_some_and(|host| host.contains('@')) => {
                format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(""))
            }
            Some(_) | None => address.to_owned(),
        },
    }
}

/// Returns the address of a repository's index.
pub fn index_url(repository: &str) -> Option<String> {
    let mut url = url::Url::parse(repository).ok()?;
    let path = format!("{}/index.yaml", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Some(url.to_string())
}

/// Returns the address of an archive; the index may name it relative to the repository.
pub fn archive_url(repository: &str, reference: &str) -> Option<String> {
    let mut base = url::Url::parse(repository).ok()?;
    let folder = format!("{}/", base.path().trim_end_matches('/'));
    base.set_path(&folder);
    let mut url = base.join(reference).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    if url::Url::parse(reference).is_err() {
        url.set_query(base.query());
        // a user in the repository's address stands for its archives too
        let _ = url.set_username(base.username());
        let _ = url.set_password(base.password());
    }
    Some(url.to_string())
}

/// A version of a chart in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The version as written.
    pub version: String,
    /// The version as read.
    pub parsed: Version,
    /// Where the archive is; the first one is used.
    pub urls: Vec<String>,
    /// The SHA-256 of the archive, in hexadecimal; empty when the index does not say it.
    pub digest: String,
}

/// The index of a repository.
#[derive(Clone, Debug)]
pub struct RepositoryIndex {
    node: Node,
}

impl RepositoryIndex {
    /// Reads an index.yaml.
    ///
    /// # Errors
    /// It is not YAML, or no index.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = yaml::text_of_bytes(bytes).map_err(|_| "it is not Unicode".to_owned())?;
        let node = yaml::decode(&text, FileId(0), 0, yaml::Options::HELM).map_err(|e| e.message)?;
        if node.get("entries").is_none() {
            return Err("it is no index of charts: it has no `entries`".to_owned());
        }
        Ok(Self { node })
    }

    /// Returns the names of the charts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.node.get("entries").and_then(Node::as_mapping).into_iter().flatten().map(|e| &*e.name)
    }

    /// Returns the versions of a chart, the newest first; `None` when the repository does not have it.
    pub fn versions(&self, name: &str) -> Option<Vec<Released>> {
        let list = self.node.get("entries")?.as_mapping()?.get(name)?.as_sequence().unwrap_or_default();
        let of = |node: &Node| {
            let text = |key: &str| node.get(key).and_then(Node::scalar_text).unwrap_or_default().to_owned();
            let urls = node.get("urls").and_then(Node::as_sequence).unwrap_or_default();
            let version = text("version");
            Some(Released {
                parsed: parse_version(&version)?,
                version,
                urls: urls.iter().filter_map(Node::as_str).map(str::to_owned).collect(),
                digest: text("digest"),
            })
        };
        let mut versions: Vec<Released> = list.iter().filter_map(of).filter(|v| !v.urls.is_empty()).collect();
        versions.sort_by(|a, b| b.parsed.cmp(&a.parsed));
        Some(versions)
    }
}

/// Returns the versions that the tags of an OCI repository name, the newest first. Source: Helm writes `+` as `_`.
pub fn versions_of_tags(tags: &[String]) -> Vec<Released> {
    let of = |tag: &String| {
        let version = tag.replace('_', "+");
        let parsed = Version::parse(&version).ok()?;
        Some(Released { version, parsed, urls: Vec::new(), digest: String::new() })
    };
    let mut versions: Vec<Released> = tags.iter().filter_map(of).collect();
    versions.sort_by(|a, b| b.parsed.cmp(&a.parsed));
    versions
}

/// Chooses of versions (the newest first) the newest in a range; a version that is written just so wins.
pub fn choose<'v>(range: &str, versions: &'v [Released]) -> Option<&'v Released> {
    if let Some(exact) = versions.iter().find(|v| v.version == range) {
        return Some(exact);
    }
    let constraint = Constraint::parse(if range.is_empty() { "*" } else { range })?;
    versions.iter().find(|v| constraint.allows(&v.parsed))
}

/// Returns the versions (the newest first) around the one that a range names first.
pub fn near<'v>(range: &str, versions: &'v [Released]) -> Vec<&'v str> {
    let bound = Constraint::parse(range).and_then(|c| c.first_bound().cloned());
    let at = bound.map_or(0, |bound| versions.iter().filter(|v| v.parsed > bound).count());
    let start = at.saturating_sub(NEAR / 2 + 1).min(versions.len().saturating_sub(NEAR));
    versions.iter().skip(start).take(NEAR).map(|v| v.version.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "apiVersion: v1\nentries:\n  web:\n  - {version: 1.2.0, urls: [charts/web-1.2.0.tgz], digest: aa}\n  \
                         - {version: 1.10.0, urls: ['https://cdn.example.org/web.tgz']}\n  - {version: 2.0.0-rc.1, urls: [x]}\n  \
                         - {version: 3.0.0, urls: []}\n  - {version: nonsense, urls: [x]}\n";

    #[test]
    fn the_newest_version_in_the_range_is_chosen() {
        let index = RepositoryIndex::parse(INDEX.as_bytes()).unwrap();
        let versions = index.versions("web").unwrap();
        let chosen = |range: &str| choose(range, &versions).map(|v| v.version.as_str());
        assert_eq!(chosen("1.x"), Some("1.10.0"));
        assert_eq!(chosen(""), Some("1.10.0"));
        assert_eq!(chosen("~1.2"), Some("1.2.0"));
        assert_eq!(chosen("2.0.0-rc.1"), Some("2.0.0-rc.1"));
        assert_eq!(chosen("^3"), None);
        assert_eq!(near("^3", &versions), ["2.0.0-rc.1", "1.10.0", "1.2.0"]);
        assert!(index.versions("wbe").is_none());
        assert_eq!(index.names().collect::<Vec<_>>(), ["web"]);
        assert!(RepositoryIndex::parse(b"<html>").is_err());
    }

    #[test]
    fn near_versions_stand_around_the_range() {
        let tags: Vec<String> = (0..20).map(|n| format!("1.{n}.0")).chain(["latest".to_owned()]).collect();
        let versions = versions_of_tags(&tags);
        assert_eq!(near("1.10.5", &versions), ["1.13.0", "1.12.0", "1.11.0", "1.10.0", "1.9.0"]);
        assert_eq!(near("^7", &versions), ["1.19.0", "1.18.0", "1.17.0", "1.16.0", "1.15.0"]);
        assert_eq!(near("0.1", &versions), ["1.4.0", "1.3.0", "1.2.0", "1.1.0", "1.0.0"]);
        assert_eq!(versions_of_tags(&["1.0.0_b7".to_owned()])[0].version, "1.0.0+b7");
    }

    #[test]
    fn addresses_are_joined_as_helm_does() {
        let url = |base, reference| archive_url(base, reference).unwrap_or_default();
        assert_eq!(url("https://c.example.org/stable", "web-1.tgz"), "https://c.example.org/stable/web-1.tgz");
        assert_eq!(url("https://c.example.org/stable/?t=1", "a/w.tgz"), "https://c.example.org/stable/a/w.tgz?t=1");
        assert_eq!(url("https://u:p@c.example.org", "/w.tgz"), "https://u:p@c.example.org/w.tgz");
        assert_eq!(url("https://u:p@c.example.org", "http://o.example.org/w.tgz"), "http://o.example.org/w.tgz");
        assert_eq!(url("https://c.example.org", "file:///etc/passwd"), "");
        assert_eq!(index_url("https://c.example.org/a/").unwrap(), "https://c.example.org/a/index.yaml");
        assert_eq!(shown("https://u:p@c.example.org/a?token=x"), "https://c.example.org/a");
        assert_eq!(shown("oci://u:p@c.example.org/a"), "oci://c.example.org/a");
    }

    #[test]
    fn locations_are_told_apart() {
        assert_eq!(Location::of(""), Location::Vendored);
        assert_eq!(Location::of("file://../a"), Location::Folder("../a"));
        assert_eq!(Location::of("oci://r.example.org/a/"), Location::Oci("r.example.org/a"));
        assert_eq!(Location::of("alias:mine"), Location::Named("mine"));
        assert_eq!(Location::of("@mine"), Location::Named("mine"));
        assert_eq!(Location::of("stable"), Location::Unknown);
        let named =
            read_named("repositories:\n- {name: mine, url: 'https://c.example.org', password: secret}\n").unwrap();
        assert_eq!(
            (named[0].url.as_str(), format!("{:?}", named[0]).contains("secret")),
            ("https://c.example.org", false)
        );
    }
}
