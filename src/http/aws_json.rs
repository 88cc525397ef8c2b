//! The AWS JSON 1.1 face: what stock AWS clients speak.
//! (Protocol: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>)

use std::fmt::Display;
use std::ops::RangeInclusive;

use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_with::skip_serializing_none;

use super::json::{Members, members, parse, string};
use super::{Call, respond};
use crate::error::{Error, outcome_unknown};
use crate::service::{Command, Outcome, RebuildRequest};
use crate::store::Filter;
use crate::workspace::{Description, IdempotencyKey, Malformed, State, Workspace, WorkspaceId};

/// The most ids, and the longest page, of one `DescribeWorkspaces` (API model).
const PAGE: u8 = 25;
/// The forms of two ids (API model).
const DIRECTORY_ID: &str = "^(d-[0-9a-f]{8,63}$)|(wsd-[0-9a-z]{8,63}$)";
const BUNDLE_ID: &str = "^wsb-[0-9a-z]{8,63}$";

/// What a request asks for.
///
/// # Errors
/// Every row of the contract's table that needs no look at a WorkSpace.
pub fn decode(call: &Call<'_>) -> Result<Command, Error> {
    let target = call.header("x-amz-target").and_then(Result::ok).unwrap_or_default();
    let is_root = call.method() == Method::POST && call.path().is_empty();
    match target.strip_prefix("WorkspacesService.").filter(|_| is_root) {
        Some("RebuildWorkspaces") => decode_rebuild(call).map(Command::Rebuild),
        Some("DescribeWorkspaces") => decode_describe(call),
        Some(_) | None => Err(Error::UnknownOperation),
    }
}

fn decode_rebuild(call: &Call<'_>) -> Result<RebuildRequest, Error> {
    let mut body = parse(call.body()?)?;
    let ids = take_list(&mut body, "RebuildWorkspaceRequests", |request| {
        members(request, "RebuildWorkspaceRequests[]")?.take_string("WorkspaceId")
    })?;

    let mut constraints = Constraints::default();
    let list = "rebuildWorkspaceRequests";
    constraints.not_null(list, ids.as_ref());
    constraints.length(list, ids.as_ref().map(Vec::len), 1..=1);
    let mut workspace_id = None;
    for (number, id) in (1..).zip(ids.into_iter().flatten()) {
        let place = format!("{list}.{number}.member.workspaceId");
        constraints.not_null(&place, id.as_ref());
        let id = id.map(WorkspaceId::try_from);
        constraints.pattern(&place, !matches!(id, Some(Err(_))), WorkspaceId::PATTERN);
        workspace_id = id.and_then(Result::ok);
    }
    let key = call.header("amz-sdk-invocation-id").transpose()?;
    let key = key.map(IdempotencyKey::from_sdk_invocation).transpose();
    if key.is_err() {
        constraints.broken("amz-sdk-invocation-id", "Member must have 1 to 255 visible characters");
    }
    Ok(RebuildRequest {
        workspace_id: constraints.check(workspace_id)?,
        idempotency_key: key.ok().flatten(),
        reason: None,
        caller: call.caller(),
    })
}

fn decode_describe(call: &Call<'_>) -> Result<Command, Error> {
    let mut body = parse(call.body()?)?;
    let ids = take_list(&mut body, "WorkspaceIds", |id| string(id, "WorkspaceIds[]"))?;
    let directory_id = body.take_string("DirectoryId")?;
    let user_name = body.take_string("UserName")?;
    let bundle_id = body.take_string("BundleId")?;
    let limit = body.take_integer("Limit")?;
    let token = body.take_string("NextToken")?;
    let workspace_name = body.take_string("WorkspaceName")?;

    let mut constraints = Constraints::default();
    constraints.length("workspaceIds", ids.as_ref().map(Vec::len), 1..=PAGE.into());
    let ids = ids.map(distinct_ids).transpose();
    if ids.is_err() {
        let pattern = WorkspaceId::PATTERN;
        let member = format!("[Member must satisfy regular expression pattern: {pattern}]");
        constraints.broken("workspaceIds", &format!("Member must satisfy constraint: {member}"));
    }
    let characters = |text: &Option<String>| Some(text.as_ref()?.chars().count());
    let is_directory = directory_id.as_deref().is_none_or(is_directory_id);
    constraints.length("directoryId", characters(&directory_id), 10..=65);
    constraints.pattern("directoryId", is_directory, DIRECTORY_ID);
    constraints.length("userName", characters(&user_name), 1..=63);
    let is_bundle = bundle_id.as_deref().is_none_or(|id| is_id(id, "wsb-", b'a'..=b'z'));
    constraints.pattern("bundleId", is_bundle, BUNDLE_ID);
    constraints.bounds("limit", "value", limit, 1..=PAGE.into());
    constraints.length("nextToken", characters(&token), 1..=2048);
    let limit = u8::try_from(limit.unwrap_or(PAGE.into())).ok();
    let limit = constraints.check(limit)?;

    if workspace_name.is_some() {
        return Err(Error::InvalidCombination("WorkspaceName is not supported here"));
    }
    let filter = match (ids.ok().flatten(), directory_id, user_name, bundle_id) {
        (None, None, None, None) => Filter::All,
        (Some(ids), None, None, None) => Filter::Ids(ids),
        (None, Some(directory_id), user_name, None) => {
            Filter::Directory { directory_id, user_name }
        }
        (None, None, None, Some(bundle_id)) => Filter::Bundle(bundle_id),
        _ => {
            return Err(Error::InvalidCombination(
                "give WorkspaceIds, or DirectoryId with or without UserName, or BundleId, or none of them",
            ));
        }
    };
    Ok(Command::DescribeWorkspaces { filter, limit, token })
}

