"""Who may call: signatures, the policies of the stack, and those of docs/operations.md as written."""

import json
import re

import pytest
from conftest import FIGURES, ROOT
from page import OPERATIONS
from samtranslator.yaml_helper import yaml_parse

ACCESS = OPERATIONS.partition("## Access")[2].partition("\n##")[0]
MINE, OTHER = "d-906700a1b2", "d-906700c3d4"
PROTECTION = "/workspaces/ws-protected0001/protection"

# The calls that are tried: name, method, path.
CALLS = {
    "look": ("GET", "/workspaces/ws-impaired0001"),
    "list": ("GET", "/workspaces"),
    "list mine": ("GET", f"/directories/{MINE}/workspaces"),
    "list others": ("GET", f"/directories/{OTHER}/workspaces"),
    "open": ("GET", "/rebuilds"),
    "see the pause": ("GET", "/pause"),
    "preview": ("GET", "/workspaces/ws-impaired0001/preview"),
    "preview mine": ("GET", f"/directories/{MINE}/workspaces/ws-impaired0001/preview"),
    "preview others": ("GET", f"/directories/{OTHER}/workspaces/ws-suspended0001/preview"),
    "rebuild": ("POST", "/workspaces/ws-impaired0001/rebuilds"),
    "rebuild mine": ("POST", f"/directories/{MINE}/workspaces/ws-impaired0001/rebuilds"),
    "rebuild others": ("POST", f"/directories/{OTHER}/workspaces/ws-suspended0001/rebuilds"),
    "rebuild by body": ("POST", "/"),
    "cancel": ("DELETE", "/workspaces/ws-impaired0001/rebuilds/x"),
    "cancel mine": ("DELETE", f"/directories/{MINE}/workspaces/ws-impaired0001/rebuilds/x"),
    "protect": ("PUT", "/workspaces/ws-protected0001/protection"),
    "unprotect": ("DELETE", "/workspaces/ws-suspended0001/protection"),
    "pause": ("PUT", "/pause"),
    "resume": ("DELETE", "/pause"),
}
LOOK = {
    "look", "list", "list mine", "list others", "open", "see the pause", "preview", "preview mine", "preview others",
}
BY_PATH = {"rebuild", "rebuild mine", "rebuild others", "cancel", "cancel mine"}
HELPDESK = {"list mine", "preview mine", "rebuild mine", "cancel mine"}
ALLOWED = {
    "ReaderPolicy": LOOK,
    "CallerPolicy": LOOK | BY_PATH | {"protect", "pause"},
    "OperatorPolicy": set(CALLS),
    "the helpdesk's policy": HELPDESK,
    "reader": LOOK,
    "helpdesk of one directory: rebuild, follow, cancel": HELPDESK,
    "operator, who may cancel, protect and pause but not rebuild": set(CALLS) - {
        "rebuild", "rebuild mine", "rebuild others", "rebuild by body"
    },
    "everything": set(CALLS),
}


def filled_in(text, stack):
    """A text of the docs with the placeholders of this account."""
    text = text.replace("REGION", "us-east-1").replace("ACCOUNT", "000000000000")
    return re.sub(r"\bAPI\b", stack.running.api, text)


def policies(stack):
    """The policies of the stack and of the docs: ARN or document."""
    found = {name: stack.running.outputs[name] for name in ("ReaderPolicy", "CallerPolicy", "OperatorPolicy")}
    [document] = re.findall(r"```json\n(.*?)```", ACCESS, re.S)
    found["the helpdesk's policy"] = json.loads(filled_in(document, stack))
    table = ACCESS.partition("| caller | resources |")[2].partition("\n\n")[0]
    for caller, resources in re.findall(r"^\| (.+?) \| (`.+`) \|$", table, re.M):
        arns = [
            filled_in("arn:aws:execute-api:REGION:ACCOUNT:API/v1/", stack) + resource
            for resource in re.findall(r"`(.+?)`", resources)
        ]
        statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": arns}
        found[caller] = {"Version": "2012-10-17", "Statement": [statement]}
    assert set(found) == set(ALLOWED)
    return found


@pytest.mark.parametrize("name", ALLOWED)
def test_a_policy_allows_what_it_says(stack, name):
    key = stack.running.user(re.sub(r"\W+", "-", name), policies(stack)[name])
    allowed = {call for call, (method, path) in CALLS.items() if stack.call(key, method, path)[0] != 403}
    assert allowed == ALLOWED[name]
    FIGURES["policies"] += 1


def test_a_request_without_a_valid_signature_is_refused(stack):
    key, secret = stack.operator
    for wrong in (None, (key, "wrong"), ("AKIANOBODY0000000000", secret)):
        for method, path in CALLS.values():
            assert stack.call(wrong, method, path)[0] == 403, (method, path)


def test_a_user_without_a_policy_is_refused(stack):
    statement = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}
    nobody = stack.running.user("nobody", {"Version": "2012-10-17", "Statement": [statement]})
    for method, path in CALLS.values():
        assert stack.call(nobody, method, path)[0] == 403, (method, path)


def test_readers_have_a_throttle_of_their_own():
    api = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["Api"]["Properties"]
    limited = {(setting["HttpMethod"], setting["ResourcePath"]) for setting in api["MethodSettings"]}
    paths = api["DefinitionBody"]["paths"]
    for path, methods in paths.items():
        assert path.endswith("/preview") or methods["get"] == methods["x-amazon-apigateway-any-method"]
    # In a setting, the root is a slash, and other slashes than the first are ~1.
    encoded = {"/" if path == "/" else "/" + path.replace("/", "~1") for path in paths}
    assert limited == {("*", "/*")} | {("GET", path) for path in encoded}
