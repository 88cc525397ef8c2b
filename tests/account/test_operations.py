"""A rebuild from the request to its record, and docs/operations.md put to use."""

import re
import threading

from page import ADMINISTRATOR, OPERATIONS, commands, run

NAMES, PAUSE, _STOP, REVOKE, LOOK, CANCEL, RESUME = commands("## Stop everything")
CALL = PAUSE.partition("\ncall -X ")[0] + "\n"
WAITING = CALL + CANCEL.partition("\nwaiting ")[0] + "\n"
REBUILD = ("POST", "/workspaces/ws-available0001/rebuilds", {"Reason": "ticket 4711"})


def test_the_schedule_brings_a_rebuild_to_its_end(stack):
    status, answer = stack.call(stack.operator, *REBUILD)
    assert status == 202
    path = f"/workspaces/ws-available0001/rebuilds/{answer['data']['id']}"
    # Three passes, one a minute: handed over, seen in REBUILDING, ended.
    while (rebuild := stack.call(stack.operator, "GET", path)[1]["data"])["status"] in ("REQUESTED", "STARTED"):
        threading.Event().wait(1)
    assert rebuild["status"] == "SUCCEEDED"
    assert rebuild["requested_by"] == "arn:aws:iam::000000000000:user/operator"
    assert rebuild["reason"] == "ticket 4711"
    history = stack.call(stack.operator, "GET", "/workspaces/ws-available0001/rebuilds")[1]["data"]
    assert history["rebuilds"][0] == rebuild


def test_the_history_of_a_workspace_is_shown(stack):
    by_call, by_table = commands("## Who wiped this WorkSpace")
    id = "ws-nosnapshot0001"
    wanted = stack.call(stack.operator, "POST", f"/workspaces/{id}/rebuilds")[1]["data"]["id"]
    # The first pass ends it, as FAILED. The second has certainly written its record.
    assert stack.running.follow() is None and stack.running.follow() is None
    for key, script in ((stack.operator, CALL + by_call), (ADMINISTRATOR, by_table)):
        assert wanted in run(stack, key, script.replace("ws-0a1b2c3d4", id))


def test_a_workspace_is_protected_and_unprotected(stack):
    call, look = commands("## Protected WorkSpaces")
    id = "ws-maintenance0001"
    changed = run(stack, stack.operator, CALL + call.replace("ws-0a1b2c3d4", id))
    assert '"reason":"ticket 4711"' in changed
    assert "Unprotection" in run(stack, ADMINISTRATOR, look.replace("ws-0a1b2c3d4", id))


def test_names_and_logs_are_found(stack):
    names = run(stack, ADMINISTRATOR, NAMES.replace("STACK", "rebuild-workspaces"))
    assert {"MaxConcurrentRebuilds\t100", f"WorkspacesTable\t{stack.running.outputs['WorkspacesTable']}"} <= set(
        names.splitlines()
    )
    [logs] = commands("## Logs")
    resources, errors = logs.replace("STACK", "rebuild-workspaces").split("aws logs ")
    found = dict(line.split("\t") for line in run(stack, ADMINISTRATOR, resources).splitlines())
    assert {"RebuildLogGroup", "FollowLogGroup", "AccessLogGroup", "FollowRule"} <= set(found)
    assert found["AcceptedAlarm"].startswith("rebuild-workspaces-AcceptedAlarm-")
    run(stack, ADMINISTRATOR, f"aws logs {errors}".replace("GROUP", found["FollowLogGroup"]))
    [throttled] = commands("### RebuildThrottleAlarm", "\n### ")
    run(stack, ADMINISTRATOR, throttled.replace("FUNCTION", found["RebuildFunction"]))


def test_a_deleted_table_comes_back(stack):
    [_, restore] = commands("## Adopt tables")
    database = stack.running.client("dynamodb")
    # ministack makes no backup of its own, so that the test makes one.
    backup = database.create_backup(TableName=stack.running.outputs["RebuildsTable"], BackupName="deleted")
    restore = restore.replace("ARN", backup["BackupDetails"]["BackupArn"])
    run(stack, ADMINISTRATOR, re.sub(r"\b(NAME|REBUILDS)\b", "restored", restore))
    table = database.describe_table(TableName="restored")["Table"]
    assert table["DeletionProtectionEnabled"]
    assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    lifetime = database.describe_time_to_live(TableName="restored")["TimeToLiveDescription"]
    assert lifetime["AttributeName"] == "ExpiresAt"