/// Takes an array out, each entry read by `read`.
fn take_list<T>(
    body: &mut Members,
    name: &str,
    read: impl Fn(&RawValue) -> Result<T, Error>,
) -> Result<Option<Vec<T>>, Error> {
    let values = body.take_array(name)?;
    values.map(|values| values.iter().map(|value| read(value)).collect()).transpose()
}

/// Each id once, in the order given: DynamoDB refuses a batch that names a key twice.
fn distinct_ids(texts: Vec<String>) -> Result<Vec<WorkspaceId>, Malformed> {
    let mut ids = Vec::new();
    for text in texts {
        let id = WorkspaceId::try_from(text)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn is_directory_id(text: &str) -> bool {
    is_id(text, "d-", b'a'..=b'f') || is_id(text, "wsd-", b'a'..=b'z')
}

/// A prefix and 8 to 63 digits or letters, as the API model's ids are.
fn is_id(text: &str, prefix: &str, letters: RangeInclusive<u8>) -> bool {
    text.strip_prefix(prefix).is_some_and(|tail| {
        (8..=63).contains(&tail.len())
            && tail.bytes().all(|byte| byte.is_ascii_digit() || letters.contains(&byte))
    })
}

/// The constraints of the API model that a request breaks, worded as AWS words them. The values
/// are left out, as AWS leaves them out of sensitive members: no answer repeats raw input.
#[derive(Default)]
struct Constraints(Vec<String>);

impl Constraints {
    fn broken(&mut self, place: &str, constraint: &str) {
        self.0.push(format!("Value at '{place}' failed to satisfy constraint: {constraint}"));
    }

    fn not_null<T>(&mut self, place: &str, value: Option<&T>) {
        if value.is_none() {
            self.broken(place, "Member must not be null");
        }
    }

    fn pattern(&mut self, place: &str, is_met: bool, pattern: &str) {
        if !is_met {
            let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
            self.broken(place, &constraint);
        }
    }

    fn length(&mut self, place: &str, length: Option<usize>, allowed: RangeInclusive<usize>) {
        self.bounds(place, "length", length, allowed);
    }

    /// An absent value breaks no bounds.
    fn bounds<T: Display + PartialOrd>(
        &mut self,
        place: &str,
        what: &str,
        value: Option<T>,
        allowed: RangeInclusive<T>,
    ) {
        let (least, most) = allowed.into_inner();
        let (order, bound) = match value {
            Some(value) if value < least => ("greater", least),
            Some(value) if value > most => ("less", most),
            Some(_) | None => return,
        };
        self.broken(place, &format!("Member must have {what} {order} than or equal to {bound}"));
    }

    /// What the request comes to, which is there if no constraint is broken.
    fn check<T>(self, valid: Option<T>) -> Result<T, Error> {
        match (valid, self.0.len()) {
            (Some(valid), 0) => Ok(valid),
            (_, count) => {
                let errors = if count == 1 { "error" } else { "errors" };
                let all = self.0.join("; ");
                Err(Error::Invalid(format!("{count} validation {errors} detected: {all}")))
            }
        }
    }
}

/// The answer to a request, as an AWS client reads it.
#[must_use]
pub fn encode(call: &Call<'_>, result: &Result<Outcome, Error>) -> Response<Body> {
    let mut response = match result {
        Ok(Outcome::Accepted { .. }) => success(&RebuildResult { failed_requests: vec![] }),
        Ok(Outcome::Workspaces(page)) => success(&DescribeResult {
            workspaces: page.items.iter().map(WorkspaceShape::from).collect(),
            next_token: page.next_token.as_deref(),
        }),
        // No request of this face asks for these.
        Ok(Outcome::Rebuild(..) | Outcome::Rebuilds(..) | Outcome::Workspace(_)) => {
            encode_error(&Error::UnknownOperation)
        }
        Err(error) => encode_error(error),
    };
    if let Some(id) = call.request_id().and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn encode_error(error: &Error) -> Response<Body> {
    let (status, name) = match error {
        Error::Malformed(_) => (StatusCode::BAD_REQUEST, "SerializationException"),
        Error::Invalid(_) => (StatusCode::BAD_REQUEST, "ValidationException"),
        Error::InvalidCombination(_) => {
            (StatusCode::BAD_REQUEST, "InvalidParameterValuesException")
        }
        // The errors of the other face's paths come down to this one here.
        Error::UnknownOperation
        | Error::UnknownPath
        | Error::MethodNotAllowed { .. }
        | Error::UnsupportedMediaType
        | Error::RebuildNotFound => (StatusCode::BAD_REQUEST, "UnknownOperationException"),
        Error::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException"),
        Error::WorkspaceNotFound(id) => {
            return failed_request(id, "ResourceNotFound.Workspace", error);
        }
        Error::InvalidState { workspace_id, .. } => {
            return failed_request(workspace_id, "InvalidResourceState.Workspace", error);
        }
        Error::Throttled(_) => (StatusCode::BAD_REQUEST, "ThrottlingException"),
        Error::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
        Error::OutcomeUnknown { .. } | Error::Internal(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure")
        }
    };
    let message = match error {
        // The client's SDK made the key, and has done with repeating: a new call has another one.
        Error::OutcomeUnknown { .. } => outcome_unknown(false).to_owned(),
        _ => error.to_string(),
    };
    let body = ErrorShape { __type: name, message: &message };
    let mut response = respond(status, "application/x-amz-json-1.1", &body);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(name));
    response
}

fn failed_request(id: &WorkspaceId, code: &str, error: &Error) -> Response<Body> {
    let failed =
        FailedRequest { workspace_id: id, error_code: code, error_message: error.to_string() };
    success(&RebuildResult { failed_requests: vec![failed] })
}

fn success(body: &impl Serialize) -> Response<Body> {
    respond(StatusCode::OK, "application/x-amz-json-1.1", body)
}

#[derive(Serialize)]
struct ErrorShape<'a> {
    __type: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RebuildResult<'a> {
    failed_requests: Vec<FailedRequest<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailedRequest<'a> {
    workspace_id: &'a WorkspaceId,
    error_code: &'a str,
    error_message: String,
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeResult<'a> {
    workspaces: Vec<WorkspaceShape<'a>>,
    next_token: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WorkspaceShape<'a> {
    workspace_id: &'a WorkspaceId,
    state: State,
    #[serde(flatten)]
    description: &'a Description,
}

impl<'a> From<&'a Workspace> for WorkspaceShape<'a> {
    fn from(workspace: &'a Workspace) -> Self {
        Self {
            workspace_id: &workspace.workspace_id,
            state: workspace.state,
            description: &workspace.description,
        }
    }
}

