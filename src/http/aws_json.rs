//! The AWS JSON 1.1 face, which stock AWS clients speak.
//! (Protocol: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>)

use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use strum::EnumString;

use super::aws::{
    DescribeWorkspacesInput, Exception, RebuildWorkspacesInput, describe_workspaces,
    rebuild_workspaces,
};
use super::call::{Call, respond};
use super::json::{InvalidJson, Members, string};

pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

#[derive(Clone, Copy, Debug, EnumString)]
enum Operation {
    RebuildWorkspaces,
    DescribeWorkspaces,
}

pub(super) async fn answer(call: &mut Call<'_>) -> Response<Body> {
    let mut response = match route(call).await {
        Ok(response) => response,
        Err(exception) => {
            let response = encode_exception(&exception);
            call.log_line.failed(exception.failure);
            response
        }
    };
    if let Some(id) = call.request_id().and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

async fn route(call: &mut Call<'_>) -> Result<Response<Body>, Exception> {
    let operation = operation(call)?;
    let members = Members::parse(call.body().map_err(Exception::too_large)?)?;
    match operation {
        Operation::RebuildWorkspaces => {
            let input = rebuild_workspaces_input(members)?;
            Ok(success(&rebuild_workspaces(call, input).await?))
        }
        Operation::DescribeWorkspaces => {
            let input = describe_workspaces_input(members)?;
            Ok(success(&describe_workspaces(call, input).await?))
        }
    }
}

fn operation(call: &Call<'_>) -> Result<Operation, Exception> {
    let target = call.header("x-amz-target").and_then(Result::ok).unwrap_or_default();
    let is_root = call.method() == Method::POST && call.path().is_empty();
    let name = target.strip_prefix("WorkspacesService.").filter(|_| is_root);
    name.and_then(|name| name.parse().ok()).ok_or_else(Exception::unknown_operation)
}

fn rebuild_workspaces_input(mut members: Members) -> Result<RebuildWorkspacesInput, Exception> {
    let name = "RebuildWorkspaceRequests";
    let id = |request: &RawValue| {
        Members::read(request, "RebuildWorkspaceRequests[]")?.take_string("WorkspaceId")
    };
    Ok(RebuildWorkspacesInput { rebuild_workspace_requests: take_list(&mut members, name, id)? })
}

fn describe_workspaces_input(mut members: Members) -> Result<DescribeWorkspacesInput, Exception> {
    let id = |id: &RawValue| string(id, "WorkspaceIds[]");
    Ok(DescribeWorkspacesInput {
        workspace_ids: take_list(&mut members, "WorkspaceIds", id)?,
        directory_id: members.take_string("DirectoryId")?,
        user_name: members.take_string("UserName")?,
        bundle_id: members.take_string("BundleId")?,
        limit: members.take_integer("Limit")?,
        next_token: members.take_string("NextToken")?,
        workspace_name: members.take_string("WorkspaceName")?,
    })
}

/// Removes an array, and decodes each entry with `decode`.
fn take_list<T>(
    members: &mut Members,
    name: &str,
    decode: impl Fn(&RawValue) -> Result<T, InvalidJson>,
) -> Result<Option<Vec<T>>, InvalidJson> {
    let values = members.take_array(name)?;
    values.map(|values| values.iter().map(|value| decode(value)).collect()).transpose()
}

impl From<InvalidJson> for Exception {
    fn from(error: InvalidJson) -> Self {
        Self::new("SerializationException", StatusCode::BAD_REQUEST, error.into())
    }
}

fn success(body: &impl Serialize) -> Response<Body> {
    respond(StatusCode::OK, CONTENT_TYPE, body)
}

fn encode_exception(exception: &Exception) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape<'a> {
        __type: &'static str,
        message: &'a str,
    }
    let Exception { name, status, failure } = exception;
    let body = Shape { __type: name, message: &failure.message };
    let mut response = respond(*status, CONTENT_TYPE, &body);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(name));
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::workspace::{Filter, WorkspaceId};

    /// Decodes and checks a body; the answer if it is refused.
    fn check(operation: Operation, body: &str) -> Result<(), (StatusCode, Value)> {
        let checked =
            Members::parse(body.as_bytes()).map_err(Exception::from).and_then(|members| {
                match operation {
                    Operation::RebuildWorkspaces => {
                        rebuild_workspaces_input(members)?.check(None).map(drop)
                    }
                    Operation::DescribeWorkspaces => {
                        describe_workspaces_input(members)?.check().map(drop)
                    }
                }
            });
        checked.map_err(|exception| {
            let response = encode_exception(&exception);
            assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.1");
            let body: Value = serde_json::from_slice(response.body()).expect("JSON");
            assert_eq!(response.headers()["x-amzn-errortype"], *body["__type"].as_str().unwrap());
            (response.status(), body)
        })
    }

    fn message(operation: Operation, body: &Value) -> String {
        let (status, error) = check(operation, &body.to_string()).expect_err("a refusal");
        assert_eq!(
            (status, &error["__type"]),
            (StatusCode::BAD_REQUEST, &json!("ValidationException"))
        );
        error["message"].as_str().expect("a text").to_owned()
    }

    #[test]
    fn constraints_are_worded_as_aws_words_them() {
        let rebuild = |requests: Value| {
            message(Operation::RebuildWorkspaces, &json!({ "RebuildWorkspaceRequests": requests }))
        };
        let describe = |body: Value| message(Operation::DescribeWorkspaces, &body);
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
        let input = describe_workspaces_input(Members::parse(body.as_bytes()).expect("JSON"));
        let (Filter::Ids(ids), 25, None) = input.expect("an input").check().expect("valid") else {
            panic!("another filter, limit or token");
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
            operation in prop::sample::select(vec![Operation::RebuildWorkspaces, Operation::DescribeWorkspaces]),
            body in prop_oneof![any_json().prop_map(|body| body.to_string()), any_text()],
        ) {
            if let Err((status, error)) = check(operation, &body) {
                prop_assert_eq!(status, StatusCode::BAD_REQUEST);
                let names = ["SerializationException", "ValidationException", "InvalidParameterValuesException"];
                prop_assert!(names.contains(&error["__type"].as_str().unwrap()), "{}", error);
                let message = error["message"].as_str().unwrap();
                prop_assert!(!message.is_empty() && !message.contains("RAW"), "{}", message);
            }
        }
    }
}
