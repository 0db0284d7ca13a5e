//! How a registry wants to be told who we are: nothing, user and password, or tokens of a token server.
//!
//! Source: Docker registry token authentication; RFC 6750, RFC 7617.

#![expect(clippy::disallowed_methods, reason = "tokens end after a time")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::error::{Kind, RegistryError};
use super::session::read_text;
use crate::backend::credentials::Login;

/// How long a token counts that does not say so. Source: Docker.
const SHORTEST: Duration = Duration::from_mins(1);
/// The largest answer of a token server that is read. Unit: bytes.
const MAX_ANSWER: usize = 1 << 20;

/// What a registry answered to a request without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Anybody may come in.
    Open,
    /// User and password with every request.
    Basic,
    /// A token of this server with every request.
    Bearer {
        /// The token server.
        realm: Url,
        /// What it calls the registry.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads the `WWW-Authenticate` headers of an answer 401.
    pub fn read<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found = None;
        for header in headers {
            let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                let parameters = parameters(rest);
                let realm = Url::parse(parameters.get("realm")?).ok()?;
                return Some(Self::Bearer { realm, service: parameters.get("service").cloned() });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

/// Reads `key="value",key=value`.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.insert(key.trim_matches([' ', ',']).to_ascii_lowercase(), value.trim().to_owned());
        rest = next;
    }
    found
}

/// A token and its end.
#[derive(Clone)]
struct Token {
    text: String,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// The tokens of one registry, by what they are for.
#[derive(Default)]
pub struct Tokens {
    held: Mutex<BTreeMap<String, Token>>,
}

impl Tokens {
    /// Returns a token for a scope; asks the token server when there is none, or only the one that was refused.
    pub async fn get(
        &self,
        server: &TokenServer<'_>,
        scope: &[String],
        refused: Option<&str>,
    ) -> Result<String, RegistryError> {
        let key = scope.join(" ");
        // Held while the server is asked: others wait for the same token.
        let mut held = self.held.lock().await;
        if let Some(token) = held.get(&key)
            && Some(token.text.as_str()) != refused
            && token.until > Instant::now()
        {
            return Ok(token.text.clone());
        }
        let token = server.ask(scope).await?;
        held.insert(key, token.clone());
        Ok(token.text)
    }
}

/// Notes a request: method, address, status, beginning.
pub type Note<'a> = dyn Fn(&str, &Url, Option<u16>, Instant) + Send + Sync + 'a;

/// A token server, and what it is told of us.
pub struct TokenServer<'a> {
    /// The client.
    pub client: &'a reqwest::Client,
    /// The registry that sent us.
    pub host: &'a str,
    /// Its address.
    pub realm: &'a Url,
    /// What it calls the registry.
    pub service: Option<&'a str>,
    /// Who we are.
    pub login: &'a Login,
    /// Notes a request.
    pub tell: &'a Note<'a>,
}

impl TokenServer<'_> {
    async fn ask(&self, scope: &[String]) -> Result<Token, RegistryError> {
        let start = Instant::now();
        let method = if matches!(self.login, Login::IdentityToken(_)) { "POST" } else { "GET" };
        let sent = self.request(scope).send().await;
        (self.tell)(method, self.realm, sent.as_ref().ok().map(|r| r.status().as_u16()), start);
        let place = self.realm.host_str().unwrap_or(self.host);
        let response = sent.map_err(|e| RegistryError::of_transport(place, e))?;
        let status = response.status();
        let after = super::session::wait_asked_for(&response);
        let body = read_text(response, MAX_ANSWER).await.map_err(|e| RegistryError::of_transport(place, e))?;
        if !status.is_success() {
            let told = RegistryError::of_status(self.host, status, after, &body);
            return Err(told);
        }
        let malformed = || RegistryError::new(Kind::Lasting, format!("the token server {place} gave no token"));
        let answer: Answer = serde_json::from_str(&body).map_err(|_| malformed())?;
        let text = answer.token.or(answer.access_token).filter(|t| !t.is_empty()).ok_or_else(malformed)?;
        let life = answer.expires_in.map_or(SHORTEST, Duration::from_secs);
        // A request may take a while to arrive.
        Ok(Token { text, until: start + life.mul_f32(0.9) })
    }

    fn request(&self, scope: &[String]) -> RequestBuilder {
        if let Login::IdentityToken(token) = self.login {
            let scope = scope.join(" ");
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", "stagewright");
            form.append_pair("refresh_token", token).append_pair("scope", &scope);
            if let Some(service) = self.service {
                form.append_pair("service", service);
            }
            let kind = "application/x-www-form-urlencoded";
            return self.client.post(self.realm.clone()).header("Content-Type", kind).body(form.finish());
        }
        let mut url = self.realm.clone();
        for (key, value) in
            self.service.iter().map(|s| ("service", *s)).chain(scope.iter().map(|s| ("scope", s.as_str())))
        {
            url.query_pairs_mut().append_pair(key, value);
        }
        match self.login {
            Login::Basic { user, password } => self.client.get(url).basic_auth(user, Some(password)),
            Login::Anonymous | Login::IdentityToken(_) => self.client.get(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_the_token_server() {
        let header = r#"Bearer realm="https://auth.example/token?a=b",service="registry.example",scope="x,y""#;
        let Some(Challenge::Bearer { realm, service }) = Challenge::read(["Basic realm=x", header].into_iter()) else {
            panic!("no token server was found")
        };
        assert_eq!((realm.as_str(), service.as_deref()), ("https://auth.example/token?a=b", Some("registry.example")));
        assert_eq!(Challenge::read(["basic"].into_iter()), Some(Challenge::Basic));
        assert_eq!(Challenge::read(["Negotiate"].into_iter()), None);
        assert_eq!(Challenge::read(["Bearer service=x"].into_iter()), None);
    }
}
