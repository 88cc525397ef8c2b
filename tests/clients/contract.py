"""The error table of the AWS faces: each row has a request and the expected answer."""

import dataclasses
import json

import cbor2

REBUILD, DESCRIBE = "RebuildWorkspaces", "DescribeWorkspaces"
VALID = {"RebuildWorkspaceRequests": [{"WorkspaceId": "ws-available0001"}]}
LIMIT = 16 * 1024

SERIALIZATION = 400, "SerializationException"
VALIDATION = 400, "ValidationException"
COMBINATION = 400, "InvalidParameterValuesException"
UNKNOWN = 400, "UnknownOperationException"
THROTTLED = 400, "ThrottlingException"
TOO_LARGE = 413, "RequestEntityTooLargeException"
UNAVAILABLE = 503, "ServiceUnavailableException"
FAILURE = 500, "InternalFailure"


@dataclasses.dataclass
class Row:
    name: str
    operation: str
    body: bytes
    error: tuple
    message: str
    # "operation" means the target of the operation; None omits the header.
    target: str | None = "operation"
    # The body in CBOR, if it is not the value of the JSON body.
    cbor: bytes | None = None
    # The fault of DynamoDB, as in `Relay`, or "unreachable".
    fault: object = None

    @property
    def headers(self):
        headers = {"content-type": "application/x-amz-json-1.1"}
        target = f"WorkspacesService.{self.operation}" if self.target == "operation" else self.target
        return headers if target is None else {**headers, "x-amz-target": target}

    def in_cbor(self):
        """The same row for the CBOR face: its path, headers and body, and the message."""
        body = self.cbor
        if body is None:
            try:
                body = cbor2.dumps(json.loads(self.body))
            except ValueError:
                body = self.body
        service, _, operation = f"WorkspacesService.{self.operation}".partition(".")
        if self.target != "operation":
            service, _, operation = (self.target or "").partition(".")
        headers = {
            "smithy-protocol": "rpc-v2-cbor",
            "content-type": "application/cbor",
            "accept": "application/cbor",
        }
        message = self.message.replace("valid JSON", "valid CBOR")
        return f"/service/{service}/operation/{operation}", headers, body, message

    @property
    def shown(self):
        """The error text of boto3 and the CLI. Rows with a fault are sent without retries."""
        _, code = self.error
        retries = " (reached max retries: 0)" if self.fault else ""
        return f"An error occurred ({code}) when calling the {self.operation} operation{retries}: {self.message}"


def rows(operation, error, *cases, **more):
    for name, body, message in cases:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        yield Row(name, operation, body, error, message, **more)


def requests(*entries):
    return {"RebuildWorkspaceRequests": list(entries)}


def ids(*ids):
    return requests(*({"WorkspaceId": id} for id in ids))


def broken(place, constraint):
    return f"1 validation error detected: Value at '{place}' failed to satisfy constraint: {constraint}"


def at_least(count, what="length"):
    return f"Member must have {what} greater than or equal to {count}"


def at_most(count, what="length"):
    return f"Member must have {what} less than or equal to {count}"


PATTERN = "Member must satisfy regular expression pattern: "
WORKSPACE = PATTERN + "^ws-[0-9a-z]{8,63}$"
DIRECTORY = PATTERN + "^(d-[0-9a-f]{8,63}|wsd-[0-9a-z]{8,63})$"
BUNDLE = PATTERN + "^wsb-[0-9a-z]{8,63}$"
NAME = PATTERN + "^[a-zA-Z0-9_()][a-zA-Z0-9_.()-]{1,63}$"
LIST = "rebuildWorkspaceRequests"
ID = "rebuildWorkspaceRequests.1.member.workspaceId"
ONE = {"WorkspaceIds": ["ws-available0001"]}
IN_DIRECTORY = {"DirectoryId": "d-906700a1b2"}
IN_BUNDLE = {"BundleId": "wsb-0a1b2c3d4"}
TOGETHER = (
    "An invalid number of parameters provided with DescribeWorkspaces. Only one of the following "
    "are allowed to be specified: BundleId, DirectoryId, WorkSpaceIds, Filters."
)
NO_DIRECTORY = "The DirectoryId parameter is required when UserName is used."
NOT_A_TOKEN = "NextToken is not one of this listing's"
TARGETS = "the operation is not known here; known are RebuildWorkspaces and DescribeWorkspaces"
BUSY = "the service is busy; nothing was changed; try again later"
OUTCOME = (
    "it is not known whether the rebuild was accepted; check the WorkSpace before you retry"
)
INTERNAL = "an internal error occurred"

