"""Deployments with different parameters, and updates between them."""

import botocore.exceptions
import pytest

ENDPOINT = "vpce-0a1b2c3d"
ARNS = "arn:aws:iam::000000000000:user/caller,arn:aws:iam::000000000000:role/desk"
COMBINATIONS = {
    "defaults": {},
    "real fleet": {"FleetMode": "AmazonWorkSpaces", "RebuildTag": "yes", "MaximumSnapshotAgeHours": "24"},
    "private": {"VpcEndpointId": ENDPOINT},
    "private without IAM": {"VpcEndpointId": ENDPOINT, "Authorization": "None"},
    "few callers": {"CallerArns": ARNS},
    "everything else": {
        "DeploymentAlarms": "Off",
        "DeploymentPreference": "AllAtOnce",
        "ApiGatewayLoggingRole": "Create",
        "AlarmTopicArn": "arn:aws:sns:us-east-1:000000000000:pager",
        "RecordLifetimeDays": "90",
        "ReservedConcurrency": "5",
        "LogRetentionDays": "30",
        "MaxConcurrentRebuilds": "0",
        "AcceptedPerHour": "10",
    },
}
# What a caller with CallerPolicy gets: for GET, and for a request to rebuild. A call from here does not
# come through the VPC endpoint.
ANSWERS = {name: (200, 202) for name in COMBINATIONS}
ANSWERS |= {"private": (403, 403), "private without IAM": (403, 403)}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_combination_deploys_and_answers(empty, name):
    empty.deploy(**COMBINATIONS[name])
    empty.running.seed()
    # Without IAM there are no policies, and nothing is signed.
    policy = empty.running.outputs.get("CallerPolicy")
    key = empty.running.user("caller", policy) if policy else None
    seen = empty.call(key, "GET", "/workspaces/ws-available0001")[0]
    asked = empty.call(key, "POST", "/workspaces/ws-available0001/rebuilds")[0]
    assert (seen, asked) == ANSWERS[name]
    assert empty.call(None, "GET", "/workspaces")[0] == 403


def test_an_update_keeps_what_is_in_the_tables(empty):
    empty.deploy()
    empty.running.seed()
    key = empty.running.user("caller", empty.running.outputs["CallerPolicy"])
    assert empty.call(key, "POST", "/workspaces/ws-available0001/rebuilds")[0] == 202
    for name in ("everything else", "few callers", "defaults"):
        empty.deploy(**COMBINATIONS[name])
        assert empty.call(key, "GET", "/workspaces/ws-available0001")[1]["data"]["state"] == "REBUILDING"
        assert empty.call(key, "POST", "/workspaces/ws-available0001/rebuilds")[0] == 409


def test_only_the_callers_of_the_parameter_may_change_anything(empty):
    empty.deploy(CallerArns=ARNS)
    empty.running.seed()
    policy = empty.running.outputs["OperatorPolicy"]
    caller, other = (empty.running.user(name, policy) for name in ("caller", "other"))
    for path in ("/workspaces/ws-available0001", "/rebuilds"):
        assert empty.call(other, "GET", path)[0] == empty.call(caller, "GET", path)[0] == 200
    rebuild = ("POST", "/workspaces/ws-available0001/rebuilds")
    protection = "/workspaces/ws-error0001/protection"
    for method, path in (rebuild, ("POST", "/"), ("PUT", protection), ("DELETE", protection)):
        assert empty.call(other, method, path)[0] == 403, (method, path)
    assert empty.call(caller, *rebuild)[0] == 202


@pytest.mark.parametrize(
    "parameters, rule",
    [
        ({"Authorization": "None"}, "NoneNeedsAnEndpoint"),
        ({"Authorization": "None", "VpcEndpointId": ENDPOINT, "CallerArns": ARNS}, "CallersNeedIam"),
    ],
)
def test_a_combination_that_would_be_wrong_is_refused(empty, parameters, rule):
    with pytest.raises(botocore.exceptions.ClientError, match=f"rule {rule} failed"):
        empty.deploy(**parameters)
