//! The AWS JSON face, driven by the stock client `aws-sdk-workspaces` with another endpoint.

use std::collections::BTreeSet;

use aws_sdk_workspaces::Client;
use aws_sdk_workspaces::config::retry::RetryConfig;
use aws_sdk_workspaces::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_workspaces::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_workspaces::operation::RequestId;
use aws_sdk_workspaces::operation::describe_workspaces::builders::DescribeWorkspacesFluentBuilder;
use aws_sdk_workspaces::operation::describe_workspaces::{
    DescribeWorkspacesError, DescribeWorkspacesOutput,
};
use aws_sdk_workspaces::operation::rebuild_workspaces::{
    RebuildWorkspacesError, RebuildWorkspacesOutput,
};
use aws_sdk_workspaces::types::{RebuildRequest, WorkspaceState};
use rebuild_workspaces::state::State;
use rebuild_workspaces::transport;
use serde_json::{Value, json};
use strum::VariantArray;

use crate::system::{Answer, Ask, System, config};
use crate::wire::{Attempt, SECRET, Wire};

const AVAILABLE: &str = "ws-available0001";
const DIRECTORY: &str = "d-0123456789";
const BUNDLE: &str = "wsb-0123456789";
const NAME: &str = "shared-(desk)_1.x";

/// A client with the default retries.
fn client(endpoint: &str) -> Client {
    client_with(endpoint, RetryConfig::standard())
}

fn client_with(endpoint: &str, retries: RetryConfig) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(retries)
        .http_client(transport::http_client(&config(endpoint).aws))
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

type Rebuilt = Result<RebuildWorkspacesOutput, SdkError<RebuildWorkspacesError>>;

async fn rebuild(client: &Client, ids: &[&str]) -> Rebuilt {
    let requests = ids.iter().map(|id| RebuildRequest::builder().workspace_id(*id).build());
    let requests = requests.map(|request| request.expect("it has an id")).collect();
    client.rebuild_workspaces().set_rebuild_workspace_requests(Some(requests)).send().await
}

/// Id, code and message of the only failed request, as the client reports them.
fn failed(output: Rebuilt) -> (String, String, String) {
    let output = output.expect("a success with one failed request");
    let [failed] = output.failed_requests() else {
        panic!("{output:?}");
    };
    let text = |text: Option<&str>| text.expect("a text").to_owned();
    (text(failed.workspace_id()), text(failed.error_code()), text(failed.error_message()))
}

/// Code and message of an error, as the client reports them.
fn shown<T: std::fmt::Debug, E: ProvideErrorMetadata>(
    result: Result<T, SdkError<E>>,
) -> (String, String) {
    let error = result.expect_err("an error");
    let text = |text: Option<&str>| text.expect("a text").to_owned();
    (text(error.code()), text(error.message()))
}

async fn state_of(client: &Client, id: &str) -> Option<WorkspaceState> {
    let output = client.describe_workspaces().workspace_ids(id).send().await.expect("an answer");
    output.workspaces().first().and_then(|workspace| workspace.state().cloned())
}

/// The states of the API model.
fn known_states() -> impl Iterator<Item = State> {
    State::VARIANTS.iter().copied().filter(|state| *state != State::Unknown)
}

/// Ids of every seeded WorkSpace: one in each known state, and those that show the snapshots and
/// the protection.
fn seeded() -> BTreeSet<String> {
    let more = [
        "ws-nosnapshot0001",
        "ws-stalesnapshot0001",
        "ws-protected0001",
        "ws-connected0001",
        "ws-disabledkey0001",
        "ws-extending0001",
    ];
    known_states().map(in_state).chain(more.map(str::to_owned)).collect()
}

/// Id of the seeded WorkSpace in this state.
fn in_state(state: State) -> String {
    format!("ws-{}0001", state.to_string().to_lowercase().replace('_', ""))
}

