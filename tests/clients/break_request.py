"""A plugin for the aws CLI that replaces the body, the path and the headers of a request with those of a test.

By itself, the CLI sends neither a body of wrong types nor an unknown target. The CLI handles the
answer as usual.
"""

import base64
import json
import os
import urllib.parse


def awscli_initialize(events):
    events.register("before-call.workspaces", lambda params, **_: put(params))


def put(params):
    """Replaces the request in `params` before the CLI signs it."""
    broken = json.loads(os.environ["BREAK_REQUEST"])
    change(params, base64.b64decode(broken["body"]), broken["headers"])


def change(params, body, headers, path="/"):
    params["body"] = body
    params["url"] = urllib.parse.urljoin(params["url"], path)
    protocol = ("content-type", "x-amz-target", "smithy-protocol", "accept")
    for name in [name for name in params["headers"] if name.lower() in protocol]:
        del params["headers"][name]
    params["headers"].update(headers)