#[cfg(test)]
mod tests {
    use lambda_http::Request;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What a request with this target and body decodes to, or else is answered with.
    fn decoded(target: &str, body: &str) -> Result<Command, (StatusCode, Value)> {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert("x-amz-target", target.parse().expect("a header's value"));
        let call = Call::new(&request);
        decode(&call).map_err(|error| {
            let response = encode(&call, &Err(error));
            assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.1");
            let body: Value = serde_json::from_slice(response.body()).expect("JSON");
            assert_eq!(response.headers()["x-amzn-errortype"], *body["__type"].as_str().unwrap());
            (response.status(), body)
        })
    }

    fn message(operation: &str, body: &Value) -> String {
        let target = format!("WorkspacesService.{operation}");
        let (status, error) = decoded(&target, &body.to_string()).expect_err("a refusal");
        assert_eq!(
            (status, &error["__type"]),
            (StatusCode::BAD_REQUEST, &json!("ValidationException"))
        );
        error["message"].as_str().expect("a text").to_owned()
    }

    #[test]
    fn constraints_are_worded_as_aws_words_them() {
        let rebuild = |requests: Value| {
            message("RebuildWorkspaces", &json!({ "RebuildWorkspaceRequests": requests }))
        };
        let describe = |body: Value| message("DescribeWorkspaces", &body);
        let id = json!({ "WorkspaceId": "ws-0a1b2c3d4" });
        let one = |place: &str, constraint: &str| {
            format!(
                "1 validation error detected: Value at '{place}' failed to satisfy constraint: {constraint}"
            )
        };
        let list = "rebuildWorkspaceRequests";
        let member = "rebuildWorkspaceRequests.1.member.workspaceId";
        let pattern = "Member must satisfy regular expression pattern: ^ws-[0-9a-z]{8,63}$";
        assert_eq!(rebuild(Value::Null), one(list, "Member must not be null"));
        let least = "Member must have length greater than or equal to 1";
        assert_eq!(rebuild(json!([])), one(list, least));
        let most = "Member must have length less than or equal to 1";
        assert_eq!(rebuild(json!([id, id])), one(list, most));
        assert_eq!(rebuild(json!([{}])), one(member, "Member must not be null"));
        assert_eq!(rebuild(json!([{ "WorkspaceId": "ws-UPPER0001" }])), one(member, pattern));
        assert_eq!(
            rebuild(json!([id, {}])),
            "2 validation errors detected: \
             Value at 'rebuildWorkspaceRequests' failed to satisfy constraint: \
             Member must have length less than or equal to 1; \
             Value at 'rebuildWorkspaceRequests.2.member.workspaceId' failed to satisfy constraint: \
             Member must not be null",
        );
        let each = format!("Member must satisfy constraint: [{pattern}]");
        assert_eq!(
            describe(json!({ "WorkspaceIds": ["ws-1", "ws-2"] })),
            one("workspaceIds", &each)
        );
        let most = "Member must have value less than or equal to 25";
        assert_eq!(describe(json!({ "Limit": 26 })), one("limit", most));
        let least = "Member must have value greater than or equal to 1";
        assert_eq!(describe(json!({ "Limit": i64::MIN })), one("limit", least));
    }

