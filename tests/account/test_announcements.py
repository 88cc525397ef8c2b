"""Ended rebuilds on EventBridge, with the commands of docs/events.md."""

import concurrent.futures
import json
import threading

import jsonschema
import pytest
from conftest import FIGURES, ROOT, Queue, forwarded, server
from page import ADMINISTRATOR, commands, run

PAGE = (ROOT / "docs/events.md").read_text()
SCHEMA = json.loads((ROOT / "docs/rebuild-ended.schema.json").read_text())
# What the schema leaves to later versions, this one must not have.
SCHEMA["$defs"]["Rebuild"]["additionalProperties"] = False
RULE = {"source": ["rebuild-workspaces"], "detail-type": ["WorkSpace Rebuild Ended"]}
REBUILDS = 500


@pytest.fixture
def announced(empty):
    """The stack, and a queue of what it announces."""
    empty.deploy(MaxRebuildsPerDay="0")
    empty.running.seed()
    empty.operator = empty.running.user("operator", empty.running.outputs["OperatorPolicy"])
    queue, events = Queue(empty, "announced"), empty.running.client("events")
    events.put_rule(Name="announced", EventPattern=json.dumps(RULE))
    events.put_targets(Rule="announced", Targets=[{"Id": "queue", "Arn": queue.arn}])
    return empty, queue


def end_one(stack, id="ws-nosnapshot0001"):
    """Has a rebuild end; this one fails at the next pass. Returns its path."""
    asked = stack.call(stack.operator, "POST", f"/workspaces/{id}/rebuilds")[1]["data"]["id"]
    path = f"/workspaces/{id}/rebuilds/{asked}"
    while stack.call(stack.operator, "GET", path)[1]["data"]["status"] in ("REQUESTED", "STARTED"):
        assert stack.running.follow() is None
    # The next pass releases the WorkSpace.
    assert stack.running.follow() is None
    return path


def test_each_end_of_many_rebuilds_is_announced(announced):
    """Some are cancelled, some expire, some fail. The bus refuses, loses or fails every third call."""
    stack, queue = announced
    ids = [f"ws-ended{number:06}" for number in range(REBUILDS)]
    stack.put(ids)

    def ask(id):
        status, answer = stack.call(stack.operator, "POST", f"/workspaces/{id}/rebuilds")
        assert status == 202
        return f"/workspaces/{id}/rebuilds/{answer['data']['id']}"

    calls = 0

    def refuse_every_third(headers, body):
        nonlocal calls
        calls += 1
        entries = json.loads(body)["Entries"]
        if calls % 9 == 0:
            return 500, b"{}"
        if calls % 9 == 3:
            failure = {"ErrorCode": "ThrottlingException", "ErrorMessage": "later"}
            return 200, json.dumps({"FailedEntryCount": len(entries), "Entries": [failure] * len(entries)}).encode()
        _, answered = forwarded(stack, headers, body)
        # The bus has taken these events; the answer is lost.
        return (503, b"{}") if calls % 9 == 6 else (200, answered)

    with server(refuse_every_third) as bus, concurrent.futures.ThreadPoolExecutor(8) as callers:
        stack.running.set_variables("AnnounceFunction", AWS_ENDPOINT_URL_EVENTBRIDGE=bus)
        stack.running.set_variables("FollowFunction", MAX_CONCURRENT_REBUILDS="0", HAND_OVER_DEADLINE_HOURS="0")
        paths = list(callers.map(ask, ids[:50]))
        assert stack.running.follow() is None
        stack.running.set_variables("FollowFunction", HAND_OVER_DEADLINE_HOURS="24")
        paths += callers.map(ask, ids[50:])
        cancel = lambda path: stack.call(stack.operator, "DELETE", path)[0]
        assert set(callers.map(cancel, paths[50:150])) == {200}
        stack.running.set_variables("FollowFunction", MAX_CONCURRENT_REBUILDS=str(REBUILDS))
        failed = 0
        while stack.call(stack.operator, "GET", "/rebuilds")[1]["data"]["rebuilds"]:
            assert stack.running.follow() is None
            failed += stack.running.announce()
        assert stack.running.follow() is None
        while more := stack.running.announce():
            failed += more
        assert failed > 0
        said = list(callers.map(lambda path: stack.call(stack.operator, "GET", path)[1]["data"], paths))
    events = queue.take()
    details = {rebuild["id"]: rebuild for rebuild in said}
    for event in events:
        jsonschema.validate(event, SCHEMA)
        assert event["detail"] == details[event["detail"]["id"]]
    assert {event["detail"]["id"] for event in events} == set(details)
    kinds = {(rebuild["status"], rebuild.get("error", {}).get("code")) for rebuild in said}
    assert kinds == {("SUCCEEDED", None), ("CANCELLED", None), ("FAILED", "EXPIRED"), ("FAILED", "REBUILD_FAILED")}
    FIGURES["rebuilds announced"] += len(details)


