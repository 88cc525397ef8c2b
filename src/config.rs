//! Environment → [`Config`], and what is made from it: the AWS clients and the log.
//!
//! All of this runs before the first request, so it is written for a short start, by measurement
//! (`benches/`):
//!
//! - Credentials and region come straight from the environment, where Lambda puts them; the SDK's
//!   provider chain is left out.
//! - The public root certificates are compiled in, parsed: reading the system's bundle took longer
//!   than all the rest of the start. `AWS_CA_BUNDLE` and `SSL_CERT_FILE` replace them, where set.
//! - One connector, built once, serves every client and every operation. The SDK's own is built
//!   anew for each set of timeouts, so a connection opened ahead would belong to another one.
//! - The connection to DynamoDB is opened during init ([`warm_up`]).

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, IdentityCache, Region, SharedCredentialsProvider,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector as Tcp, capture_connection};
use hyper_util::client::legacy::{Client as Hyper, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lambda_http::http::Uri;
use lambda_runtime::tracing::level_filters::LevelFilter;
use lambda_runtime::tracing::subscriber::layer::SubscriberExt as _;
use lambda_runtime::tracing::subscriber::util::SubscriberInitExt as _;
use lambda_runtime::tracing::subscriber::{fmt, registry};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use strum::{EnumString, VariantNames};

/// What both functions read from their environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the table with one item per WorkSpace.
    pub workspaces_table: String,
    /// Name of the table with one item per ended rebuild.
    pub rebuilds_table: String,
    region: Region,
    credentials: SharedCredentialsProvider,
    endpoint: Option<String>,
    roots: Arc<RootCertStore>,
}

/// What only the reconciler reads: which fleet rebuilds are handed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetConfig {
    /// Which implementation of the fleet.
    pub mode: FleetMode,
    /// How long a rebuild takes in the simulated fleet.
    pub rebuild_time: Duration,
    /// Another endpoint than AWS's for the WorkSpaces API.
    pub endpoint: Option<String>,
}

/// The two fleets. A fresh deployment is simulated: nothing real is wiped until the deployer says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, VariantNames)]
pub enum FleetMode {
    /// No WorkSpaces behind it: a function of the item and the clock.
    #[default]
    Simulated,
    /// The Amazon WorkSpaces API.
    AmazonWorkSpaces,
}

/// A variable that is missing or unusable. One line; the value is not in it, it may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A required variable is not there, or empty.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable is there, and cannot be used.
    #[error("the environment variable {name} cannot be used: {reason}")]
    Unusable {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
}

/// Looks variables up; an empty one counts as not set, as a template's empty parameter means.
struct Environment<L>(L);

impl<L: Fn(&str) -> Option<String>> Environment<L> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing(name))
    }

    /// The first of `names` that is set, made into a `T`.
    fn first<T>(
        &self,
        names: &[&'static str],
        parse: impl Fn(String) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let set = names.iter().find_map(|name| Some((*name, self.optional(name)?)));
        set.map(|(name, value)| {
            parse(value).map_err(|reason| ConfigError::Unusable { name, reason })
        })
        .transpose()
    }
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable that is missing or unusable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// Names the variable that is missing or unusable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(lookup);
        let credentials = Credentials::new(
            env.required("AWS_ACCESS_KEY_ID")?,
            env.required("AWS_SECRET_ACCESS_KEY")?,
            env.optional("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        Ok(Self {
            workspaces_table: env.required("WORKSPACES_TABLE")?,
            rebuilds_table: env.required("REBUILDS_TABLE")?,
            region: Region::new(env.required("AWS_REGION")?),
            credentials: SharedCredentialsProvider::new(credentials),
            endpoint: env.first(&["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"], http_url)?,
            roots: env
                .first(&["AWS_CA_BUNDLE", "SSL_CERT_FILE"], |path| read_bundle(&path))?
                .unwrap_or_else(public_roots)
                .into(),
        })
    }

    /// The HTTP client for all AWS clients of the process: HTTP/1.1, connections kept open.
    ///
    /// # Panics
    /// Never: ring has suites for both versions of TLS.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .with_root_certificates(Arc::clone(&self.roots))
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

    /// The DynamoDB client, over a client of its own.
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::from_conf(self.dynamodb_config(self.http_client()))
    }

    /// The DynamoDB client's configuration, over `http`.
    #[must_use]
    pub fn dynamodb_config(&self, http: SharedHttpClient) -> aws_sdk_dynamodb::Config {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            // They come from memory and never expire: a cache only costs.
            .identity_cache(IdentityCache::no_cache())
            .http_client(http)
            // Answers are small and come whole; the timeouts below see to the rest.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(3)
                    .with_initial_backoff(Duration::from_millis(50))
                    .with_max_backoff(Duration::from_millis(200)),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(Duration::from_secs(1))
                    .operation_timeout(Duration::from_secs(3))
                    .build(),
            );
        config.set_endpoint_url(self.endpoint.clone());
        config.build()
    }

    /// The WorkSpaces client, over `http`. Retries only what is safe to repeat: the caller of
    /// RebuildWorkspaces turns them off.
    #[cfg(feature = "amazon")]
    #[must_use]
    pub fn workspaces(
        &self,
        http: SharedHttpClient,
        fleet: &FleetConfig,
    ) -> aws_sdk_workspaces::Client {
        let mut config = aws_sdk_workspaces::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .http_client(http)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(Duration::from_secs(5))
                    .operation_timeout(Duration::from_secs(12))
                    .build(),
            );
        config.set_endpoint_url(fleet.endpoint.clone());
        aws_sdk_workspaces::Client::from_conf(config.build())
    }
}

