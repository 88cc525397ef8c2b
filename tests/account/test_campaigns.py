"""Campaigns, with the commands and policies of docs/campaigns.md and docs/operations.md."""

import contextlib
import itertools
import json
import re
import subprocess
import sys
import threading
import time

import pytest
from account import STACK
from conftest import FIGURES, ROOT, Queue, forwarded, server
from page import ADMINISTRATOR, OPERATIONS, commands, run

PAGE = (ROOT / "docs/campaigns.md").read_text()
VARIABLES = commands("## Start", page=PAGE)[1]
OPEN = ("REQUESTED", "STARTED")


class Campaigns:
    """Runs campaigns in the emulated account."""

    def __init__(self, stack):
        self.stack, self.states = stack, stack.running.client("stepfunctions")
        self.machine = stack.running.outputs["RebuildCampaign"]

    def arn(self, name):
        return self.machine.replace(":stateMachine:", ":execution:") + f":{name}"

    def start(self, name, **input):
        FIGURES["campaigns"] += 1
        self.states.start_execution(stateMachineArn=self.machine, name=name, input=json.dumps(input))

    def ended(self, name):
        """Waits for the end of a campaign; returns its description. The reconciler runs meanwhile."""
        give_up = time.monotonic() + 300
        while (execution := self.states.describe_execution(executionArn=self.arn(name)))["status"] == "RUNNING":
            assert time.monotonic() < give_up, f"{name} does not end"
            assert self.stack.running.follow() is None
        return execution

    def run(self, name, **input):
        self.start(name, **input)
        return self.ended(name)

    def rebuilds(self, name):
        """The rebuilds that a campaign requested, from the table of WorkSpaces."""
        table = self.stack.running.outputs["WorkspacesTable"]
        pages = self.stack.running.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        items = [item for page in pages for item in page["Items"]]
        rebuilds = [{**item["Rebuild"]["M"], "WorkspaceId": item["WorkspaceId"]} for item in items if "Rebuild" in item]
        return [rebuild for rebuild in rebuilds if rebuild.get("RequestedBy") == {"S": self.arn(name)}]

    def open(self, name):
        return sum(rebuild["Status"]["S"] in OPEN for rebuild in self.rebuilds(name))

    def objects(self, name):
        """The objects of a campaign by their keys, without its name."""
        storage, bucket = self.stack.running.client("s3"), self.stack.running.outputs["CampaignBucket"]
        pages = storage.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{name}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        read = lambda key: json.load(storage.get_object(Bucket=bucket, Key=key)["Body"])
        return {key.removeprefix(f"{name}/"): read(key) for key in keys}

    def ends(self, name):
        """How each rebuild ended, according to the report."""
        return [row for key, row in self.objects(name).items() if key.startswith("rebuilds/")]

    def records(self, id):
        return self.stack.call(self.stack.operator, "GET", f"/workspaces/{id}/rebuilds")[1]["data"]["rebuilds"]


@pytest.fixture(scope="module")
def campaigns(stack):
    stack.running.set_variables("FollowFunction", FLEET_REBUILD_SECONDS="1")
    return Campaigns(stack)


def fails(id):
    """Whether the simulated fleet fails to rebuild this WorkSpace."""
    return sum(id.encode()) % 8 == 7


