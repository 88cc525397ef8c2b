//! The AWS JSON 1.1 face with handwritten requests that no AWS client sends. (`aws_clients.rs` uses
//! a real client.)

use serde_json::json;

use crate::system::{Ask, System};

#[tokio::test]
async fn each_error_has_its_status_name_and_message() {
    let system = System::start().await;
    let rebuild = |body: &str| Ask::aws("RebuildWorkspaces", body);
    let requests =
        |requests: &str| rebuild(&format!(r#"{{"RebuildWorkspaceRequests":{requests}}}"#));
    let describe = |body: &str| Ask::aws("DescribeWorkspaces", body);
    let target = |target: &str| {
        Ask::aws_rebuild("ws-available0001").without("x-amz-target").with("x-amz-target", target)
    };

    let serialization = (400, "SerializationException");
    let validation = (400, "ValidationException");
    let values = (400, "InvalidParameterValuesException");
    let unknown = (400, "UnknownOperationException");
    let too_large = (413, "RequestEntityTooLargeException");
    let object = "the body must be an object, with each field once";
    let null = "1 validation error detected: Value at 'rebuildWorkspaceRequests' \
        failed to satisfy constraint: Member must not be null";
    let combination = "An invalid number of parameters provided with DescribeWorkspaces. Only one of the \
        following are allowed to be specified: BundleId, DirectoryId, WorkSpaceIds, Filters.";
    let directory = "The DirectoryId parameter is required when UserName is used.";
    let operation =
        "the operation is not known here; known are RebuildWorkspaces and DescribeWorkspaces";
    let twice = r#"{"RebuildWorkspaceRequests":[],"RebuildWorkspaceRequests":[]}"#;

    for (ask, (status, name), message) in [
        (rebuild(""), validation, null),
        (rebuild("{"), serialization, "the body is not valid JSON"),
        (rebuild("{} {}"), serialization, "the body is not valid JSON"),
        (rebuild(&"[".repeat(10_000)), serialization, object),
        (rebuild(twice), serialization, object),
        (rebuild("[]"), serialization, object),
        (requests("{}"), serialization, "RebuildWorkspaceRequests must be an array"),
        (describe(r#"{"Limit":"5"}"#), serialization, "Limit must be an integer"),
        (describe(r#"{"Limit":5.5}"#), serialization, "Limit must be an integer"),
        (describe(r#"{"WorkspaceIds":"ws-1"}"#), serialization, "WorkspaceIds must be an array"),
        (rebuild("{}"), validation, null),
        (requests("null"), validation, null),
        (describe(r#"{"UserName":"x"}"#), values, directory),
        (describe(r#"{"UserName":"x","BundleId":"wsb-0a1b2c3d4"}"#), values, directory),
        (describe(r#"{"UserName":"x","WorkspaceName":"x1"}"#), values, directory),
        (describe(r#"{"UserName":"x","WorkspaceIds":["ws-available0001"]}"#), values, directory),
        (
            describe(r#"{"UserName":"x","BundleId":"wsb-0a1b2c3d4","WorkspaceName":"x1"}"#),
            values,
            combination,
        ),
        (
            describe(r#"{"DirectoryId":"d-906700a1b2","UserName":"x","BundleId":"wsb-0a1b2c3d4"}"#),
            values,
            combination,
        ),
        (
            describe(r#"{"DirectoryId":"d-906700a1b2","WorkspaceIds":["ws-available0001"]}"#),
            values,
            combination,
        ),
        (describe(r#"{"WorkspaceName":"x1","BundleId":"wsb-0a1b2c3d4"}"#), values, combination),
        (target("WorkspacesService.TerminateWorkspaces"), unknown, operation),
        (target("RebuildWorkspaces"), unknown, operation),
        (target(""), unknown, operation),
        (target("").without("x-amz-target"), unknown, operation),
        (rebuild("{}").at("//"), unknown, operation),
        (rebuild("{}").at("/rebuilds"), unknown, operation),
        (rebuild(&" ".repeat(16_385)), too_large, "the body is larger than 16 KiB"),
    ] {
        let answer = system.send(&ask).await;
        assert_eq!(answer.status, status, "{ask:?}");
        assert_eq!(answer.json(), json!({ "__type": name, "message": message }), "{ask:?}");
        let headers: Vec<_> = answer.headers.keys().map(String::as_str).collect();
        assert_eq!(headers, ["content-type", "x-amzn-errortype", "x-amzn-requestid"]);
        assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
        assert_eq!(answer.header("x-amzn-errortype"), Some(name));
    }
    assert!(system.wire.seen().is_empty());
}

/// The protocol requires it, because an AWS client may be newer than the service.
#[tokio::test]
async fn unknown_fields_are_ignored() {
    let system = System::start().await;
    let body =
        r#"{"RebuildWorkspaceRequests":[{"WorkspaceId":"ws-available0001","New":1}],"New":{}}"#;
    let answer = system.send(&Ask::aws("RebuildWorkspaces", body)).await;
    assert_eq!(answer.body, r#"{"FailedRequests":[]}"#);
    assert_eq!(system.wire.operations(), ["UpdateItem"]);
}

#[tokio::test]
async fn every_outcome_of_a_rebuild_is_one_request_to_dynamodb() {
    let system = System::start().await;
    for id in ["ws-available0001", "ws-available0001", "ws-suspended0001", "ws-nosuchone0001"] {
        let answer = system.send(&Ask::aws_rebuild(id).with("amz-sdk-invocation-id", "4711")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(system.wire.operations(), ["UpdateItem"], "{id}");
    }
}

/// PHP's SDK has a header of its own for the invocation id. It is the same key.
#[tokio::test]
async fn the_invocation_id_has_two_headers() {
    let system = System::start().await;
    let ask = |header, id| Ask::aws_rebuild("ws-available0001").with(header, id);
    for ask in [ask("aws-sdk-invocation-id", "4711"), ask("amz-sdk-invocation-id", "4711")] {
        assert_eq!(system.send(&ask).await.body, r#"{"FailedRequests":[]}"#);
    }
    let other = system.send(&ask("aws-sdk-invocation-id", "4712")).await.json();
    assert_eq!(other["FailedRequests"][0]["ErrorCode"], "InvalidResourceState.Workspace");
    let invalid = system.send(&ask("aws-sdk-invocation-id", "")).await.json();
    let message = "1 validation error detected: Value at 'aws-sdk-invocation-id' failed to satisfy \
        constraint: Member must have 1 to 255 visible characters";
    assert_eq!(invalid["message"], message);
}

#[tokio::test]
async fn the_aws_content_type_may_have_parameters_and_any_case() {
    let system = System::start().await;
    for content_type in ["application/x-amz-json-1.1; charset=utf-8", "Application/X-Amz-Json-1.1"]
    {
        let ask = Ask::post("{}").without("content-type").with("content-type", content_type);
        let answer = system.send(&ask).await;
        assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
        assert_eq!(answer.header("x-amzn-errortype"), Some("UnknownOperationException"));
    }
}
