//! The AWS JSON 1.1 face, as an AWS client has it and, for what no AWS client sends, by hand.

use std::collections::BTreeMap;

use aws_sdk_workspaces::error::ProvideErrorMetadata;
use aws_sdk_workspaces::types::RebuildRequest;
use rebuild_workspaces::config::FleetConfig;
use serde_json::{Value, json};

use crate::system::{Ask, System, config};

/// AWS's own client, with the API as its endpoint.
fn client(system: &System) -> aws_sdk_workspaces::Client {
    let fleet =
        FleetConfig::from_lookup(|name| (name == "FLEET_ENDPOINT_URL").then(|| system.api.clone()));
    let config = config(&system.dynamodb);
    config.workspaces(config.http_client(), &fleet.expect("all that it needs"))
}

#[tokio::test]
async fn an_aws_client_rebuilds_a_workspace_or_is_told_why_not() {
    let system = System::start().await;
    let client = client(&system);
    for (id, failed) in [
        ("ws-available0001", None),
        (
            "ws-suspended0001",
            Some((
                "InvalidResourceState.Workspace",
                "WorkSpace ws-suspended0001 is in state SUSPENDED; a rebuild is allowed only from AVAILABLE, ERROR, UNHEALTHY, STOPPED, REBOOTING",
            )),
        ),
        (
            "ws-nosuchone0001",
            Some(("ResourceNotFound.Workspace", "WorkSpace ws-nosuchone0001 was not found")),
        ),
    ] {
        let request = RebuildRequest::builder().workspace_id(id).build().expect("an id");
        let answer = client.rebuild_workspaces().rebuild_workspace_requests(request).send().await;
        let answer = answer.expect("an answer");
        let requests = answer.failed_requests().iter();
        let told: Vec<_> = requests
            .map(|failed| (failed.workspace_id(), failed.error_code(), failed.error_message()))
            .collect();
        let expected = failed.map(|(code, message)| (Some(id), Some(code), Some(message)));
        assert_eq!(told, Vec::from_iter(expected));
        assert_eq!(system.wire.operations(), ["UpdateItem"], "{id}");
    }
    assert_eq!(system.item("ws-available0001").await["State"], "REBUILDING");
}

/// The invocation id stays the same across an SDK's own retries, and only there.
#[tokio::test]
async fn a_retry_of_an_aws_client_is_a_success() {
    let system = System::start().await;
    let ask = Ask::aws_rebuild("ws-available0001").with("amz-sdk-invocation-id", "4711");
    for _ in 0..2 {
        let answer = system.send(&ask).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"FailedRequests":[]}"#));
        assert_eq!(system.wire.operations(), ["UpdateItem"]);
    }
    // A client's own key can't meet it.
    let envelope = Ask::rebuild("ws-available0001");
    for key in ["4711", "sdk:4711"] {
        let ask = envelope.clone().with("idempotency-key", key);
        assert_eq!(system.send(&ask).await.status, 409, "{key}");
    }
    let another = Ask::aws_rebuild("ws-available0001").with("amz-sdk-invocation-id", "4712");
    let failed = &system.send(&another).await.json()["FailedRequests"][0];
    assert_eq!(failed["ErrorCode"], "InvalidResourceState.Workspace");
}