def test_what_fails_is_handed_over_again_and_noted_at_last(announced):
    """Lambda's part, which ministack does not have."""
    stack, _ = announced
    mapping = stack.running.announcements
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    queues = stack.running.client("sqs")
    url = stack.running.outputs["NotAnnouncedQueue"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == arn
    # A record is handed over again for as long as the stream has it.
    assert mapping["MaximumRetryAttempts"] == -1 and mapping["MaximumRecordAgeInSeconds"] < 24 * 60 * 60


def test_a_failure_is_mailed(announced):
    stack, _ = announced
    [script] = commands("## Mail for each failure", page=PAGE)
    run(stack, ADMINISTRATOR, script)
    topics = stack.running.client("sns")
    [topic] = [topic["TopicArn"] for topic in topics.list_topics()["Topics"]]
    assert topics.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"][0]["Protocol"] == "email"
    # Nobody here confirms the mail; a queue gets the same text.
    queue = Queue(stack, "mails")
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    # The first succeeds, and nobody wants a mail about it.
    end_one(stack, "ws-error0001")
    end_one(stack)
    assert stack.running.announce() == 0
    [text] = [mail["Message"] for mail in queue.wait()]
    assert "The rebuild of ws-nosnapshot0001 ended as FAILED at 20" in text and "NO_SNAPSHOT: " in text


def test_an_end_is_posted_to_a_ticket_system(announced):
    stack, _ = announced
    posts, came = [], threading.Event()

    def take(headers, body):
        posts.append((headers["authorization"], json.loads(body)))
        came.set()
        return 200, b""

    [script] = commands("## A ticket system", page=PAGE)
    with server(take) as tickets:
        posted = script.replace("https://tickets.example.com", tickets)
        assert posted != script
        run(stack, ADMINISTRATOR, posted, TOKEN="secret")
        path = end_one(stack)
        assert stack.running.announce() == 0
        assert came.wait(60)
    [(token, event)] = posts
    assert token == "secret"
    assert event["detail"] == stack.call(stack.operator, "GET", path)[1]["data"]


def test_records_can_be_announced_again(announced, tmp_path):
    stack, queue = announced
    paths = [end_one(stack), end_one(stack, "ws-stopped0001")]
    assert stack.running.announce() == 0
    said = [stack.call(stack.operator, "GET", path)[1]["data"] for path in paths]
    first = {event["detail"]["id"] for event in queue.take()}
    assert first == {rebuild["id"] for rebuild in said}
    [script] = commands("## Announce again", page=PAGE)
    definition, of_one, of_day = script.partition("aws dynamodb query")[0], *script.split("aws dynamodb ")[1:]
    variables = {
        "REBUILDS": stack.running.outputs["RebuildsTable"],
        "ANNOUNCE_FUNCTION": stack.running.outputs["AnnounceFunction"],
    }
    one = definition + "aws dynamodb " + of_one.replace("ws-0a1b2c3d4", "ws-nosnapshot0001")
    day = definition + "aws dynamodb " + of_day.replace("2026-11-24", said[0]["ended_at"][:10])
    for script, wanted in ((one, said[:1]), (day, said)):
        assert '{"batchItemFailures": []}' in run(stack, ADMINISTRATOR, script, tmp_path, **variables)
        again = [event["detail"] for event in queue.take()]
        for rebuild in wanted:
            assert rebuild in again
        assert all(rebuild["workspace_id"] != "ws-stopped0001" for rebuild in again) or wanted == said
