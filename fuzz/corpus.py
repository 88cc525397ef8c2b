#!/usr/bin/env python3
"""Writes the first inputs of each fuzz target to fuzz/corpus, from events/, seed/ and the lists below."""

import base64
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
# The longest input. The event with a body that is too large is longer.
LONGEST = 4096

REBUILD_ID = "01941f29-7c00-7000-8000-000000000002"
DIRECTORY = "/directories/d-906700a1b2"
# Method, path and query.
ENVELOPE = [
    "GET /workspaces",
    "GET /workspaces?limit=1&bundle_id=wsb-5e6f7g8h9",
    f"GET {DIRECTORY}/workspaces?user_name=bo.lindqvist",
    f"GET {DIRECTORY}/workspaces/ws-available0001",
    "GET /rebuilds?status=REQUESTED",
    "GET /rebuilds?limit=1",
    "GET /rebuilds?ended_on=2025-01-01",
    "GET /rebuilds?ended_on=2025-02-30",
    f"GET /workspaces/ws-requested0001/rebuilds/{REBUILD_ID}",
    f"DELETE /workspaces/ws-requested0001/rebuilds/{REBUILD_ID}",
    f"DELETE /workspaces/ws-cancelled0001/rebuilds/{REBUILD_ID}",
    f"DELETE {DIRECTORY}/workspaces/ws-requested0001/rebuilds/{REBUILD_ID}",
    f"POST {DIRECTORY}/workspaces/ws-available0001/rebuilds",
    "PUT /workspaces/ws-available0001/protection",
    # Their requests to DynamoDB fail.
    "POST /workspaces/ws-throttled0001/rebuilds",
    "POST /workspaces/ws-denied0001/rebuilds",
    "POST /workspaces/ws-failing0001/rebuilds",
    "POST /workspaces/ws-garbled0001/rebuilds",
    "POST /workspaces/ws-lost0001/rebuilds",
    "GET /workspaces/ws-denied0001",
    "PUT /workspaces/ws-lost0001/protection",
]
# Bodies that are nearly valid.
REFUSED = [
    '{"Reason":"a","Reason":"b"}',
    '{"Reason":"a","Other":1}',
    '{"MaximumSnapshotAgeHours":8761}',
    '[["a",1]]',
]
AWS = [
    ("RebuildWorkspaces", {"RebuildWorkspaceRequests": [{"WorkspaceId": "ws-available0001"}]}),
    ("RebuildWorkspaces", {"RebuildWorkspaceRequests": [{"WorkspaceId": "ws-throttled0001"}]}),
    ("RebuildWorkspaces", {"RebuildWorkspaceRequests": [{"WorkspaceId": "ws-garbled0001"}]}),
    ("RebuildWorkspaces", {"RebuildWorkspaceRequests": [{"WorkspaceId": "ws-protected0001"}]}),
    ("DescribeWorkspaces", {}),
    ("DescribeWorkspaces", {"WorkspaceIds": ["ws-available0001", "ws-requested0001"], "Limit": 1}),
    ("DescribeWorkspaces", {"DirectoryId": "d-906700a1b2", "UserName": "bo.lindqvist", "NextToken": None}),
    ("DescribeWorkspaces", {"BundleId": "wsb-5e6f7g8h9", "Limit": 25}),
    ("DescribeWorkspaces", {"WorkspaceName": "kiosk-1", "NextToken": "AAAA"}),
]
# Bodies in CBOR that no encoder here writes: indefinite lengths, a big integer, a float, a tag, bytes,
# a member twice. The last ones are not well-formed.
CBOR = [
    "bf782052656275696c64576f726b737061636552657175657374739fbf6b576f726b7370616365496470"
    "77732d617661696c61626c6530303031ffffff",
    "a1654c696d6974c24119",
    "a1654c696d6974f94e40",
    "a1654c696d6974c105",
    "bf654c696d6974187f61784100ff",
    "a2654c696d697401654c696d697402",
    "a161787f7f6161ffff",
    "a16178f818",
    "a161785f6161ff",
]
# The number of the listing, plus 8 if the rest is a place in it; see fuzz_targets/token.rs.
TOKENS = [
    (0, "AAAA"),
    (8, "ws-available0001"),
    (9, "ws-available0001/bo.lindqvist"),
    (10, "ws-available0001/bo"),
    (11, "ws-available0001"),
    (12, "2025-01-01T12:00:00Z/ws-requested0001"),
    (13, REBUILD_ID),
    (14, f"ws-available0001/{REBUILD_ID}/2025-01-01T12:00:00Z"),
]
HEADERS = ["content-type", "idempotency-key", "x-amz-target", "smithy-protocol", "amz-sdk-invocation-id"]