def ids(prefix, count, failing):
    """Ids of which none fail, or every eighth."""
    candidates = (f"ws-{prefix}{number:06}" for number in range(8 * count))
    good = [id for id in candidates if not fails(id)]
    if not failing:
        return good[:count]
    bad = [id for id in (f"ws-{prefix}{number:06}" for number in range(80 * count)) if fails(id)]
    return [bad[number // 8] if number % 8 == 3 else good[number] for number in range(count)]


def script(campaigns, *arguments, answer="", code=0):
    """Runs scripts/campaign; returns what it prints. The reconciler runs meanwhile."""
    running = campaigns.stack.running
    environment = {
        "AWS_ENDPOINT_URL": running.url, "AWS_DEFAULT_REGION": "us-east-1", "COLUMNS": "200",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }
    program = subprocess.Popen(
        [sys.executable, ROOT / "scripts/campaign", *arguments], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    program.stdin.write(answer)
    program.stdin.close()
    while program.poll() is None:
        assert running.follow() is None
    printed = program.stdout.read()
    assert program.returncode == code, printed
    return printed


def test_a_campaign_rebuilds_ten_at_a_time_and_reports_what_is_on_record(campaigns):
    wanted = ids("three", 300, failing=False)
    campaigns.stack.put(wanted)
    campaigns.start("three-hundred", Select={"WorkspaceIds": wanted}, Reason="image 2026-11")
    most, done = 0, threading.Event()

    def count():
        nonlocal most
        while not done.is_set():
            most = max(most, campaigns.open("three-hundred"))

    counting = threading.Thread(target=count)
    counting.start()
    execution = campaigns.ended("three-hundred")
    done.set()
    counting.join()
    assert execution["status"] == "SUCCEEDED"
    assert json.loads(execution["output"])["Counts"] == {"SUCCEEDED": 300}
    assert 5 <= most <= 10
    [run] = campaigns.states.list_map_runs(executionArn=campaigns.arn("three-hundred"))["mapRuns"]
    assert campaigns.states.describe_map_run(mapRunArn=run["mapRunArn"])["maxConcurrency"] == 10
    ends = campaigns.ends("three-hundred")
    assert {end["workspace_id"] for end in ends} == set(wanted)
    for end in ends:
        assert campaigns.records(end["workspace_id"]) == [end]
        assert (end["reason"], end["requested_by"]) == ("image 2026-11", campaigns.arn("three-hundred"))
    FIGURES["rebuilds of campaigns"] += len(ends)


def test_a_campaign_stops_when_too_many_fail_and_goes_on_when_redriven(campaigns):
    wanted = ids("fail", 80, failing=True)
    bad = {id for id in wanted if fails(id)}
    assert len(bad) == 10
    campaigns.stack.put(wanted, BundleId="wsb-fails0001")
    execution = campaigns.run("fails", Select={"BundleId": "wsb-fails0001"})
    assert (execution["status"], execution["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    asked = campaigns.rebuilds("fails")
    # Five of 80 are more than 5 %. Those that were open beside the fifth may have failed as well.
    assert 5 <= len(bad & {rebuild["WorkspaceId"]["S"] for rebuild in asked}) and len(asked) < 70
    while campaigns.open("fails"):
        assert campaigns.stack.running.follow() is None
    assert len(campaigns.rebuilds("fails")) == len(asked)

    redrive = VARIABLES + commands("## Go on after a stop", page=PAGE)[0]
    for _ in range(2):
        # The second half of the failures may stop it once more.
        if campaigns.ended("fails")["status"] == "FAILED":
            run(campaigns.stack, ADMINISTRATOR, redrive.replace("NAME=image-2026-11", "NAME=fails"))
    assert json.loads(campaigns.ended("fails")["output"])["Counts"] == {"SUCCEEDED": 70, "FAILED": 10}
    for id in wanted:
        assert [rebuild["requested_by"] for rebuild in campaigns.records(id)] == [campaigns.arn("fails")]

    printed = script(campaigns, "--retry", "fails", "--name", "again", "--tolerate", "100", answer="10\n", code=1)
    assert "10 FAILED" in printed
    for id in wanted:
        assert len(campaigns.records(id)) == (2 if id in bad else 1)
    # Once more by mistake: those have been rebuilt since.
    printed = script(campaigns, "--retry", "fails", code=2)
    assert "To rebuild: 0" in printed and "REBUILT_SINCE: " in printed


def test_a_stopped_campaign_is_repeated_without_what_may_have_been_wiped(campaigns):
    wanted = ids("stop", 20, failing=False)
    campaigns.stack.put(wanted)
    campaigns.start("stopped", Select={"WorkspaceIds": wanted}, MaxConcurrency=5)
    while campaigns.open("stopped") < 5:
        pass
    stop = VARIABLES + commands("## Stop", page=PAGE)[0]
    run(campaigns.stack, ADMINISTRATOR, stop.replace("NAME=image-2026-11", "NAME=stopped"))
    report = script(campaigns, "--watch", "stopped", code=1)
    assert report.startswith("Campaign stopped\n")
    assert "15 NOT_REQUESTED" in report and "5 NO_END" in report
    asked = {rebuild["WorkspaceId"]["S"] for rebuild in campaigns.rebuilds("stopped")}
    assert len(asked) == 5
    printed = script(campaigns, "--retry", "stopped", "--name", "rest", answer="15\n")
    assert "To rebuild: 15\n" in printed and "Left out: 0\n" in printed and "15 SUCCEEDED" in printed
    assert all(id in printed for id in asked)
    assert {rebuild["WorkspaceId"]["S"] for rebuild in campaigns.rebuilds("rest")} == set(wanted) - asked


def test_campaigns_that_overlap_rebuild_each_workspace_once(campaigns):
    wanted = ids("both", 20, failing=False)
    campaigns.stack.put(wanted)
    for name in ("one", "two"):
        campaigns.start(name, Select={"WorkspaceIds": wanted}, MaxConcurrency=3)
    ends = [json.loads(campaigns.ended(name)["output"])["Counts"] for name in ("one", "two")]
    assert sum(counts.get("SUCCEEDED", 0) for counts in ends) == 20
    assert all(counts.get("SUCCEEDED", 0) + counts.get("REFUSED", 0) == 20 for counts in ends)
    assert {len(campaigns.records(id)) for id in wanted} == {1}


def is_write(headers):
    return not headers["x-amz-target"].endswith((".GetItem", ".BatchGetItem", ".Query", ".Scan"))


@contextlib.contextmanager
def database(campaigns, answer):
    """Puts `answer` in place of DynamoDB for the API function."""
    running = campaigns.stack.running
    with server(answer) as between:
        functions = running.client("lambda")
        alias = {"FunctionName": running.outputs["RebuildFunction"], "Name": "live"}
        version = functions.get_alias(**alias)["FunctionVersion"]
        running.set_variables("RebuildFunction", AWS_ENDPOINT_URL=between)
        functions.update_alias(**alias, FunctionVersion="$LATEST")
        yield
        functions.update_alias(**alias, FunctionVersion=version)
        running.set_variables("RebuildFunction", AWS_ENDPOINT_URL=running.url)


def test_an_item_that_the_api_failed_is_looked_at_again_when_redriven(campaigns):
    [id] = ids("down", 1, failing=False)
    campaigns.stack.put([id])
    throttled = json.dumps({"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException"}).encode()

    def throttle_writes(headers, body):
        return (400, throttled) if is_write(headers) else forwarded(campaigns.stack, headers, body)

    with database(campaigns, throttle_writes):
        assert campaigns.run("down", Select={"WorkspaceIds": [id]})["status"] == "FAILED"
    assert "1 NO_END" in script(campaigns, "--watch", "down", code=1)
    asked = campaigns.stack.call(campaigns.stack.operator, "POST", f"/workspaces/{id}/rebuilds")[1]["data"]["id"]
    while campaigns.records(id)[0]["status"] in OPEN:
        assert campaigns.stack.running.follow() is None
    campaigns.states.redrive_execution(executionArn=campaigns.arn("down"))
    assert json.loads(campaigns.ended("down")["output"])["Counts"] == {"REFUSED": 1}
    [end] = campaigns.ends("down")
    assert end["error"]["code"] == "REBUILT_SINCE" and asked in end["error"]["message"]
    assert len(campaigns.records(id)) == 1


@pytest.mark.parametrize("lands", [True, False])
def test_a_request_with_an_unknown_outcome_is_followed_or_repeated(campaigns, lands):
    name = f"unknown-{lands}"
    [id] = ids(f"un{lands:d}", 1, failing=False)
    campaigns.stack.put([id])
    attempts = 0

    def lose(headers, body):
        nonlocal attempts
        if not is_write(headers):
            return forwarded(campaigns.stack, headers, body)
        attempts += 1
        if lands:
            forwarded(campaigns.stack, headers, body)
        # The attempts of one request, and those of later ones.
        return (500, b"{}") if lands or attempts <= 3 else forwarded(campaigns.stack, headers, body)

    with database(campaigns, lose):
        execution = campaigns.run(name, Select={"WorkspaceIds": [id]})
    assert json.loads(execution["output"])["Counts"] == {"SUCCEEDED": 1}
    assert len(campaigns.records(id)) == 1


def test_a_dry_run_writes_nothing(campaigns):
    calls = []

    def count(headers, body):
        calls.append(headers["x-amz-target"].partition(".")[2])
        return forwarded(campaigns.stack, headers, body)

    with database(campaigns, count):
        execution = campaigns.run("dry", Select={"DirectoryId": "d-906700a1b2"}, Exclude=["ws-available0001"], DryRun=True)
    # The function asks for no item when it starts.
    assert set(calls) <= {"GetItem", "Query", "BatchGetItem"} and "BatchGetItem" in calls
    plan = json.loads(execution["output"])
    assert plan["LeftOut"]["EXCLUDED"] == ["ws-available0001"]
    assert plan["LeftOut"]["STARTING"] == ["ws-starting0001"]
    assert plan["Counts"] == {"Rebuild": len(plan["Rebuild"]), "LeftOut": sum(map(len, plan["LeftOut"].values()))}
    assert campaigns.objects("dry") == {}


def test_a_campaign_of_five_thousand_fits_and_of_more_is_refused(empty):
    empty.deploy()
    campaigns = Campaigns(empty)
    many = [f"ws-many{number:06}" for number in range(5001)]
    empty.put(many, BundleId="wsb-many0001")
    execution = campaigns.run("all", Select={"BundleId": "wsb-many0001"}, Exclude=many[:1], DryRun=True)
    assert (execution["status"], execution["error"]) == ("FAILED", "VALIDATION_ERROR")
    assert "at most 5000 WorkSpaces" in execution["cause"]
    execution = campaigns.run("most", Select={"WorkspaceIds": many[1:]}, DryRun=True)
    assert json.loads(execution["output"])["Rebuild"] == many[1:]
    pages = campaigns.states.get_paginator("get_execution_history").paginate(executionArn=campaigns.arn("most"))
    events = [event for page in pages for event in page["events"]]
    largest = max(len(json.dumps(event, default=str)) for event in events)
    print(f"5000 WorkSpaces: {len(events)} events, the largest of {largest} bytes")
    assert len(events) < 25_000 and largest < 256 * 1024


def test_what_changed_since_the_plan_is_left_alone(empty):
    """Between the plan and the approval one WorkSpace is protected, and another one rebuilt."""
    empty.deploy()
    topics = empty.running.client("sns")
    topic = topics.create_topic(Name="approvals")["TopicArn"]
    queue = Queue(empty, "approvals")
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    empty.deploy(CampaignApprovalTopic=topic)
    empty.running.seed()
    empty.running.set_variables("FollowFunction", FLEET_REBUILD_SECONDS="1")
    empty.operator = empty.running.user("operator", empty.running.outputs["OperatorPolicy"])
    campaigns = Campaigns(empty)
    starter, approver, reader = (
        empty.running.user(name, policy) for name, policy in zip(("starter", "approver", "reader"), policies(empty))
    )
    wanted = ["ws-available0001", "ws-error0001", "ws-unhealthy0001", "ws-protected0001"]
    start = commands("## Start", page=PAGE)[3].partition("aws stepfunctions start")
    start = "".join(start[1:])
    input = json.dumps({"Select": {"WorkspaceIds": wanted}, "Reason": "image 2026-11"})
    run(empty, starter, VARIABLES + start, INPUT=input)
    [message] = [mail["Message"] for mail in queue.wait()]
    assert "It will rebuild 3 WorkSpaces" in message and "Left out: 1 PROTECTED" in message
    assert all(id in message for id in wanted[:3]) and message.endswith("\nimage 2026-11")
    assert empty.call(empty.operator, "GET", "/rebuilds")[1]["data"]["rebuilds"] == []

    assert empty.call(empty.operator, "PUT", "/workspaces/ws-error0001/protection")[0] == 200
    # By a caller without an ARN, as in a private API without IAM.
    event = json.loads((ROOT / "events/rebuild-in-directory.json").read_text())
    path = "workspaces/ws-unhealthy0001/rebuilds"
    event |= {"path": f"/{path}", "pathParameters": {"proxy": path}}
    event["requestContext"]["path"] = f"/v1/{path}"
    del event["requestContext"]["identity"]["userArn"]
    empty.running.client("lambda").invoke(FunctionName=empty.running.outputs["RebuildFunction"], Payload=json.dumps(event))
    while campaigns.records("ws-unhealthy0001")[0]["status"] in OPEN:
        assert empty.running.follow() is None
    [approve] = re.findall(r"^aws stepfunctions send-task-success .*$", message, re.M)
    for key in (starter, reader):
        with pytest.raises(AssertionError, match="AccessDenied"):
            run(empty, key, approve)
    with pytest.raises(AssertionError, match="AccessDenied"):
        run(empty, approver, VARIABLES.replace("CAMPAIGN=$(output RebuildCampaign)", f"CAMPAIGN={campaigns.machine}")
            .replace("BUCKET=$(output CampaignBucket)", "") + start, INPUT=input)
    run(empty, approver, approve)
    execution = campaigns.ended("image-2026-11")
    assert json.loads(execution["output"])["Counts"] == {"SUCCEEDED": 1, "REFUSED": 2}
    # The emulator does not know the ARN of a map run, so the other commands are not tried with this policy.
    watch = commands("## Watch", page=PAGE)[0].partition("RUN=")[0]
    assert run(empty, starter, VARIABLES + watch).startswith("SUCCEEDED")
    codes = {end["workspace_id"]: end.get("error", {}).get("code") for end in campaigns.ends("image-2026-11")}
    assert codes == {
        "ws-available0001": None, "ws-error0001": "WORKSPACE_PROTECTED", "ws-unhealthy0001": "REBUILT_SINCE",
    }
    with pytest.raises(AssertionError, match="AccessDenied"):
        run(empty, starter, f"aws stepfunctions get-execution-history --execution-arn {campaigns.arn('image-2026-11')}")
    run(empty, reader, f"aws stepfunctions get-execution-history --execution-arn {campaigns.arn('image-2026-11')}")

    campaigns.start("rejected", Select={"WorkspaceIds": ["ws-available0001"]})
    [message] = [mail["Message"] for mail in queue.wait()]
    [reject] = re.findall(r"^aws stepfunctions send-task-failure .*$", message, re.M)
    run(empty, approver, reject)
    execution = campaigns.ended("rejected")
    assert (execution["status"], execution["error"], execution["cause"]) == ("FAILED", "Rejected", "not now")
    assert campaigns.rebuilds("rejected") == []


def policies(stack):
    """The policies of docs/operations.md for campaigns: to start, to approve, to read the history."""
    section = OPERATIONS.partition("### Campaigns")[2].partition("\n## ")[0]
    outputs = stack.running.outputs
    names = {
        "CAMPAIGN": outputs["RebuildCampaign"], "MACHINE": outputs["RebuildCampaign"].rpartition(":")[2],
        "BUCKET": outputs["CampaignBucket"], "REGION": "us-east-1", "ACCOUNT": "000000000000",
    }
    for name, value in names.items():
        section = re.sub(rf"\b{name}\b", value, section)
    return [json.loads(document) for document in re.findall(r"```json\n(.*?)```", section, re.S)]


def test_the_page_documents_the_input_that_is_checked(campaigns):
    table = PAGE.partition("## Input")[2].partition("\n\nAny other field")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.M)
    refused = campaigns.run("unknown", Select={"BundleId": "wsb-0a1b2c3d4"}, Reasons="x")
    assert refused["error"] == "VALIDATION_ERROR"
    assert refused["cause"].endswith("known are " + ", ".join(name for name, _ in documented))
    [example] = re.findall(r"```json\n(.*?)```", PAGE.partition("## Input")[2].partition("| field")[0], re.S)
    assert set(json.loads(example)) == {name for name, _ in documented} - {"Since", "RetryOf"}
    assert campaigns.run("example", **json.loads(example))["status"] == "SUCCEEDED"

    good = {"Select": {"WorkspaceIds": ["ws-available0001"]}, "DryRun": True}
    selections = [json.loads(text) for text in re.findall(r"`(\{.+?\})`", dict(documented)["Select"])]
    selections.append({**selections[1], "UserName": "bo.lindqvist"})
    assert len(selections) == 4
    integers = {
        name: (int(low), int(high)) for name, text in documented
        for low, high in re.findall(r"integer from (\d+) to (\d+)", text)
    }
    assert len(integers) == 3
    accepted = [{**good, "Select": select} for select in selections]
    accepted += [{**good, name: limit} for name, limits in integers.items() for limit in limits]
    first = {name: re.findall("`(.+?)`", dict(documented)[name])[-1] for name in ("Since", "RetryOf")}
    accepted += [{**good, "Reason": "é" * 256}, {**good, "Exclude": []}, {**good, **first}]
    refused = [("Select", {"DryRun": True})]
    refused += [("Select", {**good, "Select": {**first, **second}}) for first, second in itertools.combinations(selections[:3], 2)]
    refused += [(f"Select.{name}", {**good, "Select": {**select, name: ""}}) for select in selections for name in select]
    refused += [("Select.WorkspaceIds", {**good, "Select": {"WorkspaceIds": ["ws-available0001"] * count}}) for count in (0, 5001)]
    refused += [
        (name, {**good, name: wrong})
        for name, (low, high) in integers.items() for wrong in (low - 1, high + 1, low + 0.5, str(low), None)
    ]
    refused += [("Reason", {**good, "Reason": wrong}) for wrong in ("", "é" * 257, "a\u202eb", "a\nb", "a\n", 1)]
    refused += [("Exclude", {**good, "Exclude": wrong}) for wrong in ("ws-available0001", ["x"])]
    refused += [("DryRun", {**good, "DryRun": "true"})]
    refused += [(name, {**good, name: wrong}) for name in first for wrong in ("x", None, {}, "2026-13-01T00:00:00Z")]
    for number, input in enumerate(accepted):
        assert campaigns.run(f"good-{number}", **input)["status"] == "SUCCEEDED", input
    for number, (name, input) in enumerate(refused):
        execution = campaigns.run(f"bad-{number}", **input)
        assert execution["error"] == "VALIDATION_ERROR", input
        assert execution["cause"].startswith(f"Invalid campaign input: {name} must"), input
    assert campaigns.run("é", **good)["cause"].startswith("Invalid campaign input: the name of the execution")


def test_the_commands_of_the_page_work(campaigns, tmp_path):
    stack = campaigns.stack
    wanted = ids("page", 4, failing=False)
    stack.put(wanted, BundleId="wsb-page0001")
    _, _, dry, start = commands("## Start", page=PAGE)
    dry = dry.replace("wsb-0a1b2c3d4", "wsb-page0001")
    shown = run(stack, ADMINISTRATOR, VARIABLES + dry.replace(
        "aws stepfunctions describe", 'until aws stepfunctions describe-execution --execution-arn "$EXECUTION-dry-run" '
        "| grep SUCCEEDED; do :; done\naws stepfunctions describe"))
    assert all(id in shown for id in wanted)
    run(stack, ADMINISTRATOR, VARIABLES + start, SINCE="2026-11-27T02:00:00Z")
    watch, faster = commands("## Watch", page=PAGE)
    give_up = time.monotonic() + 60
    while True:
        try:
            shown = run(stack, ADMINISTRATOR, VARIABLES + watch + faster)
            break
        except AssertionError:
            # There is no map run yet.
            assert time.monotonic() < give_up
    assert shown.startswith("RUNNING") and '"total": ' in shown
    assert campaigns.ended("image-2026-11")["status"] == "SUCCEEDED"
    output, sync = commands("## Report", page=PAGE)
    assert '"SUCCEEDED": ' in run(stack, ADMINISTRATOR, VARIABLES + output)
    listed = run(stack, ADMINISTRATOR, VARIABLES + sync, tmp_path)
    assert all(f'"{id}","SUCCEEDED",,' in listed for id in wanted)
    [schedule] = commands("## Schedule", page=PAGE)
    run(stack, ADMINISTRATOR, VARIABLES + schedule)
    target = stack.running.client("scheduler").get_schedule(Name="sunday-rebuilds")["Target"]
    assert target["Arn"] == campaigns.machine
    assert campaigns.run("sunday", **json.loads(target["Input"]), DryRun=True)["status"] == "SUCCEEDED"


def test_a_failed_campaign_sends_a_mail(campaigns):
    stack = campaigns.stack
    topics, queue = stack.running.client("sns"), Queue(stack, "mails")
    topic = topics.create_topic(Name="mails")["TopicArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    [rule] = commands("## Notifications", page=PAGE)
    run(stack, ADMINISTRATOR, VARIABLES + rule, TOPIC=topic)
    assert campaigns.run("well", Select={"WorkspaceIds": ["ws-none00001"]})["status"] == "SUCCEEDED"
    assert campaigns.run("wrong", Select={})["status"] == "FAILED"
    [mail] = queue.wait()
    detail = json.loads(mail["Message"])["detail"]
    assert (detail["name"], detail["status"]) == ("wrong", "FAILED")


def test_the_script_reads_files_and_asks_first(campaigns, tmp_path):
    wanted = ids("file", 3, failing=False)
    campaigns.stack.put(wanted)
    table = tmp_path / "fleet.csv"
    table.write_text("User;Workspace Id;Notes\r\n" + "".join(f'"ana; silva";{id};not ws-stopped0001\r\n' for id in wanted))
    report = tmp_path / "report.csv"
    assert "error: not confirmed" in script(campaigns, str(table), "--name", "file", answer="yes\n", code=2)
    assert "Reason must be 1 to 256" in script(campaigns, str(table), "--reason", "", code=2)
    printed = script(campaigns, str(table), "--exclude", wanted[0], "--name", "confirmed", "--csv", str(report), answer="2\n")
    assert f"EXCLUDED: {wanted[0]}" in printed and "2 SUCCEEDED" in printed
    assert [line.split(",")[:2] for line in report.read_text().splitlines()[1:]] == [[id, "SUCCEEDED"] for id in wanted[1:]]
    assert "looks like a report" in script(campaigns, str(report), code=2)
    assert "it has 'Some text" in script(campaigns, str(table.write_text("Some text") and table), code=2)
    assert "must have one id" in script(campaigns, "-", code=2)
    assert "neither an id" in script(campaigns, "ws-short", code=2)
    table.write_bytes("ws-stopped0001\n".encode("utf-16"))
    assert "is not in UTF-8" in script(campaigns, str(table), code=2)
    assert "with ids from the standard input" in script(campaigns, "-", answer=wanted[0], code=2)
    assert "No such file" in script(campaigns, wanted[0], "--csv", str(tmp_path / "none" / "x.csv"), code=2)
    assert "nothing to rebuild" in script(campaigns, "ws-none00001", "--yes", code=2)
    table.write_text("\ufeff" + "\n".join(wanted), encoding="utf-8")
    assert "To rebuild: 1\n" in script(campaigns, str(table), "--exclude", wanted[1], "--exclude", wanted[2], "--dry-run")
    table.write_text(wanted[0] + "\n" + wanted[1].upper())
    assert f"it has '{wanted[1].upper()}'" in script(campaigns, str(table), code=2)
    assert "nothing to repeat" in script(campaigns, "--retry", "confirmed", code=2)
    assert "there is a campaign confirmed already" in script(campaigns, wanted[0], "--name", "confirmed", "--yes", code=2)
    assert "there is no campaign none" in script(campaigns, "--watch", "none", code=2)
    assert "one of --directory" in script(campaigns, code=2)


def test_the_role_may_call_the_function_and_keep_the_report_and_nothing_else(campaigns):
    formation, identities = (campaigns.stack.running.client(service) for service in ("cloudformation", "iam"))
    role = formation.describe_stack_resource(StackName=STACK, LogicalResourceId="CampaignRole")
    role = role["StackResourceDetail"]["PhysicalResourceId"]
    allowed = [
        (statement["Action"], statement["Resource"])
        for name in identities.list_role_policies(RoleName=role)["PolicyNames"]
        for statement in identities.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    ]
    actions = {action for some, _ in allowed for action in ([some] if isinstance(some, str) else some)}
    assert actions == {
        "lambda:InvokeFunction", "s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload",
        "s3:ListBucket", "states:StartExecution", "states:DescribeExecution", "states:StopExecution", "states:RedriveExecution",
    }
    outputs = campaigns.stack.running.outputs
    function = f"arn:aws:lambda:us-east-1:000000000000:function:{outputs['RebuildFunction']}:live"
    assert ("lambda:InvokeFunction", function) in allowed
    bucket, machine = outputs["CampaignBucket"], outputs["RebuildCampaign"].rpartition(":")[2]
    for some, resources in allowed:
        for resource in [resources] if isinstance(resources, str) else resources:
            assert resource == function or f":::{bucket}" in resource or f":{machine}" in resource, some


def test_cfn_lint_accepts_the_definition(campaigns, tmp_path):
    """In the template itself, cfn-lint does not look into the text that SAM makes of the definition."""
    definition = json.loads(campaigns.states.describe_state_machine(stateMachineArn=campaigns.machine)["definition"])
    # cfn-lint does not know that these may be expressions.
    definition["States"]["Run"] |= {"MaxConcurrency": 10, "ToleratedFailurePercentage": 5}
    lint = lambda: subprocess.run(["cfn-lint", "--", template], capture_output=True, text=True).stdout
    template = tmp_path / "template.json"
    machine = {"Definition": definition, "RoleArn": "arn:aws:iam::000000000000:role/campaign"}
    resources = {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine}}
    template.write_text(json.dumps({"Resources": resources}))
    assert lint() == ""
    del definition["States"]["Run"]["ItemProcessor"]
    template.write_text(json.dumps({"Resources": resources}))
    assert "ItemProcessor" in lint()