    #[test]
    fn a_listing_names_each_id_once_in_the_order_given() {
        let body = r#"{"WorkspaceIds":["ws-bbbbbbbb","ws-aaaaaaaa","ws-bbbbbbbb"]}"#;
        let command = decoded("WorkspacesService.DescribeWorkspaces", body);
        let Ok(Command::DescribeWorkspaces { filter: Filter::Ids(ids), limit: 25, token: None }) =
            command
        else {
            panic!("{command:?}");
        };
        assert_eq!(
            ids.iter().map(WorkspaceId::as_str).collect::<Vec<_>>(),
            ["ws-bbbbbbbb", "ws-aaaaaaaa"]
        );
    }

    fn any_text() -> impl Strategy<Value = String> {
        let ids = "(ws|d|wsd|wsb)-[0-9a-gA-Z]{6,70}";
        prop_oneof![ids, "RAW[ -~]{0,70}", "RAW\\PC{0,70}", Just(String::new())]
    }

    /// Any JSON, with the names of the API's members more often than not.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0..30_i64).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any_text().prop_map(Value::from),
        ];
        let names = prop::sample::select(vec![
            "RebuildWorkspaceRequests",
            "WorkspaceId",
            "WorkspaceIds",
            "DirectoryId",
            "UserName",
            "BundleId",
            "Limit",
            "NextToken",
            "WorkspaceName",
            "Other",
        ]);
        leaf.prop_recursive(4, 40, 4, move |inner| {
            let members = prop::collection::btree_map(names.clone(), inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..3).prop_map(Value::from),
                members.prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_body_is_decoded_or_refused_by_name_without_repeating_it(
            operation in prop::sample::select(vec!["RebuildWorkspaces", "DescribeWorkspaces"]),
            body in prop_oneof![any_json().prop_map(|body| body.to_string()), any_text()],
        ) {
            if let Err((status, error)) = decoded(&format!("WorkspacesService.{operation}"), &body) {
                prop_assert_eq!(status, StatusCode::BAD_REQUEST);
                let names = ["SerializationException", "ValidationException", "InvalidParameterValuesException"];
                prop_assert!(names.contains(&error["__type"].as_str().unwrap()), "{}", error);
                let message = error["message"].as_str().unwrap();
                prop_assert!(!message.is_empty() && !message.contains("RAW"), "{}", message);
            }
        }

        #[test]
        fn an_id_matches_its_pattern_or_is_refused(id in any_text()) {
            let tail = |prefix| id.strip_prefix(prefix).filter(|tail| (8..=63).contains(&tail.len()));
            let all = |tail: Option<&str>, set: &str| tail.is_some_and(|tail| tail.chars().all(|c| set.contains(c)));
            let hex = "0123456789abcdef";
            let alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyz";
            prop_assert_eq!(is_directory_id(&id), all(tail("d-"), hex) || all(tail("wsd-"), alphanumeric));
            prop_assert_eq!(is_id(&id, "wsb-", b'a'..=b'z'), all(tail("wsb-"), alphanumeric));
        }
    }
}
