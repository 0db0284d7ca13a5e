//! What commands of a build may be given of the host: secrets, folders, the ssh agent.
//!
//! What lives here: finding and reading them, and hiding secrets in what commands print. What does not: how a builder
//! hands them to a command.

#![expect(clippy::disallowed_methods, reason = "secrets are files of the host")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::stage::SecretPlace;

/// Secrets shorter than this are not masked: every second word would be. Unit: bytes.
const SHORTEST_MASKED: usize = 4;

/// What commands may be given of the host.
#[derive(Clone, Default)]
pub struct HostAccess {
    /// The environment, for secrets and the address of the ssh agent.
    pub environment: BTreeMap<String, String>,
    /// The folder to which paths of the host are relative.
    pub project: PathBuf,
}

impl std::fmt::Debug for HostAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostAccess").field("project", &self.project).finish_non_exhaustive()
    }
}

impl HostAccess {
    /// Returns a path of the host, as it is written in a request.
    pub fn path(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), self.environment.get("HOME")) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => self.project.join(path),
        }
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// Says which secret cannot be read, and why.
    pub fn secret(&self, id: &str, place: &SecretPlace) -> Result<Vec<u8>, String> {
        match place {
            SecretPlace::Variable(name) => {
                let value = self.environment.get(name).cloned();
                value
                    .map(String::into_bytes)
                    .ok_or_else(|| format!("the secret `{id}`: the variable `{name}` is not set"))
            }
            SecretPlace::File(path) => {
                let path = self.path(path);
                fs::read(&path).map_err(|e| format!("the secret `{id}`: read {}: {e}", path.display()))
            }
            SecretPlace::Value(value) if value.is_empty() => {
                Err(format!("the secret `{id}` stands in werf.yaml, and is not written into saved plans"))
            }
            SecretPlace::Value(value) => Ok(value.clone().into_bytes()),
        }
    }

    /// Returns the socket of the ssh agent, if one is there.
    pub fn agent(&self) -> Option<PathBuf> {
        Some(PathBuf::from(self.environment.get("SSH_AUTH_SOCK")?)).filter(|path| path.exists())
    }
}

/// Texts that must not be printed.
#[derive(Clone, Debug, Default)]
pub struct Hidden(Vec<String>);

impl Hidden {
    /// Hides each line of a secret.
    pub fn add(&mut self, secret: &[u8]) {
        let text = String::from_utf8_lossy(secret);
        self.0.extend(text.lines().filter(|l| l.len() >= SHORTEST_MASKED).map(str::to_owned));
        // The longest first: a secret may hold another one.
        self.0.sort_by_key(|h| std::cmp::Reverse(h.len()));
    }

    /// Returns a line without them.
    pub fn mask(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, secret| line.replace(secret, "***"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_the_longest_first() {
        let mut hidden = Hidden::default();
        hidden.add(b"pass\nab");
        hidden.add(b"password");
        assert_eq!(hidden.mask("password pass ab"), "*** *** ab");
    }

    #[test]
    fn a_secret_that_is_not_there_says_where_it_was_looked_for() {
        let host =
            HostAccess { environment: BTreeMap::from([("A".into(), "1".into())]), project: "/nonexistent".into() };
        assert_eq!(host.secret("a", &SecretPlace::Variable("A".into())).unwrap(), b"1");
        let missing = host.secret("b", &SecretPlace::Variable("B".into())).unwrap_err();
        assert_eq!(missing, "the secret `b`: the variable `B` is not set");
        let file = host.secret("c", &SecretPlace::File("c.txt".into())).unwrap_err();
        assert!(file.contains("/nonexistent/c.txt"), "{file}");
        assert!(host.secret("d", &SecretPlace::Value(String::new())).unwrap_err().contains("saved plans"));
    }
}
