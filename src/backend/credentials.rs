//! What `docker login` has written: users and passwords of registries.
//!
//! What lives here: finding the login for a registry. What does not: sending it. Nothing of it is ever told.

#![expect(clippy::disallowed_methods, reason = "files of credentials are read here")]
#![cfg_attr(not(feature = "registry"), expect(dead_code, reason = "nobody logs in without the network"))]

#[cfg(feature = "registry")]
use std::fs::File;
use std::path::PathBuf;

/// Where logins are found; both are written like Docker's `config.json`.
#[derive(Clone)]
pub enum CredentialSource {
    /// A file, which need not exist.
    File(PathBuf),
    /// The text itself, and the name of the variable it is from.
    Text {
        /// The variable.
        variable: &'static str,
        /// The JSON.
        text: String,
    },
}

impl std::fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text { variable, .. } => f.write_str(variable),
        }
    }
}

impl std::fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CredentialSource({self})")
    }
}

/// What a registry is told of us.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Nothing.
    Anonymous,
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that is exchanged for others.
    IdentityToken(String),
}

/// Returns the login for a registry (`docker.io` for that of Docker) from the first source that has one.
///
/// Errors: what is wrong with the credentials, without any of them.
#[cfg(feature = "registry")]
pub fn find(host: &str, sources: &[CredentialSource]) -> Result<Login, String> {
    use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
    let is_docker = matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let host = if is_docker { "https://index.docker.io/v1/" } else { host };
    for source in sources {
        // What a helper program printed may be a secret, so it is not told.
        let refused = |why: &str| format!("{source} has credentials for {host}, but {why}");
        let found = match source {
            CredentialSource::File(path) => match File::open(path) {
                Ok(file) => get_credential_from_reader(file, host),
                Err(_) => continue,
            },
            CredentialSource::Text { text, .. } => get_credential_from_reader(text.as_bytes(), host),
        };
        match found {
            Ok(DockerCredential::UsernamePassword(user, password)) => return Ok(Login::Basic { user, password }),
            Ok(DockerCredential::IdentityToken(token)) => return Ok(Login::IdentityToken(token)),
            // A store that does not know the host says so as a failure: then it is asked without credentials.
            Err(
                CredentialRetrievalError::NoCredentialConfigured
                | CredentialRetrievalError::ConfigNotFound
                | CredentialRetrievalError::ConfigReadError
                | CredentialRetrievalError::HelperFailure { .. }
                | CredentialRetrievalError::HelperCommunicationError,
            ) => {}
            Err(CredentialRetrievalError::MalformedHelperResponse) => {
                return Err(refused("the helper's answer is malformed"));
            }
            Err(
                CredentialRetrievalError::CredentialDecodingError | CredentialRetrievalError::CredentialMismatchError,
            ) => return Err(refused("they cannot be read")),
        }
    }
    Ok(Login::Anonymous)
}

#[cfg(all(test, feature = "registry"))]
mod tests {
    use super::*;

    #[test]
    fn the_first_source_that_knows_a_registry_counts_and_none_is_shown() {
        let text = |text: &str| CredentialSource::Text { variable: "DOCKER_AUTH_CONFIG", text: text.to_owned() };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, r#"{"auths": {"https://index.docker.io/v1/": {"identitytoken": "t0ken"}}}"#).unwrap();
        let sources = [
            CredentialSource::File(dir.path().join("absent")),
            text(r#"{"auths": {"r.example:5000": {"auth": "bWU6czNjcmV0"}, "b.example": {"auth": "%%"}}}"#),
            CredentialSource::File(file),
        ];
        let basic = Login::Basic { user: "me".to_owned(), password: "s3cret".to_owned() };
        assert!(find("r.example:5000", &sources) == Ok(basic));
        assert!(find("docker.io", &sources) == Ok(Login::IdentityToken("t0ken".to_owned())));
        assert!(find("other.example", &sources) == Ok(Login::Anonymous));
        let fault = find("b.example", &sources).err().unwrap();
        assert_eq!(fault, "DOCKER_AUTH_CONFIG has credentials for b.example, but they cannot be read");
        assert!(!format!("{sources:?}").contains("auth\""));
    }
}
