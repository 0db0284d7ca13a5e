//! Other git repositories: what a branch or tag is there, and the files of a commit.

use std::collections::BTreeMap;
use std::fmt;

use crate::source::Files;

/// Another repository and how to log in to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRepository {
    /// An address that git understands, or a folder.
    pub url: String,
    /// User and password.
    pub login: Option<RemoteLogin>,
}

/// A user and a password. What is shown of it never holds the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteLogin {
    /// The user.
    pub username: String,
    /// The password.
    pub password: RemotePassword,
}

impl fmt::Debug for RemoteLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteLogin").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Where a password is.
#[derive(Clone, PartialEq, Eq)]
pub enum RemotePassword {
    /// Here.
    Text(String),
    /// In a file of this machine; `~/` is the home folder. A line break at its end does not count.
    File(String),
}

/// What is wanted of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemoteReference {
    /// Whatever its HEAD is.
    Head,
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// A commit: 40 hexadecimal digits.
    Commit(String),
}

impl fmt::Display for RemoteReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("its default branch"),
            Self::Branch(name) => write!(f, "branch `{name}`"),
            Self::Tag(name) => write!(f, "tag `{name}`"),
            Self::Commit(hash) => write!(f, "commit `{hash}`"),
        }
    }
}

/// Reads other repositories. Several threads may ask at once.
pub trait GitRemotes: Send + Sync + fmt::Debug {
    /// Returns the commit that a reference is now: 40 hexadecimal digits. A commit is itself.
    ///
    /// # Errors
    /// There is no such branch or tag, or the repository cannot be reached.
    fn resolve(&self, repository: &RemoteRepository, reference: &RemoteReference) -> Result<String, RemoteError>;

    /// Returns the files of a commit. `reference` is where it was found: a server that does not give out commits by
    /// themselves is asked for that.
    ///
    /// # Errors
    /// There is no such commit, or the repository cannot be reached.
    fn files(
        &self,
        repository: &RemoteRepository,
        reference: &RemoteReference,
        commit: &str,
    ) -> Result<Files, RemoteError>;
}

/// Why another repository could not be read. No address in it holds a password.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It has no such branch or tag.
    #[error("{url} has no {reference}")]
    NoReference {
        /// The repository, without secrets.
        url: String,
        /// What was looked for.
        reference: RemoteReference,
    },
    /// It has no such commit.
    #[error("{url} has no commit `{commit}`")]
    NoCommit {
        /// The repository, without secrets.
        url: String,
        /// What was looked for.
        commit: String,
    },
    /// It could not be read at all.
    #[error("{url} cannot be read: {cause}")]
    Unreachable {
        /// The repository, without secrets.
        url: String,
        /// What git said, without secrets.
        cause: String,
    },
    /// The address, a name or the login is not valid.
    #[error("{fault}")]
    Invalid {
        /// What is wrong.
        fault: String,
    },
}

/// Returns an address as it may be shown: without user and password.
pub fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, host)) if scheme == "ssh" && !user.contains(':') => {
            format!("ssh://{user}@{host}{}", after(rest, authority))
        }
        Some((_, host)) => format!("{scheme}://{host}{}", after(rest, authority)),
        None => url.to_owned(),
    }
}

fn after<'a>(rest: &'a str, authority: &str) -> &'a str {
    rest.strip_prefix(authority).unwrap_or("")
}

/// Repositories in memory; empty, there are none.
#[derive(Clone, Debug, Default)]
pub struct MemoryRemotes {
    repositories: BTreeMap<String, MemoryRemote>,
}

#[derive(Clone, Debug, Default)]
struct MemoryRemote {
    references: BTreeMap<RemoteReference, String>,
    commits: BTreeMap<String, Files>,
}

impl MemoryRemotes {
    /// Adds a commit, under a reference.
    pub fn add(&mut self, url: &str, reference: RemoteReference, commit: &str, files: Files) {
        let remote = self.repositories.entry(url.to_owned()).or_default();
        remote.references.insert(reference, commit.to_owned());
        remote.commits.insert(commit.to_owned(), files);
    }

    fn find(&self, repository: &RemoteRepository) -> Result<&MemoryRemote, RemoteError> {
        let url = shown_url(&repository.url);
        let missing = || RemoteError::Unreachable { url, cause: "there is no such repository".to_owned() };
        self.repositories.get(&repository.url).ok_or_else(missing)
    }
}

impl GitRemotes for MemoryRemotes {
    fn resolve(&self, repository: &RemoteRepository, reference: &RemoteReference) -> Result<String, RemoteError> {
        let remote = self.find(repository)?;
        if let RemoteReference::Commit(hash) = reference {
            return Ok(hash.clone());
        }
        let missing = || RemoteError::NoReference { url: shown_url(&repository.url), reference: reference.clone() };
        remote.references.get(reference).cloned().ok_or_else(missing)
    }

    fn files(&self, repository: &RemoteRepository, _: &RemoteReference, commit: &str) -> Result<Files, RemoteError> {
        let missing = || RemoteError::NoCommit { url: shown_url(&repository.url), commit: commit.to_owned() };
        self.find(repository)?.commits.get(commit).cloned().ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_address_and_a_login_has_no_password() {
        assert_eq!(shown_url("https://joe:secret@git.example/a@b.git"), "https://git.example/a@b.git");
        assert_eq!(shown_url("ssh://git@git.example/a.git"), "ssh://git@git.example/a.git");
        assert_eq!(shown_url("git@git.example:a.git"), "git@git.example:a.git");
        let login = RemoteLogin { username: "joe".into(), password: RemotePassword::Text("secret".into()) };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
