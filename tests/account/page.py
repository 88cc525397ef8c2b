"""The commands of a page in docs/, as they are written."""

import os
import re
import subprocess

from conftest import ROOT

OPERATIONS = (ROOT / "docs/operations.md").read_text()
ADMINISTRATOR = ("test", "test")


def commands(start, end="\n## ", page=OPERATIONS):
    """The shell commands between two texts of a page, a string for each block."""
    section = page.partition(start)[2].partition(end)[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", section, re.S | re.M)
    return [re.sub(r"^   ", "", block, flags=re.M) for block in blocks]


def run(stack, key, script, directory=ROOT, **variables):
    """Runs a script with this key in the account; returns what it prints."""
    running = stack.running
    environment = {
        **os.environ, "AWS_ENDPOINT_URL": running.url, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1], "AWS_SESSION_TOKEN": "",
        "URL": f"http://{running.api}.execute-api.localhost:{running.port}/v1/",
        "TABLE": running.outputs["WorkspacesTable"], "REBUILDS": running.outputs["RebuildsTable"],
        "REBUILD_FUNCTION": running.outputs["RebuildFunction"], "FOLLOW": running.outputs["FollowFunction"],
        **variables,
    }
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], env=environment, cwd=directory, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