#[tokio::test]
async fn workspaces_are_described_as_the_filter_says() {
    let system = System::start().await;
    let client = client(&system);
    let ids = |answer: &Value| -> Vec<String> {
        let workspaces = answer["Workspaces"].as_array().expect("an array").iter();
        workspaces.map(|found| found["WorkspaceId"].as_str().expect("an id").into()).collect()
    };
    let described = |filter: Value| {
        let system = system.clone();
        async move {
            let answer = system.send(&Ask::aws("DescribeWorkspaces", filter.to_string())).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json()
        }
    };

    let by_ids = json!({ "WorkspaceIds": ["ws-stopped0001", "ws-nosuchone0001", "ws-available0001", "ws-stopped0001"] });
    assert_eq!(ids(&described(by_ids).await), ["ws-stopped0001", "ws-available0001"]);
    assert_eq!(system.wire.seen()[0].input["RequestItems"]["workspaces"]["ConsistentRead"], true);

    let all = ids(&described(json!({})).await);
    assert_eq!(all.len(), 17);
    let mut attributes = BTreeMap::new();
    for id in &all {
        attributes.insert(id.clone(), system.item(id).await);
    }
    // (attribute, filter): exactly the WorkSpaces that have it.
    for filter in [
        json!({ "DirectoryId": "d-906700a1b2" }),
        json!({ "DirectoryId": "d-906700a1b2", "UserName": "bo.lindqvist" }),
        json!({ "DirectoryId": "d-906700a1b2", "UserName": "nobody" }),
        json!({ "DirectoryId": "d-0000000000" }),
        json!({ "BundleId": "wsb-0a1b2c3d4" }),
    ] {
        let mut expected: Vec<_> = attributes
            .iter()
            .filter(|(_, item)| {
                filter.as_object().expect("one").iter().all(|(name, value)| item[name] == *value)
            })
            .map(|(id, _)| id.clone())
            .collect();
        let mut found = ids(&described(filter.clone()).await);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{filter}");

        // The same, in pages of one.
        let (mut paged, mut request) = (vec![], filter.clone());
        request["Limit"] = json!(1);
        loop {
            let page = described(request.clone()).await;
            paged.extend(ids(&page));
            let Some(token) = page.get("NextToken") else { break };
            request["NextToken"] = token.clone();
        }
        paged.sort();
        assert_eq!(paged, expected, "{filter} in pages");
    }

    let mut paged = client.describe_workspaces().limit(5).into_paginator().items().send();
    let mut found = vec![];
    while let Some(workspace) = paged.next().await {
        let workspace = workspace.expect("a WorkSpace");
        found.push(workspace.workspace_id().expect("an id").to_owned());
    }
    assert_eq!(found, all);
}

#[tokio::test]
async fn an_aws_client_reads_the_errors() {
    let system = System::start().await;
    let client = client(&system);
    let error = client.describe_workspaces().user_name("bo.lindqvist").send().await;
    let error = error.expect_err("a combination that is not allowed");
    assert_eq!(error.code(), Some("InvalidParameterValuesException"));
    assert!(error.message().is_some_and(|message| !message.is_empty()));
}

