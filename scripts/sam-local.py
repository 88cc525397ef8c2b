#!/usr/bin/env python3
"""Runs the built functions under `sam local`, against the local run's DynamoDB and EventBridge.

Runs `sam local invoke` with each event in events/ and compares the answer with the file beside it.
Then runs `sam local start-api` and calls it with curl: a rebuild and its `location`, and a rebuild in
each protocol of AWS clients.

Needs cargo, curl, a Docker engine, sam (requirements.txt), and a build for this machine:
    sam build --parameter-overrides Architecture=x86_64
"""

import base64
import ipaddress
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from local_run import built

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
REAL_IMAGE = f"public.ecr.aws/lambda/provided:al2023-{ARCHITECTURE}"
STAND_IN = "rebuild-workspaces-stand-in"

# Values that differ in each run.
ID = re.compile(r"[0-9A-Za-z_-]{8,}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def run(*command):
    """Runs a command that must succeed; returns its output."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def succeeds(*command):
    return subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def started(pattern, *command):
    """Runs a server; yields the match once its output matches `pattern`."""
    server = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output = []
        for line in server.stdout:
            output.append(line)
            if match := re.search(pattern, "".join(output)):
                break
        else:
            sys.exit(f"error: {' '.join(command)}\n{''.join(output)}")
        # A full pipe would block the server.
        threading.Thread(target=server.stdout.read, daemon=True).start()
        yield match
    finally:
        server.terminate()
        server.wait()


@contextmanager
def base_image():
    """Yields the sam options for the base image, or for a stand-in if it can't be pulled."""
    if succeeds("docker", "image", "inspect", REAL_IMAGE) or succeeds("docker", "pull", REAL_IMAGE):
        yield ["--skip-pull-image"]
        return
    print(f"cannot pull {REAL_IMAGE}: making a stand-in from this machine's files")
    # The programs that sam uses to add its runtime emulator to the image, and all libraries.
    programs = [which(name) for name in ("sh", "mv", "chmod")]
    bootstrap = ROOT / ".aws-sam/build/RebuildFunction/bootstrap"
    libraries = re.findall(r"(/\S+) \(0x", run("ldd", *programs, bootstrap))
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        with tarfile.open(archive.name, "w") as tar:
            for directory in ("tmp", "var/rapid", "var/runtime", "var/task"):
                member = tarfile.TarInfo(directory)
                member.type, member.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(member)
            for file in {*programs, *libraries}:
                name = f"/bin/{Path(file).name}" if file in programs else file
                tar.add(os.path.realpath(file), arcname=name)
        run("docker", "import", "--change", f"LABEL {STAND_IN}=", archive.name, f"{STAND_IN}:latest")
    try:
        yield ["--skip-pull-image", "--invoke-image", f"{STAND_IN}:latest"]
    finally:
        # Also removes what sam derived from it, and what a failed build of sam left behind.
        for what, remove in (("ps", "rm"), ("images", "rmi")):
            found = run("docker", what, "--all", "--quiet", "--filter", f"label={STAND_IN}").split()
            subprocess.run(["docker", remove, "--force", *found], capture_output=True)


def answer_of(response):
    """A Lambda response in the form of the `.expected.json` files."""
    headers = {name: ", ".join(values) for name, values in response["multiValueHeaders"].items()}
    answer = {"statusCode": response["statusCode"], "headers": headers}
    if response["isBase64Encoded"]:
        return {**answer, "body": response["body"], "isBase64Encoded": True}
    answer["body"] = body = json.loads(response["body"])
    text = json.dumps(answer)
    generated = {"id": (ID, "<id>"), "created_at": (TIME, "<time>"), "checked_at": (TIME, "<time>")}
    for name, (pattern, placeholder) in generated.items():
        value = body.get("data", {}).get(name, "")
        if pattern.fullmatch(value):
            text = text.replace(value, placeholder)
    return json.loads(text)


def invoke_with(event, options):
    """Invokes the function that an event is for; returns what is wrong with the answer, or None."""
    expected = json.loads(event.with_suffix(".expected.json").read_text())
    resource = json.loads(event.read_text()).get("resource")
    is_request = resource is not None
    function = "RebuildFunction" if is_request else "AnnounceFunction"
    if is_request and resource.endswith("/preview"):
        function = "PreviewFunction"
    done = subprocess.run(
        ["sam", "local", "invoke", function, "--event", event, *options],
        capture_output=True, text=True, cwd=ROOT,
    )
    try:
        answer = json.loads(done.stdout)
        answer = answer_of(answer) if is_request else answer
    except (ValueError, LookupError, TypeError) as error:
        return f"{error!r}\n{done.stdout}\n{done.stderr}"
    if answer != expected:
        return f"expected {json.dumps(expected)}\nanswered {json.dumps(answer)}"
    return None


def curl(*arguments):
    """Makes a call; returns status, headers and JSON body of the answer."""
    output = run("curl", "--silent", "--show-error", "--include", *arguments)
    head, _, body = output.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.splitlines()
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(status.split()[1]), headers, json.loads(body)


def call_api(options):
    """Calls `sam local start-api`; returns what is wrong, or None."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    with started(r"Running on (http\S+)", "sam", "local", "start-api", "--port", port, *options) as at:
        url = at[1].rstrip("/")
        path = "/workspaces/ws-rebooting0001/rebuilds"
        status, headers, accepted = curl(url + path, "--request", "POST")
        if status != 202 or headers["location"] != f"{path}/{accepted['data']['id']}":
            return f"POST {path}: {status} {headers} {accepted}"
        status, _, rebuild = curl(url + headers["location"])
        if status != 200 or rebuild["data"]["id"] != accepted["data"]["id"]:
            return f"GET {headers['location']}: {status} {rebuild}"
        path = "/directories/d-906700c3d4/workspaces/ws-connected0001/preview"
        status, _, preview = curl(url + path)
        if status != 200 or not preview["data"]["user_connected"]:
            return f"GET {path}: {status} {preview}"
        for name in ("aws-json-accepted", "aws-cbor-accepted"):
            if (status := resend(url, ROOT / f"events/{name}.json")) != "200":
                return f"{name}: {status}"
    return None


def resend(url, event):
    """Sends the request of an event of an AWS client; returns the status of the answer."""
    event = json.loads(event.read_text())
    body = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"].encode()
    wanted = ("accept", "content-type", "smithy-protocol", "x-amz-target")
    headers = [f"{name}: {value}" for name, value in event["headers"].items() if name in wanted]
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--output", os.devnull, "--write-out", "%{http_code}",
         "--data-binary", "@-", *(f"-H{header}" for header in headers), url + event["path"]],
        input=body, capture_output=True,
    ).stdout.decode()


def main():
    os.environ.setdefault("SAM_CLI_TELEMETRY", "0")
    for tool in ("cargo", "curl", "docker", "sam"):
        if not which(tool):
            sys.exit(f"error: {tool} is not on the PATH")
    if not succeeds("docker", "info"):
        sys.exit("error: no Docker engine is running; `sam local` needs one")
    if not (ROOT / ".aws-sam/build/template.yaml").exists():
        sys.exit(f"error: not built; sam build --parameter-overrides Architecture={ARCHITECTURE}")
    events = sorted(set(ROOT.glob("events/*.json")) - set(ROOT.glob("events/*.expected.json")))
    if not events:
        sys.exit("error: no event in events/")

    # The address at which a container reaches this machine; Docker Desktop forwards to loopback.
    address = "127.0.0.1"
    if platform.system() == "Linux":
        bridge = json.loads(run("docker", "network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]
        address = bridge.get("Gateway") or str(ipaddress.ip_network(bridge["Subnet"])[1])
    local = [
        built(), "--port", "0", "--dynamodb-port", "0", "--eventbridge-port", "0", "--aws-host", address,
    ]
    failures = 0
    with (
        base_image() as image,
        started(r"DynamoDB on \S+:(\d+) .*\nEventBridge on \S+:(\d+) ", *local) as ports,
        tempfile.NamedTemporaryFile("w", suffix=".json") as environment,
    ):
        variables = json.loads((ROOT / "scripts/sam-local.env.json").read_text())
        for service, port in zip(("DYNAMODB", "EVENTBRIDGE"), ports.groups()):
            endpoint = f"http://host.docker.internal:{port}"
            variables["Parameters"][f"AWS_ENDPOINT_URL_{service}"] = endpoint
        json.dump(variables, environment)
        environment.flush()
        options = [
            *image, "--env-vars", environment.name,
            "--parameter-overrides", f"Architecture={ARCHITECTURE}",
        ]
        checks = {f"invoke {event.stem}": (invoke_with, event, options) for event in events}
        checks["start-api"] = (call_api, options)
        for name, (check, *arguments) in checks.items():
            problem = check(*arguments)
            failures += problem is not None
            print("ok    " if problem is None else "FAILED", name, flush=True)
            if problem is not None:
                print(problem, flush=True)
    print(f"{len(checks) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
