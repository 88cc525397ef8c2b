//! Requests as text, so that inputs are readable:
//!
//! ```text
//! POST /workspaces/ws-available0001/rebuilds?limit=5
//! content-type: application/json
//!
//! {"Reason":"ticket 4711"}
//! ```
//!
//! Values of the query are not encoded: API Gateway decodes them before the function sees them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method};
use rebuild_workspaces::http::Event;
use serde_json::json;

/// The request id of every event.
pub const REQUEST_ID: &str = "d687ccba-4d3f-56a5-b553-95940a9ff319";

#[derive(Debug)]
pub struct Request<'a> {
    pub method: Method,
    pub path: &'a str,
    pub query: Vec<(&'a str, &'a str)>,
    pub headers: HeaderMap,
    pub body: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub enum Face {
    Envelope,
    AwsJson,
    AwsCbor,
}

impl<'a> Request<'a> {
    /// The request, if API Gateway would accept it.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
        let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.split('\n');
        let (method, target) = lines.next()?.split_once(' ')?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_path || path.contains('#') {
            return None;
        }
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
        }
        let query = query.split('&').filter(|pair| !pair.is_empty());
        Some(Self {
            method: Method::from_bytes(method.as_bytes()).ok()?,
            path,
            query: query.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect(),
            headers,
            body: &bytes[end + 2..],
        })
    }

    /// A request to an AWS face.
    ///
    /// # Panics
    /// A header is not valid.
    #[must_use]
    pub fn aws(path: &'a str, headers: &[(&'static str, &str)], body: &'a [u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"))
        });
        Self { method: Method::POST, path, query: vec![], headers: headers.collect(), body }
    }

    /// The last value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_all(name).iter().next_back().and_then(|value| value.to_str().ok())
    }

    #[must_use]
    pub fn face(&self) -> Face {
        let media_type = self.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let is = |name| media_type.eq_ignore_ascii_case(name);
        if self.headers.contains_key("smithy-protocol") || is("application/cbor") {
            Face::AwsCbor
        } else if self.headers.contains_key("x-amz-target") || is("application/x-amz-json-1.1") {
            Face::AwsJson
        } else {
            Face::Envelope
        }
    }

    /// The path below the root, without slashes at its ends.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.path.trim_matches('/')
    }

    /// The event that API Gateway makes of it.
    ///
    /// # Panics
    /// A header is not UTF-8.
    #[must_use]
    pub fn event(&self) -> Event {
        let mut headers = HashMap::<&str, Vec<&str>>::new();
        for (name, value) in &self.headers {
            let value = std::str::from_utf8(value.as_bytes()).expect("it was made of text");
            headers.entry(name.as_str()).or_default().push(value);
        }
        let mut query = HashMap::<&str, Vec<&str>>::new();
        for (name, value) in &self.query {
            query.entry(name).or_default().push(value);
        }
        let proxy = Some(self.resource()).filter(|path| !path.is_empty());
        let text = std::str::from_utf8(self.body);
        let body = text.map_or_else(|_| STANDARD.encode(self.body), ToOwned::to_owned);
        let event = json!({
            "httpMethod": self.method.as_str(),
            "multiValueHeaders": headers,
            "multiValueQueryStringParameters": query,
            "pathParameters": { "proxy": proxy },
            "requestContext": {
                "httpMethod": self.method.as_str(),
                "path": format!("/v1{}", self.path),
                "requestId": REQUEST_ID,
                "identity": {
                    "sourceIp": "198.51.100.7",
                    "userArn": "arn:aws:sts::123456789012:assumed-role/desk/ana.silva",
                },
            },
            "body": if self.body.is_empty() { None } else { Some(body) },
            "isBase64Encoded": text.is_err(),
        });
        serde_json::from_value(event).expect("an event")
    }
}
