//! A request as the faces see it.

use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequestContext;
use lambda_http::http::Method;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use time::{Duration, OffsetDateTime};

use super::event::Header;
use super::failure::{Code, Failure};
use super::log::LogLine;
use crate::format::InvalidFormat;
use crate::service::Caller;

/// The longest body that is read, in KiB.
const BODY_LIMIT_KIB: usize = 16;
/// How long ago a request may have reached the API.
const MAX_AGE: Duration = Duration::seconds(15);

/// A request that is being answered.
pub(super) struct Call<'a> {
    /// What the log will say about it.
    pub(super) log_line: LogLine,
    request: &'a Request,
    context: Option<&'a ApiGatewayProxyRequestContext>,
    /// When the function got it, by its clock.
    received_at: OffsetDateTime,
}

impl<'a> Call<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        let context = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV1(context)) => Some(context),
            Some(_) | None => None,
        };
        let received_at = OffsetDateTime::now_utc();
        Self { log_line: LogLine::default(), request, context, received_at }
    }

    /// When the request was made: when it reached the API or, if that is earlier by the function's
    /// clock, when the function got it.
    pub(super) fn requested_at(&self) -> OffsetDateTime {
        let epoch = self.context.map_or(0, |context| context.request_time_epoch);
        requested_at(epoch, self.received_at)
    }

    /// Refuses a request that was held up: its client may have given up, and others may have acted
    /// since.
    pub(super) fn check_age(&self) -> Result<(), Failure> {
        if self.received_at - self.requested_at() <= MAX_AGE {
            return Ok(());
        }
        let message = format!(
            "the request was held up for more than {} s after it reached the API; nothing was changed; \
             try again (an event made by hand must not have a requestTimeEpoch)",
            MAX_AGE.whole_seconds()
        );
        Err(Failure::refusal(Code::ServiceUnavailable, message).with_retry_after())
    }

    /// The last value of a header. Invalid unless it is visible ASCII.
    pub(super) fn header(&self, header: Header) -> Option<Result<&'a str, InvalidFormat>> {
        let value = self.request.headers().get_all(header.name()).iter().next_back()?;
        Some(value.to_str().map_err(|_| InvalidFormat("must be visible ASCII".to_owned())))
    }

    /// The content type without its parameters, in lower case.
    pub(super) fn media_type(&self) -> Option<String> {
        let value = self.header(Header::ContentType)?.unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default();
        Some(essence.trim().to_ascii_lowercase())
    }

    pub(super) fn method(&self) -> &'a Method {
        self.request.method()
    }

    /// The path below the API's root, without slashes at its ends: what the route `/{proxy+}`
    /// matched. (The event's own path starts with the base path of a custom domain.)
    pub(super) fn path(&self) -> &'a str {
        let parameters = self.request.path_parameters_ref();
        parameters.and_then(|parameters| parameters.first("proxy")).unwrap_or_default()
    }

    /// The path as the client sees it, including the stage or base path. The root has no slash at its
    /// end.
    pub(super) fn client_path(&self) -> &'a str {
        let path = self.context.and_then(|context| context.path.as_deref());
        let path = path.unwrap_or_default();
        path.strip_suffix('/').unwrap_or(path)
    }

    /// Whether the client has spelt the path as the route has it. API Gateway also routes other
    /// spellings here, which an IAM policy for the path might not match.
    pub(super) fn is_path_literal(&self) -> bool {
        let client_path = self.context.and_then(|context| context.path.as_deref());
        is_literal(client_path.unwrap_or_default(), self.path())
    }

    /// The last value of a query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&'a str> {
        self.request.query_string_parameters_ref()?.all(name)?.pop()
    }

    /// The names of the query parameters.
    pub(super) fn query_names(&self) -> impl Iterator<Item = &'a str> {
        let query = self.request.query_string_parameters_ref();
        query.into_iter().flat_map(|query| query.iter().map(|(name, _)| name))
    }

    pub(super) fn body(&self) -> Result<&'a [u8], Failure> {
        let body = self.request.body().as_ref();
        if body.len() > BODY_LIMIT_KIB * 1024 {
            let message = format!("the body is larger than {BODY_LIMIT_KIB} KiB");
            return Err(Failure::refusal(Code::PayloadTooLarge, message));
        }
        Ok(body)
    }

    pub(super) fn request_id(&self) -> Option<&'a str> {
        self.context?.request_id.as_deref()
    }

    /// IAM ARN of the caller.
    pub(super) fn caller_arn(&self) -> Option<&'a str> {
        self.context?.identity.user_arn.as_deref()
    }

    pub(super) fn caller(&self) -> Caller {
        let identity = self.context.map(|context| &context.identity);
        Caller {
            arn: identity.and_then(|identity| identity.user_arn.clone()),
            source_ip: identity.and_then(|identity| identity.source_ip.clone()),
            request_id: self.request_id().map(ToOwned::to_owned),
            requested_at: self.requested_at(),
        }
    }
}

/// The earlier of two times, of which one is in milliseconds since 1970, or 0 for none.
fn requested_at(epoch: i64, received_at: OffsetDateTime) -> OffsetDateTime {
    if epoch == 0 {
        return received_at;
    }
    // To the end of its millisecond, so that the function's clock orders requests within it.
    let reached_at = OffsetDateTime::UNIX_EPOCH.checked_add(Duration::milliseconds(epoch));
    let reached_at = reached_at.map(|reached_at| reached_at + Duration::nanoseconds(999_999));
    // A time out of range counts as none.
    reached_at.map_or(received_at, |reached_at| reached_at.min(received_at))
}

/// Whether the client's path is this one, to the letter, below a stage, a base path or nothing. The
/// root may have its slash or not: API Gateway has one path for both.
fn is_literal(client_path: &str, path: &str) -> bool {
    let is_plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains('%');
    let above = if path.is_empty() {
        Some(client_path.strip_suffix('/').unwrap_or(client_path))
    } else {
        let above = client_path.strip_suffix(path).and_then(|above| above.strip_suffix('/'));
        above.filter(|_| path.split('/').all(is_plain))
    };
    above.is_some_and(|above| {
        above.is_empty()
            || above.strip_prefix('/').is_some_and(|above| above.split('/').all(is_plain))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_old_as_the_earlier_of_two_clocks_says() {
        let received_at = OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(1_800_000_000_500);
        let age = |epoch| (received_at - requested_at(epoch, received_at)).whole_milliseconds();
        assert_eq!(age(1_800_000_000_500), 0);
        assert_eq!(age(1_799_999_985_499), 15_000);
        assert_eq!(age(1_799_999_985_498), 15_001);
        assert_eq!(age(1), 1_800_000_000_498);
        for none_or_later in [0, 1_800_000_000_501, i64::MAX] {
            assert_eq!(age(none_or_later), 0, "{none_or_later}");
        }
    }
}
