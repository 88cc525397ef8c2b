"""Deployments that change nothing but parameters. The functions have the new ones, and nothing helps."""

import datetime

from conftest import Fleet, server

REAL = {"FleetMode": "AmazonWorkSpaces", "AlarmTopicArn": "arn:aws:sns:us-east-1:000000000000:pager"}
NOW = datetime.datetime.now(datetime.UTC)
FRESH, STALE = NOW - datetime.timedelta(hours=1), NOW - datetime.timedelta(hours=30)


def configuration(stack, function, **qualifier):
    name = stack.running.outputs[function]
    return stack.running.client("lambda").get_function_configuration(FunctionName=name, **qualifier)


def variables(stack, function, **qualifier):
    return configuration(stack, function, **qualifier)["Environment"]["Variables"]


def test_the_next_pass_has_the_other_fleet_the_cap_and_the_age(empty):
    stack = empty
    snapshots = {"ws-available0001": FRESH, "ws-error0001": STALE, "ws-stopped0001": FRESH, "ws-unhealthy0001": FRESH}
    fleet = Fleet(snapshots)
    with server(fleet.answer) as stack.running.fleet:
        stack.deploy()
        stack.running.seed()
        key = stack.running.user("operator", stack.running.outputs["OperatorPolicy"])

        def ask(id):
            status, answer = stack.call(key, "POST", f"/workspaces/{id}/rebuilds")
            assert status == 202, answer
            return f"/workspaces/{id}/rebuilds/{answer['data']['id']}"

        read = lambda path: stack.call(key, "GET", path)[1]["data"]
        first = configuration(stack, "RebuildFunction", Qualifier="live")
        assert first["Environment"]["Variables"]["FLEET_MODE"] == "Simulated"
        simulated = ask("ws-available0001")

        stack.deploy(**REAL, MaxConcurrentRebuilds="0", MaximumSnapshotAgeHours="24")
        live = configuration(stack, "RebuildFunction", Qualifier="live")
        assert live["Environment"]["Variables"]["FLEET_MODE"] == "AmazonWorkSpaces"
        # The version before is still there, to roll back to.
        assert live["Version"] != first["Version"]
        old = configuration(stack, "RebuildFunction", Qualifier=first["Version"])
        assert old["Environment"] == first["Environment"]
        wanted = {"MAX_CONCURRENT_REBUILDS": "0", "MAXIMUM_SNAPSHOT_AGE_HOURS": "24", "FLEET_MODE": "AmazonWorkSpaces"}
        assert variables(stack, "FollowFunction").items() >= wanted.items()
        assert variables(stack, "SyncFunction")["FLEET_MODE"] == "AmazonWorkSpaces"

        # The other fleet's rebuild ends, and the cap holds.
        waiting = ask("ws-stopped0001")
        assert stack.running.follow() is None
        assert read(simulated)["error"]["code"] == "FLEET_CHANGED"
        assert read(waiting)["status"] == "REQUESTED"
        assert fleet.rebuilt == []

        stack.deploy(**REAL, MaxConcurrentRebuilds="1", MaximumSnapshotAgeHours="24")
        stale, second = ask("ws-error0001"), ask("ws-unhealthy0001")
        for _ in range(2):
            assert stack.running.follow() is None
        assert fleet.rebuilt == ["ws-stopped0001"]
        assert read(waiting)["status"] == "STARTED"
        assert read(second)["status"] == "REQUESTED"

        stack.deploy(**REAL, MaximumSnapshotAgeHours="24")
        for _ in range(2):
            assert stack.running.follow() is None
        assert fleet.rebuilt == ["ws-stopped0001", "ws-unhealthy0001"]
        assert read(stale)["error"]["code"] == "SNAPSHOT_TOO_OLD"