def test_the_rebuilds_of_one_caller_can_be_cancelled(stack):
    run(stack, stack.operator, PAUSE)
    other = stack.running.user("other", stack.running.outputs["OperatorPolicy"])
    wanted = {"ws-error0001": stack.operator, "ws-unhealthy0001": other, "ws-stopped0001": stack.operator}
    for id, key in wanted.items():
        assert stack.call(key, "POST", f"/workspaces/{id}/rebuilds")[0] == 202
    arn = "arn:aws:iam::000000000000:user/other"
    one = CANCEL.replace("\nwaiting true |", f"""\nwaiting '.requested_by == "{arn}"' |""")
    assert one != CANCEL
    pages = one.replace("limit=100", "limit=1")
    assert run(stack, stack.operator, CALL + pages).count('"CANCELLED"') == 1
    assert last_rebuild(stack, "ws-unhealthy0001")["status"] == "CANCELLED"
    assert run(stack, stack.operator, CALL + CANCEL).count('"CANCELLED"') == 2
    assert stack.running.follow() is None
    run(stack, stack.operator, CALL + RESUME)


def test_an_error_is_no_empty_list(stack):
    listed = f"{WAITING}\nwaiting true || echo failed"
    assert run(stack, stack.operator, listed) == ""
    assert run(stack, stack.operator, listed, URL="http://127.0.0.1:1/") == "failed\n"
    assert run(stack, (stack.operator[0], "wrong"), listed) == "failed\n"


def test_everything_can_be_stopped(stack):
    source = stack.running.user("source", stack.running.outputs["CallerPolicy"])
    assert '"paused":true' in run(stack, source, PAUSE)
    wanted = ["ws-error0001", "ws-unhealthy0001", "ws-stopped0001"]
    for id in wanted:
        assert stack.call(source, "POST", f"/workspaces/{id}/rebuilds")[0] == 202
    run(stack, ADMINISTRATOR, REVOKE.replace("NAME", "source"))
    assert stack.call(source, "POST", "/workspaces/ws-available0001/rebuilds")[0] == 403
    assert stack.running.follow() is None
    shown = run(stack, stack.operator, CALL + LOOK)
    assert all(id in shown for id in wanted) and "STARTED" not in shown
    assert run(stack, stack.operator, CALL + CANCEL).count('"CANCELLED"') == 3
    # The next pass records the cancelled ones and releases their WorkSpaces.
    assert stack.running.follow() is None
    for id in wanted:
        workspace = stack.call(stack.operator, "GET", f"/workspaces/{id}")[1]["data"]
        assert (workspace["rebuildable"], workspace["rebuild"]["status"]) == (True, "CANCELLED")
    assert '"paused":false' in run(stack, stack.operator, CALL + RESUME)
    assert stack.call(stack.operator, "POST", "/workspaces/ws-error0001/rebuilds")[0] == 202
    assert stack.running.follow() is None
    assert last_rebuild(stack, "ws-error0001")["status"] == "STARTED"


