"""What the aws CLI shows its user: output, error output, exit status."""

import base64
import json
import pathlib

import pytest
from conftest import SAMPLES, aws
from contract import DESCRIBE, REBUILD, REFUSING, ROWS, UNKNOWN_ID, failed_request

AVAILABLE = "ws-available0001"
COMMANDS = {
    REBUILD: ["rebuild-workspaces", "--rebuild-workspace-requests", AVAILABLE],
    DESCRIBE: ["describe-workspaces"],
}


def output(ended):
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def rebuild(url, id, **environment):
    arguments = ["rebuild-workspaces", "--rebuild-workspace-requests", id]
    return output(aws(url, *arguments, **environment))


def describe(url, *arguments):
    workspaces = output(aws(url, "describe-workspaces", *arguments))["Workspaces"]
    return {workspace["WorkspaceId"]: workspace["State"] for workspace in workspaces}


def test_a_rebuild_is_accepted_and_shows(local):
    assert rebuild(local.url, AVAILABLE) == {"FailedRequests": []}
    assert describe(local.url, "--workspace-ids", AVAILABLE) == {AVAILABLE: "REBUILDING"}


def test_unknown_id(shared):
    assert rebuild(shared.url, UNKNOWN_ID["WorkspaceId"]) == {"FailedRequests": [UNKNOWN_ID]}


@pytest.mark.parametrize("state", REFUSING)
def test_wrong_state(shared, state):
    expected = failed_request(state)
    assert rebuild(shared.url, expected["WorkspaceId"]) == {"FailedRequests": [expected]}


def test_a_retry_of_its_own_after_a_lost_answer_is_a_success(local, relay):
    relay.fault, relay.once = "lost", True
    assert rebuild(relay.url, AVAILABLE, AWS_MAX_ATTEMPTS="2") == {"FailedRequests": []}
    assert relay.seen == [REBUILD] * 2


def test_paging(shared):
    everything = describe(shared.url)
    assert len(everything) == SAMPLES
    assert describe(shared.url, "--page-size", "5") == everything
    directory = describe(shared.url, "--directory-id", "d-906700a1b2", "--page-size", "2")
    assert directory == describe(shared.url, "--directory-id", "d-906700a1b2")
    assert directory.items() < everything.items()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.operation}: {row.name}")
def test_error(api, row, tmp_path):
    config = tmp_path / "config"
    config.write_text("[plugins]\nbreak_request = break_request\n")
    broken = {"body": base64.b64encode(row.body).decode(), "headers": row.headers}
    ended = aws(
        api.url,
        *COMMANDS[row.operation],
        AWS_CONFIG_FILE=str(config),
        PYTHONPATH=str(pathlib.Path(__file__).parent),
        BREAK_REQUEST=json.dumps(broken),
        **({"AWS_MAX_ATTEMPTS": "1"} if row.fault else {}),
    )
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (255, "", row.shown)


@pytest.mark.parametrize("ids", [[AVAILABLE, "ws-stopped0001"], ["ws-UPPERCASE1"]])
def test_limits_that_the_cli_does_not_check(shared, ids):
    ended = aws(shared.url, "rebuild-workspaces", "--rebuild-workspace-requests", *ids)
    assert (ended.returncode, ended.stdout) == (255, "")
    error = "An error occurred (ValidationException) when calling the RebuildWorkspaces operation: "
    assert error in ended.stderr
    assert describe(shared.url, "--workspace-ids", AVAILABLE) == {AVAILABLE: "AVAILABLE"}
