"""The asynchronous client, over both protocols."""

import asyncio

import botocore.exceptions
import pytest
from aiobotocore.session import get_session
from conftest import CBOR, JSON, REGION, SAMPLES

AVAILABLE = "ws-available0001"


async def use(url, protocol):
    """What the client sees: a rebuild, its repetition, an error, and all pages."""
    session = get_session()
    loader = session.get_component("data_loader")
    loader.load_service_model("workspaces", "service-2")["metadata"]["protocols"] = [protocol]
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    at = {"region_name": REGION, "endpoint_url": url}
    async with session.create_client("workspaces", **at, **keys) as client:
        assert client.meta.service_model.resolved_protocol == protocol
        request = {"RebuildWorkspaceRequests": [{"WorkspaceId": AVAILABLE}]}
        accepted = await client.rebuild_workspaces(**request)
        [again] = (await client.rebuild_workspaces(**request))["FailedRequests"]
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            await client.describe_workspaces(UserName="ana.silva")
        pages = client.get_paginator("describe_workspaces").paginate(
            PaginationConfig={"PageSize": 7}
        )
        listed = [workspace["WorkspaceId"] async for page in pages for workspace in page["Workspaces"]]
    return accepted["FailedRequests"], again["ErrorCode"], raised.value, listed


@pytest.mark.parametrize("protocol", [JSON, CBOR])
def test_both_operations_an_error_and_paging(local, protocol):
    accepted, again, error, listed = asyncio.run(use(local.url, protocol))
    assert accepted == []
    assert again == "InvalidResourceState.Workspace"
    assert error.response["Error"]["Code"] == "InvalidParameterValuesException"
    assert len(listed) == len(set(listed)) == SAMPLES