def main():
    events = sorted((ROOT / "events").glob("*.json"))
    events = {path.stem: json.loads(path.read_text()) for path in events if ".expected" not in path.name}
    record = events.pop("ended")["Records"][0]["dynamodb"]["NewImage"]
    for name, event in events.items():
        write("event", name, compact(event).encode())
        headers = {name: event["headers"][name] for name in HEADERS if name in event["headers"]}
        body = (event["body"] or "").encode()
        if event["isBase64Encoded"]:
            body = base64.b64decode(body)
        path = "/" + (event["pathParameters"] or {}).get("proxy", "")
        query = "&".join("=".join(pair) for pair in (event["queryStringParameters"] or {}).items())
        start = f"{event['httpMethod']} {path}" + (query and f"?{query}")
        if "smithy-protocol" in headers:
            write("cbor", name, b"r" + body)
            write("aws_cbor", name, request(start, headers, body))
        else:
            face = "aws_json" if "x-amz-target" in headers else "envelope"
            write(face, name, request(start, headers, body))
    for number, start in enumerate(ENVELOPE):
        write("envelope", f"envelope-{number}", request(start, {"idempotency-key": "4711"}))
    for number, body in enumerate(REFUSED):
        start = f"POST {DIRECTORY}/workspaces/ws-available0001/rebuilds"
        write("envelope", f"refused-{number}", request(start, {}, body.encode()))
    for number, (operation, body) in enumerate(AWS):
        name = f"aws-{number}"
        target = {"x-amz-target": f"WorkspacesService.{operation}"}
        write("aws_json", name, request("POST /", target, json.dumps(body).encode()))
        write_cbor(name, operation, cbor(body))
    for number, body in enumerate(CBOR):
        operation = "DescribeWorkspaces" if number else "RebuildWorkspaces"
        write_cbor(f"cbor-{number}", operation, bytes.fromhex(body))
    for number, (listing, text) in enumerate(TOKENS):
        write("token", f"token-{number}", bytes([listing]) + text.encode())
    write_items(record)


def write_cbor(name, operation, body):
    headers = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"}
    path = f"/service/WorkspacesService/operation/{operation}"
    write("cbor", name, operation[0].lower().encode() + body)
    write("aws_cbor", name, request(f"POST {path}", headers, body))


def write_items(record):
    """The answers of the cases of fuzz_targets/item.rs."""
    seed = json.loads((ROOT / "seed" / "workspaces.json").read_text())["workspaces"]
    items = [put["PutRequest"]["Item"] for put in seed]
    items = {item["WorkspaceId"]["S"]: item for item in items}
    rebuild_id, ended_at = record["RebuildId"], record["EndedAt"]
    remembered = {"Id": rebuild_id, "EndedAt": ended_at, "Fingerprint": {"S": "AAAAAAAA"}}
    full = items["ws-available0001"] | {
        "Rebuild": {"M": {"Id" if name == "RebuildId" else name: record[name] for name in record}},
        "OpenRebuild": {"S": "ENDED"},
        "OpenSince": record["CreatedAt"],
        "PreviousState": {"S": "AVAILABLE"},
        "Keys": {"M": {"AAAAAAAAAAAAAAAAAAAAAA": {"M": remembered}}},
        "ExpiresAt": {"N": "1735732890"},
        "DataReplicationSettings": {"M": {"RecoverySnapshotTime": {"N": "1735732890"}}},
        "ModificationStates": {"L": [{"M": {"State": {"S": "UPDATE_IN_PROGRESS"}}}]},
    }
    for number, item in enumerate([full, items["ws-protected0001"], items["ws-starting0001"]]):
        keys = ["WorkspaceId", "DirectoryId", "UserName", "OpenSince"]
        key = {name: item[name] for name in keys if name in item}
        id_only = {"WorkspaceId": item["WorkspaceId"]}
        ended = id_only | {"RebuildId": rebuild_id, "EndedOn": {"S": "2025-01-01"}, "EndedAt": ended_at}
        answers = {
            "abd": {"Item": item},
            "c": {"Items": [record], "LastEvaluatedKey": id_only | {"RebuildId": rebuild_id}},
            "ej": {"Items": [item], "LastEvaluatedKey": id_only},
            "fh": {"Items": [key], "LastEvaluatedKey": key},
            "gi": [item],
            "klm": {"__type": "x#ConditionalCheckFailedException", "message": "x", "Item": item},
            "n": {"Attributes": item},
            "o": {"Items": [record], "LastEvaluatedKey": ended},
        }
        for letters, answer in answers.items():
            for letter in letters:
                write("item", f"{letter}-{number}", (letter + compact(answer)).encode())
    write("item", "z", ("z" + compact(record)).encode())


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def request(start, headers, body=b""):
    """A request as text; see fuzz/src/request.rs."""
    lines = [start, *(f"{name}: {value}" for name, value in headers.items())]
    return "\n".join(lines).encode() + b"\n\n" + body


def cbor(value):
    """A value of lists, maps, texts, small integers and null in CBOR."""
    match value:
        case None:
            return b"\xf6"
        case int():
            return head(0, value)
        case str():
            return head(3, len(value)) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            members = (cbor(name) + cbor(member) for name, member in value.items())
            return head(5, len(value)) + b"".join(members)


def head(major, argument):
    if argument < 24:
        return bytes([major << 5 | argument])
    return bytes([major << 5 | 24, argument])


def write(target, name, content):
    if len(content) <= LONGEST:
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