def test_a_restore_repeats_nothing(empty, tmp_path):
    """Three rebuilds wait. After that time, one ended and one was handed over; then the items are lost."""
    stack = empty
    stack.deploy()
    stack.running.seed()
    stack.operator = stack.running.user("operator", stack.running.outputs["OperatorPolicy"])
    run(stack, stack.operator, PAUSE)
    records, pause, restore, copy, reopen, reserve, compare, unknown, protect = commands("## Restore")
    ended, handed_over, waiting = ids = ["ws-available0001", "ws-error0001", "ws-unhealthy0001"]
    asked = {
        id: stack.call(stack.operator, "POST", f"/workspaces/{id}/rebuilds")[1]["data"]["id"] for id in ids
    }
    run(stack, ADMINISTRATOR, restore, RESTORE_TIME="2026-11-24T18:00:00Z")  # ministack restores what a table has now
    table = stack.running.outputs["WorkspacesTable"]
    database = stack.running.client("dynamodb")

    def lose(*ids):
        for id in ids:
            database.delete_item(TableName=table, Key={"WorkspaceId": {"S": id}})

    lose(handed_over, waiting)
    run(stack, stack.operator, CALL + RESUME)
    while last_rebuild(stack, ended)["status"] != "SUCCEEDED":
        assert stack.running.follow() is None
    assert stack.running.follow() is None
    lose(ended)
    run(stack, ADMINISTRATOR, records, RESTORE_TIME="2026-11-24T18:00:00Z")

    run(stack, stack.operator, PAUSE)
    run(stack, ADMINISTRATOR, pause)
    # ministack keeps the number, but does not obey it.
    reserved = {"FunctionName": stack.running.outputs["RebuildFunction"]}
    assert stack.running.client("lambda").get_function_concurrency(**reserved)["ReservedConcurrentExecutions"] == 0
    copied = copy.replace("ws-0a1b2c3d4 ws-1b2c3d4e5", " ".join(ids))
    assert copied != copy
    run(stack, ADMINISTRATOR, copied, tmp_path)
    opened = run(stack, ADMINISTRATOR, f'{reopen}\necho "$OPENED"').split()[-1]
    run(stack, ADMINISTRATOR, reserve.replace("NUMBER", "10"))
    listing, calls = compare.split("aws cloudtrail ")
    listed = run(stack, stack.operator, WAITING + listing)
    assert sorted(listed.splitlines()) == sorted(f"{id}/rebuilds/{asked[id]}" for id in ids)
    run(stack, ADMINISTRATOR, f"aws cloudtrail {calls}", RESTORE_TIME="2026-11-24T18:00:00Z")
    definition = unknown.partition("\nunknown ")[0]
    run(stack, ADMINISTRATOR, f"{definition}\nunknown {handed_over} {asked[handed_over]}")
    [front] = re.findall(r"`(waiting \".+?)`", OPERATIONS.partition("## Restore")[2])
    earlier = CANCEL.replace("\nwaiting true", f"\n{front}")
    assert run(stack, stack.operator, CALL + earlier, OPENED=opened).count('"CANCELLED"') == 2
    assert stack.running.follow() is None
    run(stack, stack.operator, CALL + RESUME)
    assert stack.running.follow() is None
    statuses = {ended: "SUCCEEDED", handed_over: "UNKNOWN", waiting: "CANCELLED"}
    for id, status in statuses.items():
        rebuild = stack.call(stack.operator, "GET", f"/workspaces/{id}/rebuilds/{asked[id]}")[1]["data"]
        assert rebuild["status"] == status
        assert last_rebuild(stack, id)["status"] == status
    assert stack.call(stack.operator, "GET", "/rebuilds")[1]["data"]["rebuilds"] == []
    protected = run(stack, stack.operator, CALL + protect.replace("ws-0a1b2c3d4", waiting))
    assert '"reason":"ticket 4711"' in protected


def test_lost_records_come_back(empty):
    stack = empty
    stack.deploy()
    database = stack.running.client("dynamodb")
    table = stack.running.outputs["RebuildsTable"]
    records = commands("## Restore")[0]
    keys = [{"WorkspaceId": {"S": "ws-available0001"}, "RebuildId": {"S": id}} for id in ("1", "2")]
    for key in keys:
        database.put_item(TableName=table, Item=key)
    restore, copy = records.split("aws dynamodb scan ")
    run(stack, ADMINISTRATOR, restore, RESTORE_TIME="2026-11-24T18:00:00Z")
    database.delete_item(TableName=table, Key=keys[0])
    database.put_item(TableName=table, Item={**keys[1], "Status": {"S": "SUCCEEDED"}})
    run(stack, ADMINISTRATOR, f"aws dynamodb scan {copy}")
    items = database.scan(TableName=table)["Items"]
    assert sorted(items, key=lambda item: item["RebuildId"]["S"]) == [keys[0], {**keys[1], "Status": {"S": "SUCCEEDED"}}]


def test_a_new_stack_adopts_the_tables_of_a_deleted_one(empty, tmp_path):
    stack = empty
    stack.deploy()
    stack.running.seed()
    operator = stack.running.user("operator", stack.running.outputs["OperatorPolicy"])
    asked = stack.call(operator, *REBUILD)[1]["data"]["id"]
    old = dict(stack.running.outputs)
    stack.running.delete()
    [adopt, _] = commands("## Adopt tables")
    tables = {"WORKSPACES": "WorkspacesTable", "REBUILDS": "RebuildsTable", "CONTROL": "ControlTable"}
    names = {"STACK": "rebuild-workspaces", **{name: old[table] for name, table in tables.items()}}
    for placeholder, name in names.items():
        adopt = re.sub(rf"\b{placeholder}\b", name, adopt)
    assert adopt.startswith("sam build\n")
    import_tables, deploy, _ = adopt.removeprefix("sam build\n").partition("\nsam deploy")
    assert deploy
    run(stack, ADMINISTRATOR, import_tables.replace("tables.yaml", f"{tmp_path}/tables.yaml"))
    stack.deploy(MaxConcurrentRebuilds="0")
    for table in tables.values():
        assert stack.running.outputs[table] == old[table]
    operator = stack.running.user("other", stack.running.outputs["OperatorPolicy"])
    assert stack.running.follow() is None
    [waiting] = stack.call(operator, "GET", "/rebuilds?status=REQUESTED")[1]["data"]["rebuilds"]
    assert waiting["id"] == asked


def last_rebuild(stack, id):
    return stack.call(stack.operator, "GET", f"/workspaces/{id}")[1]["data"]["rebuild"]