#[tokio::test]
async fn each_error_has_its_status_name_and_message() {
    let system = System::start().await;
    let rebuild = |body: &str| Ask::aws("RebuildWorkspaces", body);
    let describe = |body: &str| Ask::aws("DescribeWorkspaces", body);
    let target = |target: &str| {
        Ask::aws_rebuild("ws-available0001").without("x-amz-target").with("x-amz-target", target)
    };

    let serialization = (400, "SerializationException");
    let validation = (400, "ValidationException");
    let values = (400, "InvalidParameterValuesException");
    let unknown = (400, "UnknownOperationException");
    let one = |constraint: &str| format!("1 validation error detected: Value at {constraint}");
    let combination =
        "give WorkspaceIds, or DirectoryId with or without UserName, or BundleId, or none of them";
    let operation =
        "the operation is not known here; known are RebuildWorkspaces and DescribeWorkspaces";

    for (ask, (status, name), message) in [
        (rebuild(""), serialization, "the body is empty".to_owned()),
        (rebuild("{"), serialization, "the body is not valid JSON".into()),
        (rebuild("[]"), serialization, "the body must be an object, with each field once".into()),
        (rebuild(r#"{"RebuildWorkspaceRequests":{}}"#), serialization, "RebuildWorkspaceRequests must be an array".into()),
        (rebuild(r#"{"RebuildWorkspaceRequests":["ws-available0001"]}"#), serialization, "RebuildWorkspaceRequests[] must be an object, with each field once".into()),
        (rebuild(r#"{"RebuildWorkspaceRequests":[{"WorkspaceId":4711}]}"#), serialization, "WorkspaceId must be a string".into()),
        (describe(r#"{"Limit":"5"}"#), serialization, "Limit must be an integer".into()),
        (describe(r#"{"WorkspaceIds":[4711]}"#), serialization, "WorkspaceIds[] must be a string".into()),
        (
            rebuild("{}"),
            validation,
            one("'rebuildWorkspaceRequests' failed to satisfy constraint: Member must not be null"),
        ),
        (
            rebuild(r#"{"RebuildWorkspaceRequests":[]}"#),
            validation,
            one("'rebuildWorkspaceRequests' failed to satisfy constraint: Member must have length greater than or equal to 1"),
        ),
        (
            rebuild(r#"{"RebuildWorkspaceRequests":[{"WorkspaceId":"ws-available0001"},{"WorkspaceId":"ws-stopped0001"}]}"#),
            validation,
            one("'rebuildWorkspaceRequests' failed to satisfy constraint: Member must have length less than or equal to 1"),
        ),
        (
            rebuild(r#"{"RebuildWorkspaceRequests":[{}]}"#),
            validation,
            one("'rebuildWorkspaceRequests.1.member.workspaceId' failed to satisfy constraint: Member must not be null"),
        ),
        (
            rebuild(r#"{"RebuildWorkspaceRequests":[{"WorkspaceId":"WS-1"}]}"#),
            validation,
            one("'rebuildWorkspaceRequests.1.member.workspaceId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^ws-[0-9a-z]{8,63}$"),
        ),
        (
            rebuild(r#"{"RebuildWorkspaceRequests":[{},{"WorkspaceId":"x"}]}"#),
            validation,
            "3 validation errors detected: \
             Value at 'rebuildWorkspaceRequests' failed to satisfy constraint: Member must have length less than or equal to 1; \
             Value at 'rebuildWorkspaceRequests.1.member.workspaceId' failed to satisfy constraint: Member must not be null; \
             Value at 'rebuildWorkspaceRequests.2.member.workspaceId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^ws-[0-9a-z]{8,63}$"
                .into(),
        ),
        (
            describe(r#"{"WorkspaceIds":[]}"#),
            validation,
            one("'workspaceIds' failed to satisfy constraint: Member must have length greater than or equal to 1"),
        ),
        (
            describe(&json!({ "WorkspaceIds": vec!["ws-available0001"; 26] }).to_string()),
            validation,
            one("'workspaceIds' failed to satisfy constraint: Member must have length less than or equal to 25"),
        ),
        (describe(r#"{"Limit":0}"#), validation, one("'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")),
        (describe(r#"{"Limit":26}"#), validation, one("'limit' failed to satisfy constraint: Member must have value less than or equal to 25")),
        (
            describe(r#"{"DirectoryId":"d-XYZ45678"}"#),
            validation,
            one("'directoryId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(d-[0-9a-f]{8,63}$)|(wsd-[0-9a-z]{8,63}$)"),
        ),
        (describe(r#"{"UserName":"bo.lindqvist"}"#), values, combination.into()),
        (describe(r#"{"DirectoryId":"d-906700a1b2","BundleId":"wsb-0a1b2c3d4"}"#), values, combination.into()),
        (describe(r#"{"WorkspaceIds":["ws-available0001"],"BundleId":"wsb-0a1b2c3d4"}"#), values, combination.into()),
        (describe(r#"{"NextToken":"not ours"}"#), values, "NextToken is not one of this listing's".into()),
        (target("WorkspacesService.TerminateWorkspaces"), unknown, operation.into()),
        (target("RebuildWorkspaces"), unknown, operation.into()),
        (target(""), unknown, operation.into()),
        (rebuild("{}").without("x-amz-target"), unknown, operation.into()),
        (Ask::get("/").with("x-amz-target", "WorkspacesService.DescribeWorkspaces"), unknown, operation.into()),
        (Ask::get("/workspaces/ws-available0001").with("x-amz-target", "x"), unknown, operation.into()),
        (
            rebuild(&" ".repeat(16_385)),
            (413, "RequestEntityTooLargeException"),
            "the body is larger than 16 KiB".into(),
        ),
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

/// As the protocol asks: an AWS client may be newer than this.
#[tokio::test]
async fn unknown_fields_are_ignored() {
    let system = System::start().await;
    let body =
        r#"{"RebuildWorkspaceRequests":[{"WorkspaceId":"ws-available0001","New":1}],"New":{}}"#;
    assert_eq!(
        system.send(&Ask::aws("RebuildWorkspaces", body)).await.body,
        r#"{"FailedRequests":[]}"#
    );
}

/// By its content type, whatever its parameters and case, or by its target.
#[tokio::test]
async fn either_mark_makes_a_request_this_faces() {
    let system = System::start().await;
    let body = r#"{"RebuildWorkspaceRequests":[{"WorkspaceId":"ws-suspended0001"}]}"#;
    let marked = Ask::aws("RebuildWorkspaces", body);
    let unmarked = Ask::post(body);
    for (ask, status) in [
        (marked.clone(), 200),
        (marked.clone().without("content-type"), 200),
        (marked.clone().without("content-type").with("content-type", "application/json"), 200),
        (marked.clone().without("x-amz-target"), 400),
        (
            unmarked
                .clone()
                .without("content-type")
                .with("content-type", "Application/X-Amz-Json-1.1; charset=utf-8"),
            400,
        ),
    ] {
        let answer = system.send(&ask).await;
        assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"), "{ask:?}");
        assert_eq!(answer.status, status, "{ask:?}");
    }
    assert_eq!(system.send(&unmarked).await.status, 409);
}