OBJECT = "the body must be an object, with each field once"

ROWS = [
    *rows(
        REBUILD,
        SERIALIZATION,
        ("not JSON", b"{", "the body is not valid JSON"),
        ("two documents", b"{}{}", "the body is not valid JSON"),
        ("not UTF-8", b'{"a":"\xff"', "the body is not valid JSON"),
        ("an array", [VALID], OBJECT),
        ("null", None, OBJECT),
        ("list of wrong type", {"RebuildWorkspaceRequests": "ws-available0001"}, "RebuildWorkspaceRequests must be an array"),
        ("list is the entry", {"RebuildWorkspaceRequests": {"WorkspaceId": "ws-available0001"}}, "RebuildWorkspaceRequests must be an array"),
        ("entry of wrong type", requests("ws-available0001"), "RebuildWorkspaceRequests[] must be an object, with each field once"),
        ("entry is null", requests(None), "RebuildWorkspaceRequests[] must be an object, with each field once"),
        ("id of wrong type", ids(4711), "WorkspaceId must be a string"),
    ),
    *rows(
        REBUILD,
        SERIALIZATION,
        ("list twice", b'{"RebuildWorkspaceRequests":[],"RebuildWorkspaceRequests":[]}', OBJECT),
        cbor=b"\xa2" + 2 * (cbor2.dumps("RebuildWorkspaceRequests") + b"\x80"),
    ),
    *rows(
        REBUILD,
        VALIDATION,
        ("empty body", b"", broken(LIST, "Member must not be null")),
        ("no list", {}, broken(LIST, "Member must not be null")),
        ("list is null", {"RebuildWorkspaceRequests": None}, broken(LIST, "Member must not be null")),
        ("empty list", requests(), broken(LIST, at_least(1))),
        ("two requests", ids("ws-available0001", "ws-stopped0001"), broken(LIST, at_most(1))),
        ("the same twice", ids("ws-available0001", "ws-available0001"), broken(LIST, at_most(1))),
        ("no id", requests({}), broken(ID, "Member must not be null")),
        ("id in upper case", ids("ws-AVAILABLE0001"), broken(ID, WORKSPACE)),
        ("id too short", ids("ws-0a1b2c3"), broken(ID, WORKSPACE)),
        ("id too long", ids("ws-" + "0" * 64), broken(ID, WORKSPACE)),
        ("id with a newline", ids("ws-available0001\n"), broken(ID, WORKSPACE)),
        ("empty id", ids(""), broken(ID, WORKSPACE)),
        (
            "two constraints",
            ids("ws-available0001", "nonsense"),
            "2 validation errors detected: "
            f"Value at '{LIST}' failed to satisfy constraint: {at_most(1)}; "
            f"Value at '{LIST}.2.member.workspaceId' failed to satisfy constraint: {WORKSPACE}",
        ),
    ),
    *rows(
        DESCRIBE,
        SERIALIZATION,
        ("ids of wrong type", {"WorkspaceIds": "ws-available0001"}, "WorkspaceIds must be an array"),
        ("id of wrong type", {"WorkspaceIds": [1]}, "WorkspaceIds[] must be a string"),
        ("directory of wrong type", {"DirectoryId": 1}, "DirectoryId must be a string"),
        ("user of wrong type", {"UserName": ["ana"]}, "UserName must be a string"),
        ("bundle of wrong type", {"BundleId": True}, "BundleId must be a string"),
        ("limit of wrong type", {"Limit": "5"}, "Limit must be an integer"),
        ("limit with a fraction", {"Limit": 2.5}, "Limit must be an integer"),
        ("token of wrong type", {"NextToken": {}}, "NextToken must be a string"),
    ),
    *rows(
        DESCRIBE,
        VALIDATION,
        ("no ids", {"WorkspaceIds": []}, broken("workspaceIds", at_least(1))),
        ("26 ids", {"WorkspaceIds": [f"ws-{n:08}" for n in range(26)]}, broken("workspaceIds", at_most(25))),
        ("bad ids", {"WorkspaceIds": ["i-1", "i-2"]}, broken("workspaceIds", f"Member must satisfy constraint: [{WORKSPACE}]")),
        ("bad directory", {"DirectoryId": "d-906700G1b2"}, broken("directoryId", DIRECTORY)),
        ("bad name", {"WorkspaceName": "-"}, broken("workspaceName", NAME)),
        ("bad bundle", {"BundleId": "wsb-1"}, broken("bundleId", BUNDLE)),
        ("empty user", {**IN_DIRECTORY, "UserName": ""}, broken("userName", at_least(1))),
        ("long user", {**IN_DIRECTORY, "UserName": "u" * 64}, broken("userName", at_most(63))),
        ("limit 0", {"Limit": 0}, broken("limit", at_least(1, "value"))),
        ("limit 26", {"Limit": 26}, broken("limit", at_most(25, "value"))),
        ("empty token", {"NextToken": ""}, broken("nextToken", at_least(1))),
        ("long token", {"NextToken": "t" * 2049}, broken("nextToken", at_most(2048))),
    ),
    *rows(
        DESCRIBE,
        COMBINATION,
        ("ids and directory", {**ONE, **IN_DIRECTORY}, TOGETHER),
        ("ids and bundle", {**ONE, **IN_BUNDLE}, TOGETHER),
        ("directory and bundle", {**IN_DIRECTORY, **IN_BUNDLE}, TOGETHER),
        ("user alone", {"UserName": "ana.silva"}, NO_DIRECTORY),
        ("name and bundle", {"WorkspaceName": "mine", **IN_BUNDLE}, TOGETHER),
        ("invalid token", {"NextToken": "nonsense"}, NOT_A_TOKEN),
        ("another listing's token", {**IN_DIRECTORY, "NextToken": "ws-available0001"}, NOT_A_TOKEN),
    ),
    *rows(REBUILD, UNKNOWN, ("no target", VALID, TARGETS), target=None),
    *rows(REBUILD, UNKNOWN, ("empty target", VALID, TARGETS), target=""),
    *rows(REBUILD, UNKNOWN, ("unknown operation", VALID, TARGETS), target="WorkspacesService.RebootWorkspaces"),
    *rows(REBUILD, UNKNOWN, ("other service", VALID, TARGETS), target="DynamoDB_20120810.RebuildWorkspaces"),
    *rows(REBUILD, UNKNOWN, ("other case", VALID, TARGETS), target="WorkspacesService.rebuildWorkspaces"),
    *rows(REBUILD, TOO_LARGE, ("too large", json.dumps(VALID).encode().ljust(LIMIT + 1), "the body is larger than 16 KiB"), cbor=bytes(LIMIT + 1)),
    *rows(REBUILD, THROTTLED, ("throttled", VALID, BUSY), fault=(400, "ThrottlingException")),
    *rows(REBUILD, THROTTLED, ("conflict", VALID, BUSY), fault=(400, "TransactionConflictException")),
    *rows(REBUILD, UNAVAILABLE, ("not reachable", VALID, "the service is unavailable; nothing was changed; try again later"), fault="unreachable"),
    *rows(REBUILD, FAILURE, ("outcome unknown", VALID, OUTCOME), fault=(500, "InternalServerError")),
    *rows(REBUILD, FAILURE, ("denied", VALID, INTERNAL), fault=(400, "AccessDeniedException")),
    *rows(DESCRIBE, FAILURE, ("table missing", ONE, INTERNAL), fault=(400, "ResourceNotFoundException")),
]

REFUSING = [
    "PENDING", "IMPAIRED", "STARTING", "REBUILDING", "RESTORING", "MAINTENANCE",
    "ADMIN_MAINTENANCE", "TERMINATING", "TERMINATED", "SUSPENDED", "UPDATING", "STOPPING",
]


def failed_request(state):
    """The failed request for the seeded WorkSpace in this state."""
    id = f"ws-{state.lower().replace('_', '')}0001"
    return {
        "WorkspaceId": id,
        "ErrorCode": "InvalidResourceState.Workspace",
        "ErrorMessage": f"WorkSpace {id} is in state {state}; "
        "a rebuild is allowed only from AVAILABLE, ERROR, UNHEALTHY, STOPPED, REBOOTING",
    }


UNKNOWN_ID = {
    "WorkspaceId": "ws-nobody0001",
    "ErrorCode": "ResourceNotFound.Workspace",
    "ErrorMessage": "WorkSpace ws-nobody0001 was not found",
}
