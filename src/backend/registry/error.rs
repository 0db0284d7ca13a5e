//! What went wrong with a registry: told with the host, what was attempted, what came back and what helps.

use std::time::Duration;

use reqwest::StatusCode;

/// Why a registry could not be used. Its text holds no credentials and no query of an address.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct RegistryError {
    what: String,
    kind: Kind,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a registry may say of what is right when several write the same at once: it reads what is half written.
/// Seen with `distribution` 2.8 on a disk.
const RACES: [&str; 5] =
    ["DIGEST_INVALID", "SIZE_INVALID", "MANIFEST_BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"];

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It will not go away by itself.
    Lasting,
    /// There is nothing of that name.
    NotFound,
    /// It may go away; some servers say when.
    Passing(Option<Duration>),
    /// The server cannot be reached; it may come up.
    Unreachable,
    /// What came has another digest.
    Corrupted,
}

impl RegistryError {
    /// Makes an error out of words.
    pub fn new(kind: Kind, what: String) -> Self {
        Self { what, kind, source: None }
    }

    /// Returns what follows from it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Says whether the server answered at all.
    pub fn is_answer(&self) -> bool {
        self.source.is_none()
    }

    /// Tells how often it was tried. It is not tried again, by nobody.
    pub fn after(mut self, attempts: u32) -> Self {
        let unreachable = self.kind == Kind::Unreachable;
        if matches!(self.kind, Kind::Passing(_) | Kind::Unreachable) {
            self.kind = Kind::Lasting;
        }
        if attempts > 1 {
            self.what += &format!(" (tried {attempts} times)");
        }
        if unreachable {
            let cause = self.source.take().map(|cause| format!(": {cause}")).unwrap_or_default();
            self.what += &format!("{cause}; is the registry running, and is its address right?");
        }
        self
    }

    /// Says what an answer means that was not hoped for. `body` is the beginning of the answer.
    pub fn of_status(host: &str, status: StatusCode, after: Option<Duration>, body: &str) -> Self {
        let reason = reason(body).map(|reason| format!(": {reason}")).unwrap_or_default();
        let hint = match status {
            StatusCode::UNAUTHORIZED => format!("; log in with `docker login {host}`"),
            StatusCode::FORBIDDEN => "; the user may not do that".to_owned(),
            StatusCode::PAYLOAD_TOO_LARGE => {
                "; the server, or a proxy before it, limits the size of uploads".to_owned()
            }
            StatusCode::INSUFFICIENT_STORAGE => "; the disk of the registry is full".to_owned(),
            StatusCode::TOO_MANY_REQUESTS => "; its limit of requests is reached".to_owned(),
            _ => String::new(),
        };
        let kind = match status {
            StatusCode::NOT_FOUND => Kind::NotFound,
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Kind::Passing(after),
            _ if RACES.iter().any(|code| body.contains(code)) => Kind::Passing(None),
            _ => Kind::Lasting,
        };
        Self::new(kind, format!("{host} answered {status}{reason}{hint}"))
    }

    /// Says why nothing came, or not all of it.
    pub fn of_transport(host: &str, error: reqwest::Error) -> Self {
        let error = error.without_url();
        let words = chain(&error);
        let (kind, what) = if words.contains("certificate") || words.contains("Certificate") {
            let hint = "trust it on this machine, or give --skip-tls-verify-registry";
            (Kind::Lasting, format!("the certificate of {host} is not trusted; {hint}"))
        } else if words.contains("InvalidContentType") {
            (Kind::Lasting, format!("{host} does not speak TLS; give --insecure-registry where that is meant to be"))
        } else if error.is_connect() {
            (Kind::Unreachable, format!("{host} cannot be reached"))
        } else {
            (Kind::Passing(None), format!("the connection to {host} broke off"))
        };
        if kind == Kind::Unreachable {
            // What the layers between say is the same in other words.
            return Self { what, kind, source: Some(innermost(&error).into()) };
        }
        Self { what, kind, source: Some(Box::new(error)) }
    }
}

/// Returns the words of the first cause.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words += &format!(": {cause} {cause:?}");
        next = cause.source();
    }
    words
}

/// The first error that a registry names, cut to a line. Source: OCI distribution specification, error codes.
fn reason(body: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(body).ok()?;
    let first = answer.get("errors")?.get(0)?;
    let text = |key: &str| first.get(key).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    let words = text("message").or_else(|| text("code"))?;
    Some(words.chars().filter(|c| !c.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_reads_what_is_half_written_is_asked_again() {
        let body =
            r#"{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}"#;
        let kind = |body| RegistryError::of_status("r.example", StatusCode::BAD_REQUEST, None, body).kind();
        assert_eq!(kind(body), Kind::Passing(None));
        assert_eq!(kind(r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#), Kind::Lasting);
    }

    #[test]
    fn a_server_that_is_not_there_is_told_in_one_line() {
        let source = Some("Connection refused".into());
        let error = RegistryError { what: "r.example cannot be reached".into(), kind: Kind::Unreachable, source };
        let error = error.after(4);
        let told = "r.example cannot be reached (tried 4 times): Connection refused; is the registry running, and is its \
                    address right?";
        assert_eq!((error.to_string().as_str(), error.kind()), (told, Kind::Lasting));
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn an_answer_is_told_with_its_reason_and_what_helps() {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}"#;
        let error = RegistryError::of_status("r.example", StatusCode::UNAUTHORIZED, None, body);
        let told = "r.example answered 401 Unauthorized: authentication required; log in with `docker login r.example`";
        assert_eq!((error.to_string().as_str(), error.kind()), (told, Kind::Lasting));
        let wait = Some(Duration::from_secs(3));
        let error = RegistryError::of_status("r.example", StatusCode::TOO_MANY_REQUESTS, wait, "<html>");
        assert_eq!(error.kind(), Kind::Passing(wait));
        assert!(error.after(6).to_string().ends_with("(tried 6 times)"));
        let full = RegistryError::of_status("r.example", StatusCode::INSUFFICIENT_STORAGE, None, "");
        assert_eq!(full.kind(), Kind::Lasting);
    }
}
