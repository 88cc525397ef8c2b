//! The event of a REST API: what this function reads of it. The rest is skipped, because decoding it
//! takes time, and because `lambda_http` panics on some of it.

use std::collections::HashMap;
use std::fmt::{self, Formatter};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequest;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_with::de::DeserializeAsWrap;
use serde_with::{DefaultOnNull, DisplayFromStr, OneOrMany, Same, serde_as};
use strum::{EnumString, IntoStaticStr};

/// A header that the service reads. The event keeps only these, so nothing can read another.
#[derive(Clone, Copy, Debug, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case", ascii_case_insensitive, const_into_str)]
pub(super) enum Header {
    AmzSdkInvocationId,
    AwsSdkInvocationId,
    ContentType,
    IdempotencyKey,
    SmithyProtocol,
    XAmzTarget,
    XAmznTarget,
}

impl Header {
    /// Its name, in lower case.
    pub(super) const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// The API id in events of the SAM CLI. Their `requestTimeEpoch` is not the time of the request: that of
/// `sam local start-api` is when it started, that of `sam local generate-event` is in 2015.
const SAM_API_ID: &str = "1234567890";

/// The longest query that is looked at, in bytes of the URL that `lambda_http` builds from it, which
/// can have 64 KiB. API Gateway allows 10 KiB, and decodes it.
const MAX_QUERY: usize = 60 * 1024;

/// An event of a REST API in API Gateway (payload format 1.0):
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Box<RawValue>")]
pub struct Event(Fields);

/// The Lambda runtime notes the path of each member that it decodes, for its message if one is wrong. That
/// doubles the work, so this type takes raw JSON and decodes it itself.
impl TryFrom<Box<RawValue>> for Event {
    type Error = serde_json::Error;

    fn try_from(json: Box<RawValue>) -> serde_json::Result<Self> {
        serde_json::from_str(json.get()).map(Self)
    }
}

#[serde_as]
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde_as(as = "DisplayFromStr")]
    http_method: Method,
    /// API Gateway gives the last value of each header.
    #[serde(default, deserialize_with = "headers")]
    headers: HeaderMap,
    #[serde(default, deserialize_with = "headers")]
    multi_value_headers: HeaderMap,
    #[serde(default)]
    #[serde_as(as = "DefaultOnNull<HashMap<_, OneOrMany<_>>>")]
    query_string_parameters: Query,
    #[serde(default)]
    #[serde_as(as = "DefaultOnNull<HashMap<_, OneOrMany<_>>>")]
    multi_value_query_string_parameters: Query,
    /// Starts with the base path of a custom domain, as `requestContext.path` does, but has no stage.
    path: Option<String>,
    /// The pattern of the route, such as `/{proxy+}`.
    resource: Option<String>,
    path_parameters: Option<PathParameters>,
    request_context: Context,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

type Query = HashMap<String, Vec<String>>;

/// The parameters of the routes.
#[derive(Debug, Deserialize)]
struct PathParameters {
    proxy: Option<String>,
    #[serde(rename = "DirectoryId")]
    directory_id: Option<String>,
    #[serde(rename = "WorkspaceId")]
    workspace_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    /// A load balancer's event has none. It is no event of an API, and its caller is not known.
    #[serde(rename = "httpMethod")]
    _http_method: IgnoredAny,
    api_id: Option<String>,
    #[serde(default)]
    identity: Identity,
    path: Option<String>,
    request_id: Option<String>,
    /// In milliseconds.
    request_time_epoch: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: Option<String>,
    user_arn: Option<String>,
}

impl From<Event> for ApiGatewayProxyRequest {
    fn from(Event(event): Event) -> Self {
        let mut request = Self::default();
        request.http_method = event.http_method;
        request.headers = event.headers;
        request.multi_value_headers = event.multi_value_headers;
        request.query_string_parameters = with_values(event.query_string_parameters).into();
        request.multi_value_query_string_parameters =
            with_values(event.multi_value_query_string_parameters).into();
        let route = event.resource.as_deref().unwrap_or_default();
        let path = event.path_parameters.map(|parameters| below_root(route, parameters));
        request.path_parameters = path.map(|path| ("proxy".to_owned(), path)).into_iter().collect();
        let Context { api_id, identity, path, request_id, request_time_epoch, .. } =
            event.request_context;
        request.request_context.identity.source_ip = identity.source_ip;
        request.request_context.identity.user_arn = identity.user_arn;
        // `sam local start-api` has the pattern of the route in place of the client's path.
        let is_client_path = |path: &String| Some(path) != event.resource.as_ref();
        request.request_context.path = path.filter(is_client_path).or(event.path);
        request.request_context.request_id = request_id;
        // 0, which is the default, stands for none.
        let time = request_time_epoch.filter(|_| api_id.as_deref() != Some(SAM_API_ID));
        request.request_context.request_time_epoch = time.unwrap_or_default();
        // A body that is not in base64, although the event says so, is text.
        let is_base64 = |body: &str| BASE64.decode(body).is_ok();
        request.is_base64_encoded =
            event.is_base64_encoded == Some(true) && event.body.as_deref().is_some_and(is_base64);
        request.body = event.body;
        request
    }
}

/// The path below the API's root, without slashes at its ends: the pattern of the route with the parameters
/// in it.
fn below_root(route: &str, parameters: PathParameters) -> String {
    let PathParameters { proxy, directory_id, workspace_id } = parameters;
    if let Some(all) = proxy {
        return all;
    }
    let segments = route.trim_matches('/').split('/').map(|segment| match segment {
        "{DirectoryId}" => directory_id.as_deref().unwrap_or(segment),
        "{WorkspaceId}" => workspace_id.as_deref().unwrap_or(segment),
        _ => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

/// The query, with an empty value for a parameter that has none: to leave it out could widen a listing.
fn with_values(mut query: Query) -> Query {
    for values in query.values_mut().filter(|values| values.is_empty()) {
        values.push(String::new());
    }
    // The encoding of a byte has up to three, and `=` and `&` come on top.
    let length_of = |(name, values): (&String, &Vec<String>)| -> usize {
        values.iter().map(|value| 3 * (name.len() + value.len()) + 2).sum()
    };
    if query.iter().map(length_of).sum::<usize>() > MAX_QUERY {
        // No request knows this parameter, so each refuses it.
        query = HashMap::from([("too-long".to_owned(), vec![String::new()])]);
    }
    query
}

/// Decodes a map of headers, and keeps each [`Header`].
fn headers<'de, D: Deserializer<'de>>(map: D) -> Result<HeaderMap, D::Error> {
    struct Headers;

    impl<'de> Visitor<'de> for Headers {
        type Value = HeaderMap;

        fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str("a map of headers")
        }

        fn visit_unit<E: Error>(self) -> Result<HeaderMap, E> {
            Ok(HeaderMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderMap, A::Error> {
            let mut headers = HeaderMap::new();
            while let Some(name) = map.next_key::<String>()? {
                let Ok(header) = name.parse::<Header>() else {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                };
                let values: DeserializeAsWrap<Vec<String>, OneOrMany<Same>> = map.next_value()?;
                for value in values.into_inner() {
                    let value = HeaderValue::try_from(value).map_err(A::Error::custom)?;
                    headers.append(HeaderName::from_static(header.name()), value);
                }
            }
            Ok(headers)
        }
    }

    map.deserialize_any(Headers)
}
