"""Each permission of the functions' roles is needed: without it, something breaks."""

import copy
import json

import pytest
from conftest import FIGURES
from parliament import analyze_policy_string

# Lambda itself writes logs and traces with these, reads the stream, and notes what failed. ministack does
# so without, so that their absence would not show.
OF_LAMBDA = {
    "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords",
    "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams",
    "sqs:SendMessage",
}
LATEST_BUT_ONE = "01941f29-7c00-7000-8000-000000000001"
READS = [
    "/workspaces/ws-available0001",
    "/workspaces",
    "/workspaces?directory_id=d-906700a1b2",
    "/workspaces?bundle_id=wsb-0a1b2c3d4",
    "/rebuilds",
    "/rebuilds?ended_on=2026-11-30",
    "/pause",
    "/workspaces/ws-available0001/rebuilds",
    f"/workspaces/ws-available0001/rebuilds/{LATEST_BUT_ONE}",
]


def api_works(stack):
    """Uses the API in every way; whether nothing failed."""
    statuses = [stack.call(stack.operator, "GET", path)[0] for path in READS]
    statuses.append(stack.call(stack.operator, "PUT", "/workspaces/ws-impaired0001/protection")[0])
    statuses += [stack.call(stack.operator, method, "/pause")[0] for method in ("PUT", "DELETE")]
    by_name = {"x-amz-target": "WorkspacesService.DescribeWorkspaces"}
    body = {"WorkspaceName": "build-desk-1"}
    statuses.append(stack.call(stack.operator, "POST", "/", body, **by_name)[0])
    return all(status < 500 for status in statuses)


def following_works(stack):
    """Has a rebuild handed over, followed and recorded; whether no pass failed."""
    stack.call(stack.operator, "POST", "/workspaces/ws-available0001/rebuilds")
    while stack.call(stack.operator, "GET", "/rebuilds")[1]["data"]["rebuilds"]:
        if stack.running.follow():
            return False
    # The last write releases the WorkSpace.
    return stack.running.follow() is None


def announcing_works(stack):
    """Has a rebuild end and its end announced; whether that did not fail."""
    assert following_works(stack)
    return stack.running.announce(attempts=1) == 0


def without_each(policy):
    """The policy without each of its permissions in turn, and which one that is."""
    for number, statement in enumerate(policy["Statement"]):
        for kind in ("Action", "Resource"):
            values = statement[kind] if isinstance(statement[kind], list) else [statement[kind]]
            if kind == "Resource" and len(values) == 1:
                continue
            for value in values:
                if value in OF_LAMBDA:
                    continue
                less = copy.deepcopy(policy)
                rest = [other for other in values if other != value]
                if rest:
                    less["Statement"][number][kind] = rest
                else:
                    del less["Statement"][number]
                yield f"{statement['Action']} on {statement['Resource']}: {value}", less


KNOWN = {
    # CodeDeploy asks for all alarms at once.
    ("DeploymentRole/deploy", "RESOURCE_STAR"),
    # The linter wants DescribeExecution for express executions too, which no campaign has.
    ("CampaignRole/items", "RESOURCE_MISMATCH"),
}


def test_a_linter_finds_nothing_in_the_policies(stack):
    resources = stack.running.client("cloudformation").describe_stack_resources(
        StackName="rebuild-workspaces"
    )["StackResources"]
    identities = stack.running.client("iam")
    documents = {}
    for resource in resources:
        name, id = resource["LogicalResourceId"], resource["PhysicalResourceId"]
        if resource["ResourceType"] == "AWS::IAM::Role":
            for policy in identities.list_role_policies(RoleName=id)["PolicyNames"]:
                found = identities.get_role_policy(RoleName=id, PolicyName=policy)
                documents[f"{name}/{policy}"] = found["PolicyDocument"]
        if resource["ResourceType"] == "AWS::IAM::ManagedPolicy":
            version = identities.get_policy_version(PolicyArn=id, VersionId="v1")["PolicyVersion"]
            documents[name] = version["Document"]
    assert len(documents) >= 9
    found = {
        (name, finding.issue)
        for name, document in documents.items()
        for finding in analyze_policy_string(json.dumps(document)).findings
    }
    assert found == KNOWN


@pytest.mark.parametrize(
    "role, name, works",
    [
        ("RebuildRole", "rebuild", api_works),
        ("FollowRole", "follow", following_works),
        ("AnnounceRole", "announce", announcing_works),
    ],
)
def test_without_any_permission_something_breaks(stack, role, name, works):
    formation, identities = (stack.running.client(service) for service in ("cloudformation", "iam"))
    role = formation.describe_stack_resource(StackName="rebuild-workspaces", LogicalResourceId=role)
    role = role["StackResourceDetail"]["PhysicalResourceId"]
    policy = identities.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    put = lambda document: identities.put_role_policy(
        RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document)
    )
    assert works(stack)
    unneeded = []
    for permission, less in without_each(policy):
        put(less)
        if works(stack):
            unneeded.append(permission)
        put(policy)
        assert works(stack), f"after {permission}"
        FIGURES["permissions taken away"] += 1
    assert unneeded == []
