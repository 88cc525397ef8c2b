"""What must never be replaced, with the commands of docs/operations.md."""

import botocore.exceptions
import pytest
from page import ADMINISTRATOR, commands, run


def test_the_stack_can_be_protected(empty):
    empty.deploy()
    [protect] = commands("**What must never be replaced.**", "**Deletion.**")
    run(empty, ADMINISTRATOR, protect.replace("STACK", "rebuild-workspaces"))
    formation = empty.running.client("cloudformation")
    policy = formation.get_stack_policy(StackName="rebuild-workspaces")["StackPolicyBody"]
    for table in ("WorkspacesTable", "RebuildsTable", "ControlTable"):
        assert f"LogicalResourceId/{table}" in policy
    with pytest.raises(botocore.exceptions.ClientError, match="(?i)termination"):
        formation.delete_stack(StackName="rebuild-workspaces")
    # An update of ours replaces nothing.
    empty.deploy(MaxConcurrentRebuilds="10")
