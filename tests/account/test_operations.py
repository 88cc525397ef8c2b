"""A rebuild from the request to its record, and docs/operations.md put to use."""

import re
import threading

from page import ADMINISTRATOR, commands, run

PAUSE, _STOP, LOOK, CANCEL = commands("## Stop everything")
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


def test_everything_can_be_stopped(stack):
    assert PAUSE.endswith("set_cap 0\n")
    run(stack, ADMINISTRATOR, PAUSE)
    wanted = ["ws-error0001", "ws-unhealthy0001", "ws-stopped0001"]
    for id in wanted:
        assert stack.call(stack.operator, "POST", f"/workspaces/{id}/rebuilds")[0] == 202
    assert stack.running.follow() is None
    shown = run(stack, stack.operator, LOOK)
    assert all(id in shown for id in wanted) and "STARTED" not in shown
    assert run(stack, stack.operator, LOOK + CANCEL).count('"CANCELLED"') == 3
    # The next pass records the cancelled ones and releases their WorkSpaces.
    assert stack.running.follow() is None
    for id in wanted:
        workspace = stack.call(stack.operator, "GET", f"/workspaces/{id}")[1]["data"]
        assert (workspace["rebuildable"], workspace["rebuild"]["status"]) == (True, "CANCELLED")
    run(stack, ADMINISTRATOR, resume())
    assert stack.call(stack.operator, "POST", "/workspaces/ws-error0001/rebuilds")[0] == 202
    assert stack.running.follow() is None
    assert last_rebuild(stack, "ws-error0001")["status"] == "STARTED"


def test_a_restore_repeats_nothing(empty, tmp_path):
    """Three rebuilds wait. After that time, one ended and one was handed over; then the items are lost."""
    stack = empty
    stack.deploy(MaxConcurrentRebuilds="0")
    stack.running.seed()
    stack.operator = stack.running.user("operator", stack.running.outputs["OperatorPolicy"])
    pause, restore, copy, reopen, compare, unknown = commands("## Restore")
    ended, handed_over, waiting = ids = ["ws-available0001", "ws-error0001", "ws-unhealthy0001"]
    asked = {
        id: stack.call(stack.operator, "POST", f"/workspaces/{id}/rebuilds")[1]["data"]["id"] for id in ids
    }
    run(stack, ADMINISTRATOR, restore)  # ministack restores what a table has now
    table = stack.running.outputs["WorkspacesTable"]
    database = stack.running.client("dynamodb")

    def lose(*ids):
        for id in ids:
            database.delete_item(TableName=table, Key={"WorkspaceId": {"S": id}})

    lose(handed_over, waiting)
    run(stack, ADMINISTRATOR, resume())
    while last_rebuild(stack, ended)["status"] != "SUCCEEDED":
        assert stack.running.follow() is None
    assert stack.running.follow() is None
    lose(ended)

    run(stack, ADMINISTRATOR, PAUSE + pause)
    # ministack keeps the number, but does not obey it.
    reserved = {"FunctionName": stack.running.outputs["RebuildFunction"]}
    assert stack.running.client("lambda").get_function_concurrency(**reserved)["ReservedConcurrentExecutions"] == 0
    copied = copy.replace("ws-0a1b2c3d4 ws-1b2c3d4e5", " ".join(ids))
    assert copied != copy
    run(stack, ADMINISTRATOR, copied, tmp_path)
    run(stack, ADMINISTRATOR, reopen)
    listed = run(stack, stack.operator, LOOK.partition("\ncall ")[0] + "\n" + compare.partition("\naws ")[0])
    assert sorted(listed.split("\n")[:3]) == sorted(f"{id} {asked[id]}" for id in ids)
    definition = unknown.partition("\nunknown ")[0]
    run(stack, ADMINISTRATOR, f"{definition}\nunknown {handed_over} {asked[handed_over]}")
    earlier = CANCEL.replace("rebuilds[] | ", 'rebuilds[] | select(.created_at < "2100-01-01T00:00:00Z") | ')
    assert run(stack, stack.operator, LOOK.partition("\ncall ")[0] + "\n" + earlier).count('"CANCELLED"') == 2
    assert stack.running.follow() is None
    run(stack, ADMINISTRATOR, resume())
    assert stack.running.follow() is None
    statuses = {ended: "SUCCEEDED", handed_over: "UNKNOWN", waiting: "CANCELLED"}
    for id, status in statuses.items():
        rebuild = stack.call(stack.operator, "GET", f"/workspaces/{id}/rebuilds/{asked[id]}")[1]["data"]
        assert rebuild["status"] == status
        assert last_rebuild(stack, id)["status"] == status
    assert stack.call(stack.operator, "GET", "/rebuilds")[1]["data"]["rebuilds"] == []


def test_a_new_stack_adopts_the_tables_of_a_deleted_one(empty, tmp_path):
    stack = empty
    stack.deploy()
    stack.running.seed()
    operator = stack.running.user("operator", stack.running.outputs["OperatorPolicy"])
    asked = stack.call(operator, *REBUILD)[1]["data"]["id"]
    old = dict(stack.running.outputs)
    stack.running.delete()
    [adopt] = commands("## Adopt tables")
    names = {"WORKSPACES": old["WorkspacesTable"], "REBUILDS": old["RebuildsTable"], "STACK": "rebuild-workspaces"}
    for placeholder, name in names.items():
        adopt = re.sub(rf"\b{placeholder}\b", name, adopt)
    import_tables, deploy, _ = adopt.partition("\nsam deploy")
    assert deploy
    run(stack, ADMINISTRATOR, import_tables.replace("tables.yaml", f"{tmp_path}/tables.yaml"))
    stack.deploy(MaxConcurrentRebuilds="0")
    assert {name: stack.running.outputs[name] for name in ("WorkspacesTable", "RebuildsTable")} == {
        name: old[name] for name in ("WorkspacesTable", "RebuildsTable")
    }
    operator = stack.running.user("other", stack.running.outputs["OperatorPolicy"])
    assert stack.running.follow() is None
    [waiting] = stack.call(operator, "GET", "/rebuilds?status=REQUESTED")[1]["data"]["rebuilds"]
    assert waiting["id"] == asked


def resume():
    """The command that ends the pause."""
    return PAUSE.replace("set_cap 0\n", "set_cap 100\n")


def last_rebuild(stack, id):
    return stack.call(stack.operator, "GET", f"/workspaces/{id}")[1]["data"]["rebuild"]
