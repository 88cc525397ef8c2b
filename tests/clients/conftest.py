"""Starts the local run for the tests as a user would, each on its own ports."""

import collections
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import urllib.parse

import boto3
import pytest
from botocore.config import Config

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from local_run import built  # noqa: E402

REGION = "us-east-1"
# How many WorkSpaces a local run has.
SAMPLES = len(json.loads((ROOT / "seed/workspaces.json").read_text())["workspaces"])


class LocalRun:
    """A running local run: its URLs, and the commands that it printed."""

    def __init__(self, lines):
        self.url, self.dynamodb, self.commands = None, None, []
        for line in lines:
            if line.startswith("Listening on "):
                self.url = line.split()[2]
            elif line.startswith("DynamoDB on "):
                self.dynamodb = line.split()[2]
            elif line.startswith("  "):
                self.commands.append(line.strip())
            elif line.startswith("Ctrl-C"):
                break
        assert self.url and self.dynamodb and self.commands, "the local run did not start"


@contextlib.contextmanager
def local_run(*options, rebuild_seconds=3600):
    """Starts a local run. By default no rebuild ends during a test."""
    ports = ["--port", "0", "--eventbridge-port", "0"]
    command = [built(), *ports, "--rebuild-seconds", str(rebuild_seconds), *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            run = LocalRun(process.stdout)
            # Read the log, because the run blocks once the pipe is full.
            log = threading.Thread(target=collections.deque, args=(process.stdout, 0), daemon=True)
            log.start()
            yield run
        finally:
            process.terminate()
        log.join()


@pytest.fixture
def local():
    """A new run for each test."""
    with local_run("--dynamodb-port", "0") as run:
        yield run


@pytest.fixture(scope="session")
def shared():
    """One run, shared by all tests that change nothing."""
    with local_run("--dynamodb-port", "0") as run:
        yield run


class Relay(http.server.ThreadingHTTPServer):
    """A proxy that passes requests on to a server, and can inject a fault.

    A fault is a DynamoDB error, `(status, name)`, or "lost": the request goes through, and its
    answer is dropped. With `once`, the fault affects only the next request.
    """

    daemon_threads = True

    def __init__(self, upstream):
        super().__init__(("127.0.0.1", 0), RelayHandler)
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.fault, self.once, self.seen = None, False, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class RelayHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        fault = self.server.fault
        if self.server.once:
            self.server.fault = None
        operation = self.headers["x-amz-target"] or self.path
        self.server.seen.append(re.split("[./]", operation)[-1])
        if isinstance(fault, tuple):
            status, name = fault
            error = '{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"SECRET"}' % name
            return self.answer(status, {}, error.encode())
        upstream = http.client.HTTPConnection(self.server.upstream)
        upstream.request("POST", self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        body = answer.read()
        upstream.close()
        if fault == "lost":
            self.close_connection = True
            return None
        return self.answer(answer.status, dict(answer.headers), body)

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def relay(local):
    """A relay in front of the API of the run `local`."""
    with Relay(local.url) as relay:
        yield relay
        relay.shutdown()


@pytest.fixture(scope="session")
def faulty(shared):
    """A run whose DynamoDB fails on demand: `faulty.dynamodb_relay.fault = …`."""
    with Relay(shared.dynamodb) as relay:
        with local_run("--dynamodb-endpoint", relay.url) as run:
            run.dynamodb_relay = relay
            yield run
        relay.shutdown()


@pytest.fixture(scope="session")
def unreachable():
    """A run whose DynamoDB refuses connections: its port is bound, but not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with local_run("--dynamodb-endpoint", url) as run:
            yield run


@pytest.fixture
def api(row, request):
    """The run for a row of the error table, with the fault of the row."""
    if row.fault == "unreachable":
        yield request.getfixturevalue("unreachable")
    elif row.fault:
        run = request.getfixturevalue("faulty")
        run.dynamodb_relay.fault = row.fault
        yield run
        run.dynamodb_relay.fault = None
    else:
        yield request.getfixturevalue("shared")


JSON, CBOR = "json", "smithy-rpc-v2-cbor"


def boto3_client(url, attempts=3, protocol=JSON):
    """A client that speaks a protocol of the model. (By itself, boto3 prefers JSON.)"""
    session = boto3.Session()
    loader = session._session.get_component("data_loader")
    loader.load_service_model("workspaces", "service-2")["metadata"]["protocols"] = [protocol]
    client = session.client(
        "workspaces",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}),
    )
    assert client.meta.service_model.resolved_protocol == protocol
    return client


def aws_environment(**more):
    """The environment of a user without AWS configuration, plus these variables."""
    return {
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": "/nowhere",
        "LC_ALL": "C.UTF-8",
        **more,
    }


def aws(url, *arguments, **environment):
    """Runs `aws workspaces …`; returns its exit status, output and error output."""
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    command = ["aws", "workspaces", *arguments, "--endpoint-url", url, "--region", REGION]
    return subprocess.run(
        command,
        env=aws_environment(**credentials, **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
