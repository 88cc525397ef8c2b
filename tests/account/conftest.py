"""The stack in emulated accounts (scripts/account.py). The last line says how much was tried."""

import collections
import contextlib
import http.server
import json
import os
import pathlib
import platform
import socketserver
import sys
import threading
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import account  # noqa: E402

# A minute of a campaign's waiting takes a third of a second.
os.environ["SFN_WAIT_SCALE"] = "0.005"
# What was tried: "combinations deployed", "calls made" and so on.
FIGURES = collections.Counter()


class Stack:
    """The stack in an account of its own, filled with the samples, and an operator's key."""

    def __init__(self, running):
        self.running = running

    def deploy(self, stack=account.STACK, bootstraps=None, **parameters):
        programs = bootstraps or account.built_by_sam()
        self.running.deploy(programs, stack, Architecture=architecture(), **parameters)
        FIGURES["deployments"] += 1

    def put(self, ids, **attributes):
        """Puts WorkSpaces into the table: the sample ws-available0001 with other ids."""
        samples = json.loads((ROOT / "seed/workspaces.json").read_text())["workspaces"]
        [sample] = [
            item for item in (request["PutRequest"]["Item"] for request in samples)
            if item["WorkspaceId"]["S"] == "ws-available0001"
        ]
        database, table = self.running.client("dynamodb"), self.running.outputs["WorkspacesTable"]
        attributes = {name: {"S": value} for name, value in attributes.items()}
        for id in ids:
            database.put_item(TableName=table, Item={**sample, **attributes, "WorkspaceId": {"S": id}})

    def call(self, key, method, path, body=None, **headers):
        FIGURES["calls"] += 1
        return self.running.call(key, method, path, body, **headers)


class Queue:
    """A queue of everything that the stack announces on a bus, or that another target sends."""

    def __init__(self, stack, name):
        self.queues = stack.running.client("sqs")
        self.url = self.queues.create_queue(QueueName=name)["QueueUrl"]
        attributes = self.queues.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.arn = attributes["Attributes"]["QueueArn"]
        everybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": self.arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
        self.queues.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    def take(self):
        """What has arrived since the last call."""
        taken = []
        while found := self.queues.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                taken.append(json.loads(message["Body"]))
                self.queues.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def wait(self):
        """What has arrived, once there is something."""
        while not (taken := self.take()):
            threading.Event().wait(0.1)
        return taken


@contextlib.contextmanager
def server(answer):
    """A server on a free port; `answer` gets a POST's headers and body, and returns status and body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answered = answer(self.headers, body)
            self.send_response(status)
            self.send_header("content-length", str(len(answered)))
            self.end_headers()
            self.wfile.write(answered)

        def log_message(self, *_):
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


class Fleet:
    """A stand-in for the WorkSpaces API: WorkSpaces by id, each with the time of its newest snapshot. All
    their users are disconnected."""

    def __init__(self, snapshots, key=None):
        self.snapshots, self.rebuilt, self.key = snapshots, [], key
        # The policy of the only role that calls; None allows everything.
        self.policy = None

    def answer(self, headers, body):
        operation, asked = headers["x-amz-target"].partition(".")[2], json.loads(body)
        if not self.allows(f"workspaces:{operation}"):
            return 400, b'{"__type":"AccessDeniedException","message":"not authorized"}'
        return 200, json.dumps(getattr(self, operation)(**asked)).encode()

    def allows(self, action):
        return self.policy is None or any(action in statement["Action"] for statement in self.policy["Statement"])

    def DescribeWorkspaceDirectories(self, **_):
        return {"Directories": [{"DirectoryId": "d-906700a1b2"}]}

    def DescribeWorkspaces(self, WorkspaceIds=(), **_):
        ids = [id for id in WorkspaceIds or self.snapshots if id in self.snapshots]
        state = lambda id: "REBUILDING" if id in self.rebuilt else "AVAILABLE"
        encryption = {"VolumeEncryptionKey": self.key, "UserVolumeEncryptionEnabled": True} if self.key else {}
        one = lambda id: {"WorkspaceId": id, "DirectoryId": "d-906700a1b2", "State": state(id), **encryption}
        return {"Workspaces": [one(id) for id in ids]}

    def DescribeWorkspaceSnapshots(self, WorkspaceId):
        snapshot = {"SnapshotTime": self.snapshots[WorkspaceId].timestamp()}
        return {"RebuildSnapshots": [snapshot], "RestoreSnapshots": [snapshot]}

    def DescribeWorkspacesConnectionStatus(self, WorkspaceIds):
        one = lambda id: {"WorkspaceId": id, "ConnectionState": "DISCONNECTED"}
        return {"WorkspacesConnectionStatus": [one(id) for id in WorkspaceIds]}

    def RebuildWorkspaces(self, RebuildWorkspaceRequests):
        self.rebuilt += [request["WorkspaceId"] for request in RebuildWorkspaceRequests]
        return {"FailedRequests": []}


def forwarded(stack, headers, body):
    """The emulator's answer to a POST: status and body."""
    request = urllib.request.Request(stack.running.url, body, dict(headers))
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def architecture():
    return {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]


@pytest.fixture
def empty():
    """An account without the stack."""
    with account.account() as running:
        yield Stack(running)


@pytest.fixture(scope="module")
def stack():
    """The stack with the parameters of a fresh deployment."""
    with account.account() as running:
        stack = Stack(running)
        stack.deploy()
        running.seed()
        stack.operator = running.user("operator", running.outputs["OperatorPolicy"])
        yield stack


def pytest_terminal_summary(terminalreporter):
    figures = ", ".join(f"{count} {name}" for name, count in FIGURES.items())
    terminalreporter.write_line(f"emulated account: {figures}")
