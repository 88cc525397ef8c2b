//! The stub of AWS's services, and the little HTTP that the benchmark speaks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::PrivateKeyDer;

use crate::Result;

/// Answers every request at once with the same body, over HTTP or TLS, and counts new connections.
pub struct Endpoint {
    pub url: String,
    pub connections: Arc<AtomicUsize>,
    /// Whether it closes each connection after one answer.
    pub closes: Arc<AtomicBool>,
}

impl Endpoint {
    /// Starts the threads that answer before the first connection. They end with the process.
    pub fn start(tls: Option<Arc<rustls::ServerConfig>>, body: &'static str) -> Result<Self> {
        // A name, so that the clients have to resolve it. It stands for the same address for both sides.
        let listener = TcpListener::bind("localhost:0")?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", listener.local_addr()?.port());
        let (connections, closes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        for _ in 0..4 {
            let (listener, tls) = (listener.try_clone()?, tls.clone());
            let (connections, closes) = (Arc::clone(&connections), Arc::clone(&closes));
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    connections.fetch_add(1, Ordering::SeqCst);
                    // A killed client breaks its connection, which is not an error.
                    let _ = stream.set_nodelay(true);
                    let _ = match tls.clone().map(rustls::ServerConnection::new) {
                        Some(Ok(session)) => {
                            converse(rustls::StreamOwned::new(session, stream), body, &closes)
                        }
                        _ => converse(stream, body, &closes),
                    };
                }
            });
        }
        Ok(Self { url, connections, closes })
    }
}

fn converse(stream: impl Read + Write, body: &str, closes: &AtomicBool) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        read_request(&mut stream, "/")?;
        answer(stream.get_mut(), "200 OK", body)?;
        if closes.load(Ordering::SeqCst) {
            return Ok(());
        }
    }
}

/// Reads one request, whose path must end in `path`; returns its body.
pub fn read_request(stream: &mut impl BufRead, path: &str) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let request = line.trim_end().to_owned();
    let mut length = 0;
    while !line.trim_end().is_empty() {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some((name, value)) = line.trim_end().split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8(body)?;
    if request.split(' ').nth(1).is_some_and(|asked| asked.ends_with(path)) {
        Ok(body)
    } else {
        Err(format!("expected {path}, got {request:?} {body}").into())
    }
}

/// Answers with the headers that the clients of both APIs need.
pub fn answer(stream: &mut impl Write, status: &str, body: &str) -> Result<()> {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\n\
         lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
         lambda-runtime-deadline-ms: 99999999999999\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-central-1:123456789012:function:bench\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes())?;
    Ok(stream.flush()?)
}

/// A certificate for the stub's name, and the private authority that signed it.
pub fn certificate() -> Result<(Arc<rustls::ServerConfig>, String)> {
    let authority_key = rcgen::KeyPair::generate()?;
    let mut authority = rcgen::CertificateParams::new(vec![])?;
    authority.distinguished_name.push(rcgen::DnType::CommonName, "bench authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key)?.pem();
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?
        .signed_by(&key, &rcgen::Issuer::from_params(&authority, &authority_key))?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_no_client_auth()
    .with_single_cert(
        vec![certificate.der().clone()],
        PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    )?;
    Ok((Arc::new(config), ca))
}
