//! How a server is reached: user, password, certificates.

use std::path::PathBuf;

use url::Url;

/// How a server is reached.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The user; empty for none.
    pub username: String,
    /// The password. It is sent, and never shown.
    pub password: String,
    /// Certificates that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to the server.
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate.
    pub key_file: Option<PathBuf>,
    /// Trusts any certificate.
    pub insecure_skip_tls_verify: bool,
    /// Speaks to registries without TLS.
    pub plain_http: bool,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let password = if self.password.is_empty() { "" } else { "(hidden)" };
        f.debug_struct("Access").field("username", &self.username).field("password", &password).finish_non_exhaustive()
    }
}

impl Access {
    /// Returns the same without user and password: for a server that they are not meant for.
    pub fn anonymous(&self) -> Self {
        Self { username: String::new(), password: String::new(), ..self.clone() }
    }
}

/// Access to the server that has an address; addresses below the path are reached the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Address of a repository.
    pub url: String,
    /// How it is reached.
    pub access: Access,
}

/// Returns the access for an address: of the rule whose server it is on, and of several the one with the longest
/// path above it. Secrets go to no other server.
pub fn access_for<'a>(rules: &'a [AccessRule], address: &Url) -> Option<&'a Access> {
    let fits = |rule: &&AccessRule| {
        Url::parse(&rule.url).is_ok_and(|url| {
            url.scheme() == address.scheme()
                && url.host_str() == address.host_str()
                && url.port_or_known_default() == address.port_or_known_default()
        })
    };
    let above = |rule: &&AccessRule| {
        let path = Url::parse(&rule.url).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        let is_above = address.path().strip_prefix(path.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        if is_above { path.len() + 1 } else { 0 }
    };
    rules.iter().filter(fits).max_by_key(above).map(|rule| &rule.access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_their_own_server_only() {
        let rule = |url: &str, user: &str| AccessRule {
            url: url.to_owned(),
            access: Access { username: user.to_owned(), password: "secret".to_owned(), ..Access::default() },
        };
        let rules = [rule("https://c.example.org/stable", "a"), rule("https://c.example.org/edge", "b")];
        let user = |url: &str| access_for(&rules, &Url::parse(url).unwrap()).map_or("", |a| a.username.as_str());
        assert_eq!(user("https://c.example.org/edge/x.tgz"), "b");
        assert_eq!(user("https://c.example.org/stable/x.tgz"), "a");
        assert_eq!(user("http://c.example.org/stable/x.tgz"), "");
        assert_eq!(user("https://c.example.org:8443/stable/x.tgz"), "");
        assert_eq!(user("https://o.example.org/stable/x.tgz"), "");
        assert!(!format!("{rules:?}").contains("secret"));
    }
}
