"""Signed raw requests: no client checks the input or interprets the answer."""

import http.client
import json
import urllib.parse

import cbor2
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import REGION
from contract import LIMIT, ROWS, VALID


def send(url, body, headers, method="POST", path="/", decode=json.loads):
    request = AWSRequest(method, url + path, data=body, headers=headers)
    SigV4Auth(Credentials("test", "test"), "workspaces", REGION).add_auth(request)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
    connection.request(method, path, body, dict(request.headers))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, decode(body)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.operation}: {row.name}")
def test_each_error_has_its_status_headers_and_body(api, row):
    answer, body = send(api.url, row.body, row.headers)
    status, name = row.error
    assert (answer.status, body) == (status, {"__type": name, "message": row.message})
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert answer.headers["x-amzn-errortype"] == name
    assert answer.headers["x-amzn-requestid"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.operation}: {row.name}")
def test_each_error_in_cbor(api, row):
    path, headers, body, message = row.in_cbor()
    answer, body = send(api.url, body, headers, path=path, decode=cbor2.loads)
    status, name = row.error
    shape = f"com.amazonaws.workspaces#{name}"
    assert (answer.status, body) == (status, {"__type": shape, "message": message})
    assert answer.headers["content-type"] == "application/cbor"
    assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
    assert answer.headers["x-amzn-requestid"]
    assert "x-amzn-errortype" not in answer.headers


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.operation}: {row.name}")
def test_the_same_body_without_an_aws_header_gets_an_envelope(api, row):
    answer, body = send(api.url, row.body, {"content-type": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert "x-amzn-errortype" not in answer.headers
    if row.body == json.dumps(VALID).encode() and not row.fault:
        # The target is the only error of this row, and this face ignores it.
        assert (answer.status, body["success"]) in [(202, True), (409, False)]
    else:
        assert (answer.status >= 400, body["success"]) == (True, False)


@pytest.mark.parametrize("method, path", [("GET", "/"), ("POST", "/workspaces"), ("PUT", "/")])
def test_an_aws_request_to_another_path_gets_an_aws_error(shared, method, path):
    headers = {"x-amz-target": "WorkspacesService.DescribeWorkspaces"}
    answer, body = send(shared.url, b"{}", headers, method, path)
    assert (answer.status, body["__type"]) == (400, "UnknownOperationException")
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"


def test_the_largest_body_with_unknown_fields_is_accepted(local):
    body = json.dumps({**VALID, "Unknown": {"Field": [1, None]}}).encode().ljust(LIMIT)
    headers = {"x-amz-target": "WorkspacesService.RebuildWorkspaces"}
    answer, body = send(local.url, body, headers)
    assert (answer.status, body) == (200, {"FailedRequests": []})
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert answer.headers["x-amzn-requestid"]
    assert "x-amzn-errortype" not in answer.headers


def test_the_invocation_id_is_the_key(local):
    headers = {"x-amz-target": "WorkspacesService.RebuildWorkspaces"}
    ask = lambda id: send(local.url, json.dumps(VALID), {**headers, "amz-sdk-invocation-id": id})[1]
    assert ask("one") == {"FailedRequests": []}
    assert ask("one") == {"FailedRequests": []}
    assert ask("two")["FailedRequests"][0]["ErrorCode"] == "InvalidResourceState.Workspace"
    assert ask(" ")["__type"] == "ValidationException"
    assert ask("i" * 256)["__type"] == "ValidationException"
