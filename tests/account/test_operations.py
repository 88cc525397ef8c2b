"""A rebuild from the request to its record, and "Stop everything", as docs/operations.md says it."""

import os
import re
import subprocess
import threading

from conftest import ROOT

OPERATIONS = (ROOT / "docs/operations.md").read_text()
STOP = OPERATIONS.partition("## Stop everything")[2].partition("\n## ")[0]
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
    key, secret = stack.operator
    aws = {
        "AWS_ENDPOINT_URL": stack.running.url, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "RECONCILE": stack.running.outputs["ReconcileFunction"],
    }
    administrator = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    operator = {
        "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "",
        "URL": f"http://{stack.running.api}.execute-api.localhost:{stack.running.port}/v1/",
    }

    def shell(script, **environment):
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script], env={**os.environ, **aws, **environment},
            capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    pause, _stop, look, cancel = (
        re.sub(r"^   ", "", block, flags=re.M) for block in re.findall(r"```sh\n(.*?)```", STOP, re.S)
    )
    assert pause.endswith("set_cap 0\n")
    shell(pause, **administrator)
    wanted = ["ws-error0001", "ws-unhealthy0001", "ws-stopped0001"]
    for id in wanted:
        assert stack.call(stack.operator, "POST", f"/workspaces/{id}/rebuilds")[0] == 202
    assert stack.running.follow() is None
    shown = shell(look, **operator)
    assert all(id in shown for id in wanted) and "STARTED" not in shown
    assert shell(look + cancel, **operator).count('"CANCELLED"') == 3
    # The next pass records the cancelled ones and releases their WorkSpaces.
    assert stack.running.follow() is None
    for id in wanted:
        workspace = stack.call(stack.operator, "GET", f"/workspaces/{id}")[1]["data"]
        assert (workspace["rebuildable"], workspace["rebuild"]["status"]) == (True, "CANCELLED")
    shell(pause.replace("set_cap 0\n", "set_cap 100\n"), **administrator)
    assert stack.call(stack.operator, "POST", "/workspaces/ws-error0001/rebuilds")[0] == 202
    assert stack.running.follow() is None
    assert stack.call(stack.operator, "GET", "/workspaces/ws-error0001")[1]["data"]["rebuild"]["status"] == "STARTED"
