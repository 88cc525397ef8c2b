"""What boto3 shows its user. (boto3 also parses each field of an answer by its own model.)"""

import functools

import botocore.exceptions
import pytest
from break_request import change
from conftest import CBOR, JSON, SAMPLES, boto3_client
from contract import DESCRIBE, REBUILD, REFUSING, ROWS, UNKNOWN_ID, failed_request

AVAILABLE = "ws-available0001"


@pytest.fixture(params=[JSON, CBOR])
def connect(request):
    """Makes a client for a URL. Each test runs over both protocols."""
    return functools.partial(boto3_client, protocol=request.param)


def rebuild(client, *ids):
    answer = client.rebuild_workspaces(RebuildWorkspaceRequests=[{"WorkspaceId": id} for id in ids])
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["ResponseMetadata"]["RequestId"]
    return answer["FailedRequests"]


def states(client, **filters):
    workspaces = client.describe_workspaces(**filters)["Workspaces"]
    return {workspace["WorkspaceId"]: workspace["State"] for workspace in workspaces}


def test_an_accepted_rebuild_is_visible(connect, local):
    client = connect(local.url)
    assert rebuild(client, AVAILABLE) == []
    assert states(client, WorkspaceIds=[AVAILABLE]) == {AVAILABLE: "REBUILDING"}
    [again] = rebuild(client, AVAILABLE)
    assert again["ErrorCode"] == "InvalidResourceState.Workspace"
    assert again["ErrorMessage"].startswith(
        f"WorkSpace {AVAILABLE} is in state REBUILDING, with a rebuild under way; "
    )


def test_an_unknown_id_is_a_failed_request(connect, shared):
    client = connect(shared.url)
    assert rebuild(client, UNKNOWN_ID["WorkspaceId"]) == [UNKNOWN_ID]
    assert states(client, WorkspaceIds=[UNKNOWN_ID["WorkspaceId"]]) == {}


@pytest.mark.parametrize("state", REFUSING)
def test_a_wrong_state_is_a_failed_request(connect, shared, state):
    expected = failed_request(state)
    client = connect(shared.url)
    assert rebuild(client, expected["WorkspaceId"]) == [expected]
    assert states(client, WorkspaceIds=[expected["WorkspaceId"]]) == {expected["WorkspaceId"]: state}


def test_a_retry_by_boto3_after_a_lost_answer_succeeds(connect, local, relay):
    relay.fault, relay.once = "lost", True
    assert rebuild(connect(relay.url, attempts=2), AVAILABLE) == []
    assert relay.seen == [REBUILD] * 2
    [again] = rebuild(connect(local.url), AVAILABLE)
    assert again["ErrorCode"] == "InvalidResourceState.Workspace"


def test_a_retry_by_boto3_after_a_fault_succeeds(connect, faulty):
    relay = faulty.dynamodb_relay
    relay.fault = (400, "ThrottlingException")
    client = connect(faulty.url, attempts=2)
    client.meta.events.register("needs-retry.workspaces", lambda **_: setattr(relay, "fault", None))
    try:
        assert states(client, WorkspaceIds=[AVAILABLE]) == {AVAILABLE: "AVAILABLE"}
    finally:
        relay.fault = None


def test_paging_lists_every_workspace_once(connect, shared):
    client = connect(shared.url)
    pages = client.get_paginator("describe_workspaces")
    everything = states(client)
    assert len(everything) == SAMPLES
    for filters in [
        {},
        {"DirectoryId": "d-906700a1b2"},
        {"DirectoryId": "d-906700a1b2", "UserName": "ana.silva"},
        {"BundleId": "wsb-0a1b2c3d4"},
        {"WorkspaceName": "build-desk-1"},
        {"WorkspaceIds": list(everything)},
    ]:
        listed = [
            workspace
            for page in pages.paginate(**filters, PaginationConfig={"PageSize": 2})
            for workspace in page["Workspaces"]
        ]
        wanted = {name: value for name, value in filters.items() if name != "WorkspaceIds"}
        assert listed and all(wanted.items() <= workspace.items() for workspace in listed)
        assert {workspace["WorkspaceId"]: workspace["State"] for workspace in listed} == states(
            client, **filters
        )
        assert len({workspace["WorkspaceId"] for workspace in listed}) == len(listed)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.operation}: {row.name}")
def test_each_error_is_shown(connect, api, row):
    client = connect(api.url, attempts=1 if row.fault else 3)
    request, message = (row.body, row.headers, "/"), row.message
    if client.meta.service_model.resolved_protocol == CBOR:
        path, headers, body, message = row.in_cbor()
        request = body, headers, path
    client.meta.events.register(
        "before-call.workspaces", lambda params, **_: change(params, *request)
    )
    calls = {
        REBUILD: lambda: rebuild(client, AVAILABLE),
        DESCRIBE: lambda: client.describe_workspaces(),
    }
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        calls[row.operation]()
    status, code = row.error
    # Errors in boto3's model of WorkSpaces have their own class.
    has_class = code in ("ValidationException", "InvalidParameterValuesException")
    assert raised.type.__name__ == (code if has_class else "ClientError")
    error = raised.value
    assert error.response["Error"] == {"Code": code, "Message": message}
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error.response["ResponseMetadata"]["RequestId"]
    assert error.response["ResponseMetadata"]["RetryAttempts"] == 0
    assert str(error) == row.shown.replace(row.message, message)


@pytest.mark.parametrize("ids", [[AVAILABLE, "ws-stopped0001"], ["ws-UPPERCASE1"]])
def test_the_api_checks_limits_that_boto3_does_not_check(connect, shared, ids):
    client = connect(shared.url)
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        rebuild(client, *ids)
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    assert states(client, WorkspaceIds=[AVAILABLE]) == {AVAILABLE: "AVAILABLE"}
