"""Compares what DescribeWorkspaces shows with the members in the newest model of boto3."""

import json

import botocore.session
import cbor2
from test_raw import send

# One sample has every member.
SAMPLE = {"WorkspaceIds": ["ws-error0001"]}


def members_of(shape, place=""):
    """The paths of all members, such as `WorkspaceProperties.Protocols`."""
    if shape.type_name == "list":
        return members_of(shape.member, place)
    if shape.type_name != "structure":
        return {place}
    return set().union(
        *(members_of(member, f"{place}.{name}") for name, member in shape.members.items())
    )


def shown(value, place=""):
    if isinstance(value, list):
        return set().union(*(shown(entry, place) for entry in value))
    if not isinstance(value, dict):
        return {place}
    return set().union(*(shown(member, f"{place}.{name}") for name, member in value.items()))


def model():
    service = botocore.session.get_session().get_service_model("workspaces")
    return members_of(service.shape_for("Workspace"))


def test_every_member_of_the_model_is_shown_in_json(shared):
    headers = {"x-amz-target": "WorkspacesService.DescribeWorkspaces"}
    _, answer = send(shared.url, json.dumps(SAMPLE).encode(), headers)
    assert shown(answer["Workspaces"]) == model()


def test_every_member_of_the_model_is_shown_in_cbor(shared):
    headers = {
        "smithy-protocol": "rpc-v2-cbor",
        "content-type": "application/cbor",
        "accept": "application/cbor",
    }
    path = "/service/WorkspacesService/operation/DescribeWorkspaces"
    _, answer = send(shared.url, cbor2.dumps(SAMPLE), headers, path=path, decode=cbor2.loads)
    assert shown(answer["Workspaces"]) == model()
