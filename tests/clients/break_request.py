"""A plugin of the aws CLI: sends the body and the target that a test gives it.

The CLI builds neither a body of wrong types nor an unknown target by itself. What it makes of the
answer is its own.
"""

import base64
import json
import os


def awscli_initialize(events):
    events.register("before-call.workspaces", lambda params, **_: put(params))


def put(params):
    """The same for boto3: `params` is what is about to be signed."""
    broken = json.loads(os.environ["BREAK_REQUEST"])
    change(params, base64.b64decode(broken["body"]), broken["headers"])


def change(params, body, headers):
    params["body"] = body
    for name in [name for name in params["headers"] if name.lower() in ("content-type", "x-amz-target")]:
        del params["headers"][name]
    params["headers"].update(headers)
