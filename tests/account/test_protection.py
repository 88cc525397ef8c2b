"""What must never be replaced, with the commands of docs/operations.md."""

import os
import re
import subprocess

import botocore.exceptions
import pytest
from conftest import ROOT

OPERATIONS = (ROOT / "docs/operations.md").read_text()


def test_the_stack_can_be_protected(empty):
    empty.deploy()
    section = OPERATIONS.partition("**What must never be replaced.**")[2]
    script = re.search(r"```sh\n(.*?)```", section, re.S)[1].replace("STACK", "rebuild-workspaces")
    environment = {
        **os.environ, "AWS_ENDPOINT_URL": empty.running.url, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }
    done = subprocess.run(["bash", "-ec", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    formation = empty.running.client("cloudformation")
    policy = formation.get_stack_policy(StackName="rebuild-workspaces")["StackPolicyBody"]
    assert "LogicalResourceId/WorkspacesTable" in policy
    with pytest.raises(botocore.exceptions.ClientError, match="(?i)termination"):
        formation.delete_stack(StackName="rebuild-workspaces")
    # An update of ours replaces nothing.
    empty.deploy(MaxConcurrentRebuilds="10")
