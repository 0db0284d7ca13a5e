//! The client that requests are sent with.
//!
//! The one idea: one connection for all requests, as HTTP/2 has it, through a proxy too. A handshake costs as much as
//! several answers, and many of them where the server is far away.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use http::{HeaderValue, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{ClientBuilder, ConfigExt as _};
use kube::config::{AuthInfo, Config};
use tower::filter::AsyncFilterLayer;
use tower::{BoxError, Service, ServiceExt as _};

use super::connect::ConnectError;
use super::login::{Login, log_in};
use crate::ports::shown_url;

/// A connection that is silent for so long is asked whether it is still there. Source: client-go.
const SILENT: Duration = Duration::from_secs(30);
/// So long it may take to answer. Source: client-go.
const ALIVE: Duration = Duration::from_secs(15);
/// How much the server may send ahead on one connection and on one stream of it: logs that nobody reads yet must not hold
/// back the answers beside them. Unit: bytes.
const WINDOWS: (u32, u32) = (16 << 20, 1 << 20);

/// Makes a client, and says as whom it speaks, where that can change. Nothing is sent, but the command that logs in runs.
///
/// # Errors
/// Who we are cannot be found out, a certificate or a key cannot be used, or the proxy is none that we can speak to.
pub fn client(mut config: Config, server: &str) -> Result<(Client, Option<Login>), ConnectError> {
    let failed = |source| ConnectError::Client { server: server.to_owned(), source };
    // The programs of old kubeconfigs are the client's own business.
    if config.auth_info.auth_provider.is_some() {
        return Ok((Client::try_from(config).map_err(failed)?, None));
    }
    let (login, identity) = log_in(&config.auth_info)?;
    config.auth_info = AuthInfo { exec: None, token: None, token_file: None, ..config.auth_info };
    if let Some(identity) = identity {
        config.auth_info.client_certificate_data = Some(BASE64.encode(identity.certificate));
        config.auth_info.client_key_data = Some(BASE64.encode(identity.key).into());
    }
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let Some(proxy) = config.proxy_url.clone() else {
        return Ok((over(http, &config, login.clone()).map_err(failed)?, login));
    };
    let user = credentials(&proxy);
    let made = match proxy.scheme_str().unwrap_or("http") {
        "http" => over(tunnel(proxy, user, http), &config, login.clone()),
        "https" => {
            let secure = config.rustls_https_connector_with_connector(http).map_err(failed)?;
            over(tunnel(proxy, user, secure), &config, login.clone())
        }
        "socks5" | "socks5h" => {
            let mut socks = SocksV5::new(proxy, http);
            if let Some((name, password)) = user {
                socks = socks.with_auth(name, password);
            }
            over(socks, &config, login.clone())
        }
        _ => return Err(ConnectError::ProxyProtocol(shown_url(&proxy.to_string()))),
    };
    Ok((made.map_err(failed)?, login))
}

/// Makes a client over connections of a kind.
fn over<C>(connector: C, config: &Config, login: Option<Login>) -> Result<Client, kube::Error>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper_util::client::legacy::connect::Connection + hyper::rt::Read + hyper::rt::Write,
    C::Response: Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
    TimeoutConnector<HttpsConnector<C>>: Connect + Clone,
{
    let mut connector = TimeoutConnector::new(secured(connector, config)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let service = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(SILENT)
        .http2_keep_alive_timeout(ALIVE)
        .http2_initial_connection_window_size(WINDOWS.0)
        .http2_initial_stream_window_size(WINDOWS.1)
        .build(connector);
    let builder = ClientBuilder::new(service.map_err(BoxError::from), config.default_namespace.clone())
        .with_layer(&config.extra_headers_layer()?);
    let base = config.base_uri_layer();
    Ok(match login {
        Some(login) => {
            let sign = move |request| login.clone().sign(request);
            builder.with_layer(&AsyncFilterLayer::new(sign)).with_layer(&base).build()
        }
        None => builder.with_layer(&base).build(),
    })
}

fn secured<C>(connector: C, config: &Config) -> Result<HttpsConnector<C>, kube::Error> {
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        // The configuration's own connector says what is wrong with the name.
        let Ok(name) = name.clone().try_into() else {
            config.rustls_https_connector()?;
            return Ok(builder.enable_all_versions().wrap_connector(connector));
        };
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_all_versions().wrap_connector(connector))
}

fn tunnel<C>(proxy: Uri, user: Option<(String, String)>, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy, connector);
    let header = user.map(|(name, password)| format!("Basic {}", BASE64.encode(format!("{name}:{password}"))));
    match header.and_then(|header| HeaderValue::try_from(header).ok()) {
        Some(header) => tunnel.with_auth(header),
        None => tunnel,
    }
}

/// Returns the name and the password that an address has before its `@`.
fn credentials(address: &Uri) -> Option<(String, String)> {
    let (user, _) = address.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    Some((percent_decoded(name), percent_decoded(password)))
}

fn percent_decoded(text: &str) -> String {
    // Of the query of an address, a plus is a space.
    let query = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let pair = url::form_urlencoded::parse(query.as_bytes()).next();
    pair.map(|(name, _)| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_of_proxies_are_decoded() {
        let of = |address: &str| credentials(&address.parse().unwrap());
        assert_eq!(of("http://me:a%40b%3Ac+d=@proxy:3128"), Some(("me".into(), "a@b:c+d=".into())));
        assert_eq!(of("http://me@proxy:3128"), Some(("me".into(), String::new())));
        assert_eq!(of("http://proxy:3128"), None);
    }
}
