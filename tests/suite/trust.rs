//! Which TLS servers the DynamoDB client trusts. Each test makes its own certificates.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rebuild_workspaces::config::Config;
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::transport::{self, never_sent};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::system::{listen, tables};

#[tokio::test]
async fn a_private_authority_is_refused_unless_a_bundle_contains_it() {
    let authority = Authority::new();
    let bundle = authority.bundle("private.pem");
    let url = authority.serve(|_| ()).await;
    assert_refused(&url, &[], "UnknownIssuer").await;
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        assert_eq!(connect(&url, &[(variable, &bundle)]).await, Ok(()), "{variable}");
    }
    let other = Authority::new().bundle("other.pem");
    assert_refused(&url, &[("AWS_CA_BUNDLE", &other), ("SSL_CERT_FILE", &bundle)], "BadSignature")
        .await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let bundle = authority.bundle("expired.pem");
    let url = authority.serve(|leaf| leaf.not_after = date_time_ymd(2020, 1, 1)).await;
    assert_refused(&url, &[("AWS_CA_BUNDLE", &bundle)], "Expired").await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let bundle = authority.bundle("host.pem");
    let another = CertificateParams::new(["dynamodb.example".into()]).expect("a host name");
    let url = authority.serve(|leaf| leaf.subject_alt_names = another.subject_alt_names).await;
    assert_refused(&url, &[("AWS_CA_BUNDLE", &bundle)], "NotValidForName").await;
}

#[test]
fn an_unusable_bundle_prevents_the_start() {
    let file = |name: &str, text: &str| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let garbled = "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n";
    for path in ["/nowhere".into(), file("empty.pem", ""), file("garbled.pem", garbled)] {
        let error = config("https://127.0.0.1:1", &[("AWS_CA_BUNDLE", &path)]).expect_err(&path);
        let message = error.to_string();
        assert!(message.starts_with("the environment variable AWS_CA_BUNDLE cannot"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

/// A private certificate authority.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a private authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { params, key: KeyPair::generate().expect("a key") }
    }

    /// Writes its certificate to a file; returns the path.
    fn bundle(&self, name: &str) -> String {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let certificate = self.params.self_signed(&self.key).expect("a certificate");
        std::fs::write(&path, certificate.pem()).expect("a file");
        path.into_os_string().into_string().expect("UTF-8")
    }

    /// Serves an endpoint with a certificate for 127.0.0.1 after `change`; returns the URL.
    async fn serve(&self, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut leaf = CertificateParams::new(["127.0.0.1".into()]).expect("an address");
        change(&mut leaf);
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = leaf.signed_by(&key, &issuer).expect("a certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a key that fits");
        let (tcp, url) = listen().await;
        let listener = Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let answer = || async { ([(CONTENT_TYPE, "application/x-amz-json-1.0")], "{}") };
        tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
        url.replace("http:", "https:")
    }
}

/// TLS over TCP. A failed handshake does not stop the listener.
struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.expect("a connection");
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn config(
    url: &str,
    variables: &[(&str, &str)],
) -> Result<Config, rebuild_workspaces::config::ConfigError> {
    Config::from_lookup(|name| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(url.into()),
        "AWS_CA_BUNDLE" | "SSL_CERT_FILE" => {
            let set = variables.iter().find(|(variable, _)| *variable == name);
            set.map(|(_, path)| (*path).to_owned())
        }
        "FLEET_MODE" | "MAX_REBUILDS_PER_DAY" => None,
        _ => Some("set".into()),
    })
}

/// Sends one request to the endpoint; the error says why it was never sent.
async fn connect(url: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let config = config(url, variables).expect("a configuration");
    let once = client_config(&config, transport::http_client(&config.aws));
    let once = once.retry_config(RetryConfig::disabled());
    let client = aws_sdk_dynamodb::Client::from_conf(once.clone().build());
    // A failed warm-up must not prevent the start.
    Store::new(once, tables()).warm_up().await;
    let Err(error) = client.list_tables().send().await else {
        return Ok(());
    };
    assert!(never_sent(&error), "{}", DisplayErrorContext(&error));
    Err(DisplayErrorContext(&error).to_string())
}

async fn assert_refused(url: &str, variables: &[(&str, &str)], reason: &str) {
    let refused = connect(url, variables).await.expect_err(reason);
    assert!(refused.contains(reason), "{reason}: {refused}");
}
