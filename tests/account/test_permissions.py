"""Each permission of the functions' roles is needed: without it, something breaks."""

import copy
import datetime
import json

import pytest
from conftest import FIGURES, Fleet, server
from parliament import analyze_policy_string
from test_parameters import REAL

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


def previewing_works(stack):
    """Asks for a preview; whether that did not fail."""
    return stack.call(stack.operator, "GET", "/workspaces/ws-available0001/preview")[0] == 200


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
        ("PreviewRole", "preview", previewing_works),
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


# What becomes of a rebuild, of one that waits for its user, and of the pass, if a permission is missing.
HANDED_OVER, WAITS = ("STARTED", None), ("REQUESTED", None)
DENIALS = {
    "workspaces:RebuildWorkspaces": (2 * [("FAILED", "AccessDeniedException")], "ok"),
    "workspaces:DescribeWorkspaceSnapshots": ([WAITS, WAITS], "failed"),
    "workspaces:DescribeWorkspaces": ([WAITS, WAITS], "failed"),
    "workspaces:DescribeWorkspacesConnectionStatus": ([HANDED_OVER, WAITS], "failed"),
    "kms:DescribeKey": ([HANDED_OVER, HANDED_OVER], "ok"),
}
PREVIEWS = {
    "workspaces:DescribeWorkspaceSnapshots": 503,
    "workspaces:DescribeWorkspaces": 503,
    "workspaces:DescribeWorkspacesConnectionStatus": 503,
    "kms:DescribeKey": "UNKNOWN",
    "dynamodb:GetItem": 500,
    "dynamodb:PutItem": 503,
}


def test_each_permission_for_the_fleet_that_is_missing_has_its_answer(empty):
    """The stand-in for the WorkSpaces API asks the role's policy, as AWS does; the emulator, for KMS."""
    stack = empty
    now = datetime.datetime.now(datetime.UTC)
    numbers = iter(range(100))
    keys = stack.running.client("kms")
    key = keys.create_key()["KeyMetadata"]["Arn"]
    fleet = Fleet({f"ws-fleet{number:04}": now for number in range(100)}, key)
    with server(fleet.answer) as stack.running.fleet:
        stack.deploy(**REAL, WorkspacesCallsPerSecond="999")
        stack.put(fleet.snapshots)
        operator = stack.running.user("operator", stack.running.outputs["OperatorPolicy"])
        formation, identities = (stack.running.client(name) for name in ("cloudformation", "iam"))

        def policy_of(role):
            role = formation.describe_stack_resource(StackName="rebuild-workspaces", LogicalResourceId=role)
            at = {"RoleName": role["StackResourceDetail"]["PhysicalResourceId"], "PolicyName": "fleet"}
            return at, identities.get_role_policy(**at)["PolicyDocument"]

        def without(policy, action):
            less = copy.deepcopy(policy)
            for statement in less["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                statement["Action"] = [other for other in actions if other != action] or ["workspaces:None"]
            return less

        def rebuild(**body):
            """A rebuild that passes have tried to hand over, and whether all passes were without errors."""
            id = f"ws-fleet{next(numbers):04}"
            status, accepted = stack.call(operator, "POST", f"/workspaces/{id}/rebuilds", body)
            assert status == 202, accepted
            errors = [stack.running.follow() for _ in range(2)]
            found = stack.call(operator, "GET", f"/workspaces/{id}/rebuilds/{accepted['data']['id']}")[1]["data"]
            stack.call(operator, "DELETE", f"/workspaces/{id}/rebuilds/{found['id']}")
            stack.running.follow()
            code = found.get("error", {}).get("code")
            return (found["status"], code), "failed" if any(errors) else "ok"

        at, policy = policy_of("FollowRole")
        actions = {action for s in policy["Statement"] for action in
                   (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])}
        assert actions == set(DENIALS)
        for action, (expected, passes) in DENIALS.items():
            fleet.policy = without(policy, action)
            identities.put_role_policy(**at, PolicyDocument=json.dumps(fleet.policy))
            plain, waiting = rebuild(), rebuild(WaitForDisconnect=True)
            assert [plain[0], waiting[0]] == expected, action
            assert plain[1] == passes, action
            FIGURES["permissions taken away"] += 1
        fleet.policy = None
        identities.put_role_policy(**at, PolicyDocument=json.dumps(policy))
        assert rebuild() == (HANDED_OVER, "ok")
        keys.disable_key(KeyId=key)
        assert rebuild() == (("FAILED", "ENCRYPTION_KEY_UNUSABLE"), "ok")
        keys.enable_key(KeyId=key)

        def preview():
            path = f"/workspaces/ws-fleet{next(numbers):04}/preview"
            status, answer = stack.call(operator, "GET", path)
            return answer["data"]["encryption_key"] if status == 200 else status

        at, policy = policy_of("PreviewRole")
        assert preview() == "ENABLED"
        for action, expected in PREVIEWS.items():
            fleet.policy = without(policy, action)
            identities.put_role_policy(**at, PolicyDocument=json.dumps(fleet.policy))
            assert preview() == expected, action
            FIGURES["permissions taken away"] += 1