/// Adds 60 WorkSpaces in one directory and one bundle. Returns the ids of all, and of the half that
/// belongs to one user.
async fn put_60_workspaces(system: &System) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut all = BTreeSet::new();
    let mut users = BTreeSet::new();
    for number in 0..60 {
        let id = format!("ws-sixty{number:04}");
        let user = if number % 2 == 0 { "zoé/λ" } else { "else" };
        let item = json!({
            "WorkspaceId": id, "State": "AVAILABLE",
            "DirectoryId": DIRECTORY, "UserName": user, "BundleId": BUNDLE, "WorkspaceName": NAME,
        });
        system.put("workspaces", item).await;
        if number % 2 == 0 {
            users.insert(id.clone());
        }
        all.insert(id);
    }
    (all, users)
}

/// Items that somebody else put into the table, or a newer version.
#[tokio::test]
async fn unreadable_items_are_left_out_of_every_listing() {
    let system = System::start().await;
    let (all, users) = put_60_workspaces(&system).await;
    let described = json!({
        "DirectoryId": DIRECTORY, "UserName": "zoé/λ", "BundleId": BUNDLE, "WorkspaceName": NAME,
    });
    // Ids before, between and after the readable ones; some are no ids of WorkSpaces.
    for id in ["ws-sixt0000x", "ws-sixty0000x", "ws-sixty0059x", "A", "ws-", "ws-sixty0030!", "zz"]
    {
        for (suffix, broken) in [("number", json!(7)), ("map", json!({ "Id": "x" }))] {
            let mut item = described.clone();
            item["WorkspaceId"] = json!(format!("{id}{suffix}"));
            item["State"] = json!("AVAILABLE");
            item["Rebuild"] = broken;
            system.put("workspaces", item).await;
        }
    }
    let client = client(&system.api);
    let describe = || client.describe_workspaces();
    let by_ids = Some(vec!["ws-sixty0000xnumber".to_owned(), "ws-sixty0001".to_owned()]);
    let one = BTreeSet::from(["ws-sixty0001".to_owned()]);
    for limit in [1, 2, 7, 25] {
        for (request, expected) in [
            (describe(), all.union(&seeded()).cloned().collect()),
            (describe().directory_id(DIRECTORY), all.clone()),
            (describe().directory_id(DIRECTORY).user_name("zoé/λ"), users.clone()),
            (describe().bundle_id(BUNDLE), all.clone()),
            (describe().workspace_name(NAME), all.clone()),
            (describe().set_workspace_ids(by_ids.clone()), one.clone()),
        ] {
            let listed = pages(request, limit).await.concat();
            assert_eq!(listed.len(), expected.len(), "each once, {limit}");
            assert_eq!(BTreeSet::from_iter(listed), expected, "{limit}");
        }
    }
}

/// The ids on each page.
async fn pages(request: DescribeWorkspacesFluentBuilder, limit: i32) -> Vec<Vec<String>> {
    let mut stream = request.into_paginator().page_size(limit).send();
    let mut pages = Vec::new();
    while let Some(page) = stream.next().await {
        pages.push(ids(&page.expect("a page")));
    }
    pages
}

