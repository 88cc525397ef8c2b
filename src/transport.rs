//! What all AWS clients share: region and credentials, retries and timeouts, the HTTP client with its TLS
//! roots and connections, and whether a request was sent.
//!
//! The HTTP client decides how long a cold start takes, so it is tuned by the benchmarks in `benches/`:
//!
//! - The public root certificates are compiled in, already parsed. Reading the system's bundle took longer
//!   than the rest of the start. `AWS_CA_BUNDLE` and `SSL_CERT_FILE` replace them, where set.
//! - One connector, built once, serves every client and every operation. The SDK builds its own
//!   anew for each set of timeouts, and a connection opened during init would belong to another
//!   connector than the first request's.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::{
    BehaviorVersion, IdentityCache, Region, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector as Tcp, capture_connection};
use hyper_util::client::legacy::{Client as Hyper, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// What every AWS client needs.
#[derive(Clone, Debug)]
pub struct AwsConfig {
    pub(crate) region: Region,
    pub(crate) credentials: SharedCredentialsProvider,
    pub(crate) roots: Arc<RootCertStore>,
}

/// Retries after a short pause, for answers that somebody waits for.
pub(crate) fn soon() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(200))
}

/// What a client of an AWS service is made from: its endpoint, if that is not AWS's own, its retries, and
/// how long an attempt and an operation may take.
pub(crate) fn sdk_config(
    config: &AwsConfig,
    http: SharedHttpClient,
    endpoint: Option<&String>,
    retries: RetryConfig,
    (attempt, operation): (Duration, Duration),
) -> SdkConfig {
    let timeouts = TimeoutConfig::builder();
    let timeouts = timeouts.operation_attempt_timeout(attempt).operation_timeout(operation);
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(config.region.clone())
        .credentials_provider(config.credentials.clone())
        // They come from memory and never expire, so a cache only costs.
        .identity_cache(IdentityCache::no_cache())
        .http_client(http)
        // Answers are small and arrive whole; the timeouts are enough.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(retries)
        .timeout_config(timeouts.build());
    builder.set_endpoint_url(endpoint.cloned());
    builder.build()
}

/// The HTTP client for all AWS clients of the process: HTTP/1.1, connections kept open.
///
/// # Panics
/// Never: ring has suites for both versions of TLS.
#[must_use]
pub fn http_client(config: &AwsConfig) -> SharedHttpClient {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("ring has suites for TLS 1.2 and 1.3")
    .with_root_certificates(Arc::clone(&config.roots))
    .with_no_client_auth();
    let mut tcp = Tcp::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let connector = SharedHttpConnector::new(Connector(
        Hyper::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(https),
    ));
    http_client_fn(move |_, _| connector.clone())
}

/// Shorter than the second that an attempt has, so that a host that does not answer counts as not
/// reached.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Shorter than AWS's endpoints keep idle connections. A request that meets a connection just as
/// the other side closes it has an unknown outcome; a new connection avoids that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// hyper, as the connector of the SDK.
#[derive(Debug)]
struct Connector(Hyper<HttpsConnector<Tcp>, SdkBody>);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        // The SDK closes a connection that brought a 5xx, so that the retry reaches another host.
        let captured = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || {
                let captured = captured.clone();
                let poison = move || {
                    if let Some(connection) = captured.connection_metadata().as_ref() {
                        connection.poison();
                    }
                };
                Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
            });
        }
        let response = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let response = response.await.map_err(connector_error)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The SDK retries I/O errors. It does not retry an answer that is not HTTP.
fn connector_error(error: HyperError) -> ConnectorError {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    if cause.is_some_and(|cause: &hyper::Error| cause.is_parse() || cause.is_user()) {
        ConnectorError::other(error.into(), None)
    } else {
        ConnectorError::io(error.into())
    }
}

/// Whether no connection was made, so that nothing can have been sent.
#[must_use]
pub fn never_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.downcast_ref::<HyperError>().is_some_and(HyperError::is_connect))
}

/// The root certificates in a PEM file.
pub(crate) fn read_bundle(path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?.collect();
    // Certificates that the verifier cannot use are skipped; the others still count.
    match roots.add_parsable_certificates(certificates.map_err(|error| error.to_string())?) {
        (0, _) => Err("the file holds no root certificate".into()),
        _ => Ok(roots),
    }
}

/// Mozilla's root certificates.
pub(crate) fn public_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}