impl FleetConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable that is unusable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// Names the variable that is unusable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(lookup);
        let mode = env.first(&["FLEET_MODE"], |mode| {
            mode.parse()
                .map_err(|_| format!("it has to be one of {}", FleetMode::VARIANTS.join(", ")))
        })?;
        let seconds = env.first(&["FLEET_REBUILD_SECONDS"], |seconds| {
            seconds.parse::<u32>().map_err(|error| error.to_string())
        })?;
        Ok(Self {
            mode: mode.unwrap_or_default(),
            rebuild_time: Duration::from_secs(seconds.unwrap_or(1200).into()),
            endpoint: env.first(&["FLEET_ENDPOINT_URL"], http_url)?,
        })
    }
}

fn http_url(value: String) -> Result<String, String> {
    let uri: Uri = value.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(value),
        _ => Err("it has to be an http:// or https:// URL".into()),
    }
}

fn read_bundle(path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?.collect();
    // A bundle may hold a certificate that the verifier has no use for; the others still count.
    match roots.add_parsable_certificates(certificates.map_err(|error| error.to_string())?) {
        (0, _) => Err("the file holds no root certificate".into()),
        _ => Ok(roots),
    }
}

fn public_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// Below an attempt's second, so that a host that does not answer is seen as not reached.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Below what AWS's endpoints allow an idle connection, so that a request after a pause meets a
/// new connection rather than one that closes under it, which would leave its outcome unknown.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The SDK's seam to HTTP, on hyper.
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
        // Lets the SDK close the connection that brought a 5xx: the retry meets another host.
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

/// An HTTP client that sends nothing, for `http::rehearse`.
#[must_use]
pub fn offline() -> SharedHttpClient {
    http_client_fn(|_, _| SharedHttpConnector::new(Offline))
}

#[derive(Debug)]
struct Offline;

impl HttpConnector for Offline {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::user("offline".into())))
    }
}

/// An input/output error is retried; an answer that is not HTTP is not.
fn connector_error(error: HyperError) -> ConnectorError {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    if cause.is_some_and(|cause: &hyper::Error| cause.is_parse() || cause.is_user()) {
        ConnectorError::other(error.into(), None)
    } else {
        ConnectorError::io(error.into())
    }
}

/// Whether the connection was never made, so that nothing can have been sent.
#[must_use]
pub fn never_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.downcast_ref::<HyperError>().is_some_and(HyperError::is_connect))
}

/// Opens the connection to DynamoDB, TLS included, before the first request needs it: during init
/// Lambda gives a full core, afterwards a share of one. Any answer will do, also "denied"; without
/// one the first request opens the connection itself.
pub async fn warm_up(client: &aws_sdk_dynamodb::Client, table: &str) {
    let once = aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled());
    let request = client
        .get_item()
        .table_name(table)
        .key("WorkspaceId", AttributeValue::S("-".into()))
        .customize()
        .config_override(once)
        .send();
    let _ = tokio::time::timeout(Duration::from_millis(500), request).await;
}

/// Starts the log: one flat JSON object a line, which the metric filters read.
///
/// The level is `AWS_LAMBDA_LOG_LEVEL`, else `RUST_LOG`, else info. A release has nothing finer
/// than info in it: the libraries' finer lines hold signed requests, session token included.
pub fn init_logging() {
    let env = Environment(|name: &str| std::env::var(name).ok());
    let level = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"]
        .into_iter()
        .find_map(|name| env.optional(name)?.parse().ok())
        .unwrap_or(LevelFilter::INFO);
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_current_span(false)
        .with_span_list(false)
        .with_ansi(false);
    registry().with(level).with(lines).init();
}
