"""Alarms: each names its section of the guide, and has a metric that the log lines of the functions give."""

import datetime
import json
import re

import account
import pytest
from conftest import ROOT, Fleet, Stack, server
from page import OPERATIONS
from samtranslator.yaml_helper import yaml_parse
from test_parameters import REAL

RESOURCES = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
ALARMS = {name: found["Properties"] for name, found in RESOURCES.items() if found["Type"] == "AWS::CloudWatch::Alarm"}
FILTERS = {
    transformation["MetricName"]: (found["Properties"], transformation)
    for found in RESOURCES.values() if found["Type"] == "AWS::Logs::MetricFilter"
    for transformation in found["Properties"]["MetricTransformations"]
}


def own_metrics(alarm):
    """The metrics that the stack's log lines give, and this alarm uses."""
    metrics = [entry["MetricStat"]["Metric"] for entry in alarm.get("Metrics", []) if "MetricStat" in entry]
    return [metric for metric in metrics or [alarm] if metric["Namespace"] == {"Ref": "AWS::StackName"}]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_names_its_section(name):
    headings = re.findall(r"^#+ (.+)$", OPERATIONS.partition("## Alarms")[2], re.M)
    anchor = re.search(r"docs/operations\.md#(\S+)$", ALARMS[name]["AlarmDescription"])[1]
    assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    actions = ALARMS[name]["AlarmActions"]
    assert actions == ALARMS[name]["OKActions"] and {"Ref": "AlarmTopicArn"} in actions["Fn::If"][1]


@pytest.mark.parametrize("name", ["FollowHeartbeatAlarm", "SyncHeartbeatAlarm"])
def test_a_heartbeat_that_stops_is_an_alarm(name):
    assert ALARMS[name]["TreatMissingData"] == "breaching"
    assert (ALARMS[name]["Statistic"], ALARMS[name]["ComparisonOperator"]) == ("SampleCount", "LessThanThreshold")


def matches(pattern, line):
    """Whether a metric filter's pattern matches a line. ministack takes every line."""
    for term in pattern.strip("{ }").split(" && "):
        name, operator, wanted = re.fullmatch(r"\$\.(\w+) (=|IS) (.+)", term).groups()
        if line.get(name) != json.loads(wanted if operator == "=" else wanted.lower()):
            return False
    return True


def values(stack, metric, dimensions=()):
    """What a metric gets from the lines that the functions have written so far."""
    properties, transformation = FILTERS[metric]
    group = stack.running.client("cloudformation").describe_stack_resource(
        StackName="rebuild-workspaces", LogicalResourceId=properties["LogGroupName"]["Ref"]
    )["StackResourceDetail"]["PhysicalResourceId"]
    pages = stack.running.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    messages = [event["message"] for page in pages for event in page["events"]]
    lines = [json.loads(message) for message in messages if message.startswith("{")]
    keys = {dimension["Key"]: dimension["Value"] for dimension in transformation.get("Dimensions", [])}
    assert {dimension["Name"] for dimension in dimensions} <= set(keys)
    read = lambda line, value: line[value[2:]] if value.startswith("$.") else json.loads(value)
    return [
        read(line, transformation["MetricValue"]) for line in lines
        if matches(properties["FilterPattern"], line)
        and all(read(line, keys[dimension["Name"]]) == dimension["Value"] for dimension in dimensions)
    ]


@pytest.fixture(scope="module")
def troubled():
    """A stack in which what the alarms are for has happened."""
    now = datetime.datetime.now(datetime.UTC)
    with account.account() as running, server(Fleet({"ws-available0001": now}).answer) as running.fleet:
        stack = Stack(running)
        stack.deploy()
        running.seed()
        stack.put([f"ws-gone{number:06}" for number in range(20)])
        key = running.user("operator", running.outputs["OperatorPolicy"])
        assert stack.call(key, "POST", "/workspaces/ws-error0001/rebuilds")[0] == 202
        assert running.follow() is None
        # One that was handed over to the other fleet ends as UNKNOWN.
        stack.deploy(**REAL)
        assert running.follow() is None
        sync = {"FunctionName": running.outputs["SyncFunction"], "Payload": b'{"schedule":"sync"}'}
        assert "FunctionError" in running.client("lambda").invoke(**sync)
        database = running.client("dynamodb")
        database.put_item(TableName=running.outputs["RebuildsTable"], Item={
            "WorkspaceId": {"S": "ws-0a1b2c3d4"}, "RebuildId": {"S": "no id"},
        })
        running.announce(attempts=1)
        assert stack.call(key, "PUT", "/pause")[0] == 200
        running.follow()
        yield stack


# Here enough of it has happened for these to go off.
TROUBLE = {"UnknownAlarm", "ListingShrankAlarm", "NotAnnouncedAlarm", "PausedAlarm"}
STATISTICS = {"Sum": sum, "Maximum": max}


@pytest.mark.parametrize("name", [name for name in ALARMS if own_metrics(ALARMS[name])])
def test_the_lines_give_the_metric_of_an_alarm(troubled, name):
    alarm = ALARMS[name]
    for metric in own_metrics(alarm):
        found = values(troubled, metric["MetricName"], metric.get("Dimensions", []))
        assert found and all(type(value) in (int, float) for value in found)
        if name in TROUBLE:
            statistic = STATISTICS[alarm.get("Statistic", "Sum")]
            assert statistic(found) >= alarm["Threshold"], "the alarm would not go off"
