"""Deployments with different parameters, and updates between them."""

import re

import account
import botocore.exceptions
import pytest
from conftest import ROOT, architecture
from page import ADMINISTRATOR, commands, run
from samtranslator.yaml_helper import yaml_parse

ENDPOINT = "vpce-0a1b2c3d"
ARNS = "arn:aws:iam::000000000000:user/caller,arn:aws:iam::000000000000:role/desk"
REAL = {"FleetMode": "AmazonWorkSpaces", "AlarmTopicArn": "arn:aws:sns:us-east-1:000000000000:pager"}
COMBINATIONS = {
    "defaults": {},
    "real fleet": {**REAL, "RebuildTag": "yes", "MaximumSnapshotAgeHours": "24"},
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
        ({"FleetMode": "AmazonWorkSpaces"}, "RealWorkSpacesNeedAlarms"),
    ],
)
def test_a_combination_that_would_be_wrong_is_refused(empty, parameters, rule):
    with pytest.raises(botocore.exceptions.ClientError, match=f"rule {rule} failed"):
        empty.deploy(**parameters)


# Values of the parameters that are numbers: the least and the greatest.
NUMBERS = {
    "MaxConcurrentRebuilds": (0, 10000),
    "MaxRebuildsPerDay": (0, 100000),
    "WorkspacesCallsPerSecond": (1, 999),
    "MaximumSnapshotAgeHours": (0, 8760),
    "HandOverDeadlineHours": (1, 8760),
    "ReservedConcurrency": (-1, 10000),
    "AcceptedPerHour": (1, 100000),
}


def test_a_number_has_a_least_and_a_greatest_value():
    parameters = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]
    numbers = {name for name, found in parameters.items() if "whole number" in found.get("ConstraintDescription", "")}
    patterns = {name: parameters[name]["AllowedPattern"] for name in numbers}
    assert set(patterns) == set(NUMBERS)
    for name, (least, greatest) in NUMBERS.items():
        values = range(least - 20, greatest + 2000)
        fitting = {value for value in values if re.fullmatch(patterns[name], str(value))}
        assert fitting == set(range(least, greatest + 1)), name
        for wrong in ("2.5", "1e2", "01", "+1", " 1", "1\n", "", "-0"):
            assert not re.fullmatch(patterns[name], wrong), (name, wrong)


@pytest.mark.parametrize("value", ["2.5", "-3", "10001", "many"])
def test_a_wrong_number_is_refused(empty, value):
    with pytest.raises(botocore.exceptions.ClientError, match="whole number from 0 to 10000"):
        empty.deploy(MaxConcurrentRebuilds=value)


def test_a_second_stack_for_real_workspaces_is_refused(empty):
    stack = empty
    stack.deploy(**REAL)
    stack.running.seed()
    first = dict(stack.running.outputs)
    api = stack.running.api
    # On its own, and as an update of a simulated one.
    with pytest.raises(botocore.exceptions.WaiterError):
        stack.deploy(stack="second", **REAL)
    assert "OnlyStack" in failures(stack, "second") and "AlreadyExists" in failures(stack, "second")
    stack.running.delete("second")
    stack.deploy(stack="second")
    simulated = stack.running.outputs["FollowFunction"]
    with pytest.raises(botocore.exceptions.WaiterError):
        stack.deploy(stack="second", **REAL)
    function = stack.running.client("lambda").get_function_configuration(FunctionName=simulated)
    assert function["Environment"]["Variables"]["FLEET_MODE"] == "Simulated"

    # The first is unharmed.
    stack.running.outputs, stack.running.api = first, api
    [value] = stack.running.client("ssm").get_parameters(Names=["/rebuild-workspaces/stack"])["Parameters"]
    assert "/rebuild-workspaces/" in value["Value"]
    key = stack.running.user("caller", first["CallerPolicy"])
    assert stack.call(key, "POST", "/workspaces/ws-available0001/rebuilds")[0] == 202

    # Once it is gone, the second gets in.
    stack.running.delete()
    stack.deploy(stack="second", **REAL)
    [value] = stack.running.client("ssm").get_parameters(Names=["/rebuild-workspaces/stack"])["Parameters"]
    assert "/second/" in value["Value"]


def failures(stack, name):
    """Why resources of a stack failed."""
    events = stack.running.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    return str([(event["LogicalResourceId"], event.get("ResourceStatusReason")) for event in failed])


def test_an_update_is_rolled_back(empty, tmp_path):
    """The function that follows, by a deployment of the release before; the API function, by its alias."""
    stack = empty
    stack.deploy()
    stack.running.seed()
    key = stack.running.user("operator", stack.running.outputs["OperatorPolicy"])
    functions = stack.running.client("lambda")
    rebuild, follow = (stack.running.outputs[name] for name in ("RebuildFunction", "FollowFunction"))

    def code():
        live = functions.get_function_configuration(FunctionName=rebuild, Qualifier="live")
        return live["CodeSha256"], functions.get_function_configuration(FunctionName=follow)["CodeSha256"]

    before = code()
    newer = {}
    for name, program in account.built_by_sam().items():
        newer[name] = tmp_path / name
        newer[name].write_bytes(program.read_bytes() + b"\0")
    stack.deploy(bootstraps=newer)
    updated = code()
    assert updated[0] != before[0] and updated[1] != before[1]

    [script] = commands("### Roll back", "\n### ")
    listed, update = script.replace("FUNCTION", rebuild).split("aws lambda update-alias")
    versions = [line.split() for line in run(stack, ADMINISTRATOR, listed).splitlines()]
    assert [version[0] for version in versions] == ["$LATEST", "1", "2"]
    described = ["FleetMode=Simulated", "MaxRebuildsPerDay=500", f"Architecture={architecture()}"]
    assert versions[1][2:] == described
    run(stack, ADMINISTRATOR, "aws lambda update-alias" + update.replace("VERSION", "1"))
    assert code() == (before[0], updated[1])
    assert stack.call(key, "POST", "/workspaces/ws-available0001/rebuilds")[0] == 202

    assert stack.call(key, "PUT", "/pause")[0] == 200
    stack.deploy()
    assert code() == before
    assert stack.running.follow() is None
    rebuild = stack.call(key, "GET", "/workspaces/ws-available0001")[1]["data"]["rebuild"]
    assert rebuild["status"] == "REQUESTED"
    assert stack.call(key, "DELETE", "/pause")[0] == 200
    assert stack.running.follow() is None
    assert stack.call(key, "GET", "/workspaces/ws-available0001")[1]["data"]["rebuild"]["status"] == "STARTED"