fn ids(page: &DescribeWorkspacesOutput) -> Vec<String> {
    let ids = page.workspaces().iter().map(|workspace| workspace.workspace_id());
    ids.map(|id| id.expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_rebuild_from_an_allowed_state_is_accepted() {
    let system = System::start().await;
    let client = client(&system.api);
    for state in State::REBUILDABLE {
        let id = in_state(state);
        let output = rebuild(&client, &[&id]).await.expect("a success");
        assert!(output.failed_requests.expect("an empty list").is_empty(), "{id}");
        assert_eq!(state_of(&client, &id).await, Some(WorkspaceState::Rebuilding), "{id}");
        assert_eq!(system.item(&id).await["PreviousState"], state.to_string());
    }
}

#[tokio::test]
async fn a_rebuild_from_any_other_state_is_a_failed_request() {
    let system = System::start().await;
    let client = client(&system.api);
    let refusing = known_states().filter(|state| !state.is_rebuildable());
    let refusing: Vec<_> = refusing.collect();
    assert_eq!(refusing.len(), 12);
    for state in refusing {
        let id = in_state(state);
        let before = system.item(&id).await;
        let message = format!(
            "WorkSpace {id} is in state {state}; \
             a rebuild is allowed only from AVAILABLE, ERROR, UNHEALTHY, STOPPED, REBOOTING"
        );
        let code = "InvalidResourceState.Workspace".to_owned();
        assert_eq!(failed(rebuild(&client, &[&id]).await), (id.clone(), code, message));
        assert_eq!(system.item(&id).await, before);
        let shown = state_of(&client, &id).await.expect("the WorkSpace");
        assert_eq!(shown.as_str(), state.to_string());
    }
}

#[tokio::test]
async fn a_rebuild_of_an_unknown_workspace_is_a_failed_request() {
    let system = System::start().await;
    let client = client(&system.api);
    let id = "ws-nobody0001";
    let code = "ResourceNotFound.Workspace".to_owned();
    let message = format!("WorkSpace {id} was not found");
    assert_eq!(failed(rebuild(&client, &[id]).await), (id.to_owned(), code, message));
    assert_eq!(state_of(&client, id).await, None);
}

#[tokio::test]
async fn the_client_reads_every_attribute_of_a_workspace() {
    let system = System::start().await;
    let item = system.item("ws-stopped0001").await;
    let request = client(&system.api).describe_workspaces().workspace_ids("ws-stopped0001");
    let output = request.send().await.expect("an answer");
    assert!(output.request_id().is_some_and(|id| !id.is_empty()));
    let [workspace] = output.workspaces() else {
        panic!("{output:?}");
    };
    for (name, value) in [
        ("WorkspaceId", workspace.workspace_id()),
        ("State", workspace.state().map(WorkspaceState::as_str)),
        ("DirectoryId", workspace.directory_id()),
        ("UserName", workspace.user_name()),
        ("BundleId", workspace.bundle_id()),
        ("SubnetId", workspace.subnet_id()),
        ("IpAddress", workspace.ip_address()),
        ("ComputerName", workspace.computer_name()),
    ] {
        assert_eq!(value, item[name].as_str(), "{name}");
    }
    let properties = workspace.workspace_properties().expect("properties");
    let known = &item["WorkspaceProperties"];
    let text = |name| known[name].as_str().expect("a text");
    assert_eq!(properties.running_mode().unwrap().as_str(), text("RunningMode"));
    assert_eq!(properties.compute_type_name().unwrap().as_str(), text("ComputeTypeName"));
    assert_eq!(properties.operating_system_name().unwrap().as_str(), text("OperatingSystemName"));
    for (name, value) in [
        ("RootVolumeSizeGib", properties.root_volume_size_gib()),
        ("UserVolumeSizeGib", properties.user_volume_size_gib()),
        (
            "RunningModeAutoStopTimeoutInMinutes",
            properties.running_mode_auto_stop_timeout_in_minutes(),
        ),
    ] {
        assert_eq!(value.map(i64::from), known[name].as_i64(), "{name}");
    }
}

#[tokio::test]
async fn invalid_values_get_the_validation_errors_of_aws() {
    let system = System::start().await;
    let client = client(&system.api);
    let is_invalid = |shown: (String, String), place: &str, constraint: &str| {
        let message = format!(
            "1 validation error detected: Value at '{place}' failed to satisfy constraint: {constraint}"
        );
        assert_eq!(shown, ("ValidationException".to_owned(), message));
    };
    let most = "Member must have length less than or equal to 1";
    let two = rebuild(&client, &[AVAILABLE, "ws-stopped0001"]).await;
    is_invalid(shown(two), "rebuildWorkspaceRequests", most);
    assert_eq!(state_of(&client, AVAILABLE).await, Some(WorkspaceState::Available));

    let pattern = "Member must satisfy regular expression pattern: ^ws-[0-9a-z]{8,63}$";
    let upper = rebuild(&client, &["ws-UPPERCASE1"]).await;
    is_invalid(shown(upper), "rebuildWorkspaceRequests.1.member.workspaceId", pattern);

    let describe = || client.describe_workspaces();
    let many = Some((0..26).map(|number| format!("ws-many{number:04}")).collect());
    let most = "Member must have length less than or equal to 25";
    is_invalid(shown(describe().set_workspace_ids(many).send().await), "workspaceIds", most);
    let least = "Member must have value greater than or equal to 1";
    is_invalid(shown(describe().limit(0).send().await), "limit", least);
    let least = "Member must have length greater than or equal to 1";
    is_invalid(shown(describe().next_token("").send().await), "nextToken", least);
}

#[tokio::test]
async fn filters_that_cannot_be_combined_get_the_modelled_error() {
    let system = System::start().await;
    let client = client(&system.api);
    let describe = || client.describe_workspaces();
    for request in [
        describe().workspace_ids(AVAILABLE).directory_id(DIRECTORY),
        describe().workspace_ids(AVAILABLE).bundle_id(BUNDLE),
        describe().workspace_ids(AVAILABLE).user_name("zoé"),
        describe().directory_id(DIRECTORY).bundle_id(BUNDLE),
        describe().user_name("zoé"),
        describe().user_name("zoé").bundle_id(BUNDLE),
        describe().workspace_name("mine").bundle_id(BUNDLE),
        describe().workspace_name("mine").workspace_ids(AVAILABLE),
        describe().workspace_name("mine").user_name("zoé"),
    ] {
        is_invalid_parameter(request).await;
    }
}

async fn is_invalid_parameter(request: DescribeWorkspacesFluentBuilder) {
    let asked = format!("{:?}", request.as_input());
    let error = request.send().await.expect_err(&asked).into_service_error();
    let DescribeWorkspacesError::InvalidParameterValuesException(error) = error else {
        panic!("{asked}: {error:?}");
    };
    assert!(error.message().is_some_and(|message| !message.is_empty()), "{asked}");
}

#[tokio::test]
async fn an_unknown_operation_is_an_error() {
    let system = System::start().await;
    let client = client(&system.api);
    for target in ["WorkspacesService.RebootWorkspaces", "Other.DescribeWorkspaces", ""] {
        let request = client.describe_workspaces().customize().mutate_request(move |request| {
            request.headers_mut().insert("x-amz-target", target);
        });
        let (code, message) = shown(request.send().await);
        assert_eq!(code, "UnknownOperationException", "{target:?}");
        assert!(message.contains("RebuildWorkspaces and DescribeWorkspaces"), "{message}");
    }
}

#[tokio::test]
async fn error_names_tell_the_client_whether_to_retry() {
    use Attempt::{Answered, Cut, LandedWithError};
    for (attempt, code, hint) in [
        (Answered(400, "ThrottlingException"), "ThrottlingException", "nothing was changed"),
        (
            Answered(400, "TransactionConflictException"),
            "ThrottlingException",
            "nothing was changed",
        ),
        (Cut, "InternalFailure", "check the WorkSpace before you retry"),
        (LandedWithError(500, "InternalServerError"), "InternalFailure", "check the WorkSpace"),
        (Answered(400, "AccessDeniedException"), "InternalFailure", "an internal error occurred"),
        (
            Answered(400, "ResourceNotFoundException"),
            "InternalFailure",
            "an internal error occurred",
        ),
    ] {
        let system = System::start().await;
        let client = client_with(&system.api, RetryConfig::disabled());
        system.wire.script(&[attempt]);
        let (shown, message) = shown(rebuild(&client, &[AVAILABLE]).await);
        assert_eq!(shown, code, "{attempt:?}");
        assert!(message.contains(hint) && !message.contains(SECRET), "{attempt:?}: {message}");
    }
    let system = System::start().await;
    let client = client_with(&system.api, RetryConfig::disabled());
    system.wire.close().await;
    let (code, message) = shown(rebuild(&client, &[AVAILABLE]).await);
    assert_eq!(code, "ServiceUnavailableException");
    assert!(message.contains("nothing was changed"), "{message}");
}

#[tokio::test]
async fn a_retry_by_the_sdk_after_a_lost_answer_succeeds() {
    let system = System::start().await;
    let front = Wire::start(&system.api).await;
    front.script(&[Attempt::Lost, Attempt::Through]);
    let client = client(&front.url);

    let output = rebuild(&client, &[AVAILABLE]).await.expect("a success");
    assert_eq!(output.failed_requests(), []);
    assert_eq!(front.operations(), ["RebuildWorkspaces", "RebuildWorkspaces"]);
    // The first attempt made the rebuild; the client got the answer to the second.
    let rebuild_item = system.item(AVAILABLE).await["Rebuild"].clone();
    assert_ne!(rebuild_item["RequestId"].as_str(), output.request_id());
    assert_eq!(system.item(AVAILABLE).await["PreviousState"], "AVAILABLE");

    // A new call is a new request, so it is refused.
    let (_, code, message) = failed(rebuild(&client, &[AVAILABLE]).await);
    assert_eq!(code, "InvalidResourceState.Workspace");
    assert!(message.contains("state REBUILDING, with a rebuild under way"), "{message}");
    assert_eq!(system.item(AVAILABLE).await["Rebuild"], rebuild_item);
}

#[tokio::test]
async fn a_retry_by_the_sdk_after_throttling_succeeds() {
    let system = System::start().await;
    // The API's DynamoDB client makes three attempts, and the SDK then retries the call.
    let throttled = Attempt::Answered(400, "ThrottlingException");
    system.wire.script(&[throttled, throttled, throttled, Attempt::Through]);
    let output = rebuild(&client(&system.api), &[AVAILABLE]).await.expect("a success");
    assert_eq!(output.failed_requests(), []);
    assert_eq!(system.wire.operations(), ["UpdateItem"; 4]);
}

#[tokio::test]
async fn describing_one_workspace_is_one_consistent_read() {
    let system = System::start().await;
    let client = client(&system.api);
    rebuild(&client, &[AVAILABLE]).await.expect("a success");
    assert_eq!(system.wire.operations(), ["UpdateItem"]);
    assert_eq!(state_of(&client, AVAILABLE).await, Some(WorkspaceState::Rebuilding));
    let [seen] = &system.wire.seen()[..] else {
        panic!("expected one request");
    };
    assert_eq!(seen.operation, "BatchGetItem");
    assert_eq!(seen.input["RequestItems"]["workspaces"]["ConsistentRead"], true);
}

#[tokio::test]
async fn a_page_of_25_costs_at_most_two_requests() {
    let system = System::start().await;
    let (all, _) = put_60_workspaces(&system).await;
    let client = client(&system.api);
    let describe = || client.describe_workspaces();
    let some = Some(all.into_iter().take(25).collect());
    for (request, costs) in [
        (describe(), &["Scan"][..]),
        (describe().set_workspace_ids(some), &["BatchGetItem"]),
        (describe().bundle_id(BUNDLE), &["Query", "BatchGetItem"]),
        (describe().workspace_name(NAME), &["Query", "BatchGetItem"]),
        (describe().directory_id(DIRECTORY), &["Query", "BatchGetItem"]),
        (describe().directory_id(DIRECTORY).user_name("else"), &["Query", "BatchGetItem"]),
    ] {
        let page = request.send().await.expect("a page");
        assert_eq!(page.workspaces().len(), 25);
        let seen = system.wire.seen();
        assert_eq!(seen.iter().map(|seen| &seen.operation).collect::<Vec<_>>(), costs);
        // WorkSpaces are read consistently, even if an index found them.
        let last = &seen.last().expect("a request").input;
        let consistent =
            [&last["ConsistentRead"], &last["RequestItems"]["workspaces"]["ConsistentRead"]];
        assert!(consistent.contains(&&Value::Bool(true)), "{last}");
    }
}

#[tokio::test]
async fn the_paginator_lists_each_of_60_workspaces_once() {
    let system = System::start().await;
    let (all, users) = put_60_workspaces(&system).await;
    let everything: BTreeSet<_> = all.union(&seeded()).cloned().collect();
    let some: BTreeSet<_> = all.iter().take(25).cloned().collect();
    let client = client(&system.api);
    let describe = || client.describe_workspaces();
    for limit in [25, 7, 1] {
        for (request, expected) in [
            (describe(), &everything),
            (describe().directory_id(DIRECTORY), &all),
            (describe().directory_id(DIRECTORY).user_name("zoé/λ"), &users),
            (describe().bundle_id(BUNDLE), &all),
            (describe().workspace_name(NAME), &all),
            (describe().set_workspace_ids(Some(some.iter().cloned().collect())), &some),
        ] {
            let asked = format!("{:?} by {limit}", request.as_input());
            let pages = pages(request, limit).await;
            let limit = usize::try_from(limit).expect("a length");
            assert!(pages.iter().all(|page| page.len() <= limit), "{asked}");
            let listed: Vec<_> = pages.into_iter().flatten().collect();
            assert_eq!(listed.len(), expected.len(), "{asked}");
            assert_eq!(&BTreeSet::from_iter(listed), expected, "{asked}");
        }
    }
}

#[tokio::test]
async fn unprocessed_keys_are_requested_again() {
    let system = System::start().await;
    let (all, _) = put_60_workspaces(&system).await;
    let some: Vec<_> = all.into_iter().take(4).collect();
    let request = client(&system.api).describe_workspaces();
    system.wire.script(&[Attempt::Partial, Attempt::Partial, Attempt::Through]);
    let page = request.set_workspace_ids(Some(some.clone())).send().await.expect("a page");
    assert_eq!(ids(&page), some);
    let seen = system.wire.seen();
    let keys = seen.iter().map(|seen| {
        assert_eq!(seen.input["RequestItems"]["workspaces"]["ConsistentRead"], true);
        seen.input["RequestItems"]["workspaces"]["Keys"].as_array().map(Vec::len)
    });
    assert_eq!(keys.collect::<Vec<_>>(), [Some(4), Some(3), Some(2)]);
}

#[tokio::test]
async fn ids_are_described_in_order_without_duplicates_or_unknown_ones() {
    let system = System::start().await;
    let request = client(&system.api).describe_workspaces();
    let request = request
        .workspace_ids("ws-stopped0001")
        .workspace_ids("ws-nobody0001")
        .workspace_ids(AVAILABLE)
        .workspace_ids("ws-stopped0001");
    assert_eq!(ids(&request.send().await.expect("a page")), ["ws-stopped0001", AVAILABLE]);
}

#[tokio::test]
async fn an_invalid_token_or_one_of_another_listing_is_refused() {
    let system = System::start().await;
    put_60_workspaces(&system).await;
    let client = client(&system.api);
    let describe = || client.describe_workspaces();
    let of_all = describe();
    let of_ids = describe().workspace_ids(AVAILABLE);
    let of_directory = describe().directory_id(DIRECTORY);
    let of_user = describe().directory_id(DIRECTORY).user_name("else");
    let of_bundle = describe().bundle_id(BUNDLE);
    let token = |request: &DescribeWorkspacesFluentBuilder| {
        let request = request.clone().limit(1).send();
        async { request.await.expect("a page").next_token.expect("there is more") }
    };
    for request in [&of_all, &of_ids, &of_directory, &of_user, &of_bundle] {
        for garbage in ["x", "ws-", "/", "ws-UPPER0001", "ws-nobody0001/", "{\"S\":\"x\"}", "\u{0}"]
        {
            is_invalid_parameter(request.clone().next_token(garbage)).await;
        }
    }
    let from_directory = token(&of_directory).await;
    for request in [&of_all, &of_ids, &of_bundle] {
        is_invalid_parameter(request.clone().next_token(&from_directory)).await;
    }
    for request in [&of_ids, &of_directory, &of_user] {
        is_invalid_parameter(request.clone().next_token(token(&of_bundle).await)).await;
    }
    // The API refuses the token before DynamoDB would reject its key as too long.
    let long = format!("{AVAILABLE}/{}", "u".repeat(1_100));
    is_invalid_parameter(of_directory.next_token(long)).await;
    // The listing of one user cannot start after a WorkSpace of another user.
    let user = describe().directory_id(DIRECTORY).user_name("zoé/λ");
    is_invalid_parameter(of_user.next_token(token(&user).await)).await;
}

#[tokio::test]
async fn each_face_sees_the_rebuilds_of_the_other() {
    let system = System::start().await;
    let client = client(&system.api);

    assert_eq!(system.send(&Ask::rebuild(AVAILABLE)).await.status, 202);
    assert_eq!(state_of(&client, AVAILABLE).await, Some(WorkspaceState::Rebuilding));
    let (_, code, _) = failed(rebuild(&client, &[AVAILABLE]).await);
    assert_eq!(code, "InvalidResourceState.Workspace");

    let stopped = "ws-stopped0001";
    rebuild(&client, &[stopped]).await.expect("a success");
    let refusal = system.send(&Ask::rebuild(stopped)).await;
    assert_eq!(
        (refusal.status, &refusal.json()["error"]["code"]),
        (409, &json!("INVALID_WORKSPACE_STATE"))
    );
    let shown = system.send(&Ask::get(&format!("/workspaces/{stopped}"))).await.data();
    assert_eq!(
        (&shown["state"], &shown["rebuild"]["status"]),
        (&json!("REBUILDING"), &json!("REQUESTED"))
    );
}

#[tokio::test]
async fn a_client_cannot_choose_the_key_of_an_sdk_call() {
    let system = System::start().await;
    let with_key = Ask::rebuild(AVAILABLE).with("idempotency-key", "5b1c");
    assert_eq!(system.send(&with_key).await.status, 202);
    let same = Ask::aws_rebuild(AVAILABLE).with("amz-sdk-invocation-id", "5b1c");
    let answer = system.send(&same).await.json();
    assert_eq!(answer["FailedRequests"][0]["ErrorCode"], "InvalidResourceState.Workspace");
}

#[tokio::test]
async fn every_answer_has_the_format_of_its_face() {
    let system = System::start().await;
    let too_large = format!("\"{}\"", "x".repeat(16 * 1024));
    let valid = r#"{"RebuildWorkspaceRequests":[{"WorkspaceId":"ws-stopped0001"}]}"#;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "\u{0}",
        "{\"RebuildWorkspaceRequests\":7}",
        &too_large,
        valid,
    ] {
        for operation in ["RebuildWorkspaces", "DescribeWorkspaces", "Nothing", ""] {
            is_aws_json(&system.send(&Ask::aws(operation, body)).await);
            let ask = Ask::aws(operation, body).without("content-type");
            is_aws_json(&system.send(&ask).await);
            let ask = Ask::aws(operation, body).without("content-type");
            is_aws_json(&system.send(&ask.with("content-type", "text/plain")).await);
        }
        let ask = Ask::aws("", body).without("x-amz-target");
        is_aws_json(&system.send(&ask).await);
        is_envelope(&system.send(&Ask::post(body)).await);
        let ask = Ask::post(body)
            .without("content-type")
            .with("content-type", "application/x-amz-json-1.0");
        is_envelope(&system.send(&ask).await);
    }
    for (method, path) in
        [("GET", "/"), ("PUT", "/"), ("POST", "/workspaces"), ("GET", "/workspaces/ws-stopped0001")]
    {
        let ask = Ask::new(method, path);
        is_envelope(&system.send(&ask).await);
        let ask = ask.with("x-amz-target", "WorkspacesService.DescribeWorkspaces");
        let answer = system.send(&ask).await;
        is_aws_json(&answer);
        assert_eq!(answer.header("x-amzn-errortype"), Some("UnknownOperationException"));
    }
}

fn is_aws_json(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"), "{answer:?}");
    assert!(answer.header("x-amzn-requestid").is_some_and(|id| !id.is_empty()), "{answer:?}");
    let body = answer.json();
    assert_eq!(body.get("success"), None, "{answer:?}");
    if answer.status == 200 {
        assert_eq!(answer.header("x-amzn-errortype"), None);
        assert!(body["FailedRequests"].is_array() || body["Workspaces"].is_array(), "{answer:?}");
    } else {
        assert_eq!(answer.header("x-amzn-errortype"), body["__type"].as_str(), "{answer:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer:?}");
    }
}

fn is_envelope(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("x-amzn-errortype"), None);
    assert_eq!(answer.json()["success"], answer.status < 300, "{answer:?}");
}
