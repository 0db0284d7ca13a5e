//! The client that requests are sent with.
//!
//! The one idea: one connection for all requests, as HTTP/2 has it. A handshake costs as much as several answers, and many
//! of them where the server is far away.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{ClientBuilder, ConfigExt as _};
use kube::config::Config;
use kube::{Client, Error};
use tower::{BoxError, ServiceExt as _};

/// A connection that is silent for so long is asked whether it is still there. Source: client-go.
const SILENT: Duration = Duration::from_secs(30);
/// So long it may take to answer. Source: client-go.
const ALIVE: Duration = Duration::from_secs(15);
/// How much the server may send ahead on one connection and on one stream of it: logs that nobody reads yet must not hold
/// back the answers beside them. Unit: bytes.
const WINDOWS: (u32, u32) = (16 << 20, 1 << 20);

/// Makes a client. Nothing is sent, but the command that logs in runs.
pub fn client(config: Config) -> Result<Client, Error> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = TimeoutConnector::new(connector(&config)?);
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
    Ok(match config.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).with_layer(&base).build(),
        None => builder.with_layer(&base).build(),
    })
}

fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        // The configuration's own connector says what is wrong with the name.
        let Ok(name) = name.clone().try_into() else { return config.rustls_https_connector() };
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_all_versions().wrap_connector(http))
}
