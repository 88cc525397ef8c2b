"""Clients from Debian's packages: Go's SDK, and the core of Ruby's. Both speak AWS JSON 1.1.

    apt-get install --no-install-recommends golang-go golang-github-aws-aws-sdk-go-v2-dev \\
        ruby ruby-aws-sdk-core
"""

import gzip
import json
import os
import pathlib
import subprocess

import botocore
from conftest import SAMPLES

HERE = pathlib.Path(__file__).parent
MESSAGE = "The DirectoryId parameter is required when UserName is used."


def output(*command, **environment):
    done = subprocess.run(
        command, cwd=HERE, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(seen):
    listed = seen.pop("listed")
    assert len(listed) == len(set(listed)) == SAMPLES
    assert seen == {
        "accepted": 0,
        "again": "InvalidResourceState.Workspace",
        "error": "InvalidParameterValuesException",
        "message": MESSAGE,
        "modelled": True,
    }


def test_go(local):
    environment = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
    check(output("go", "run", "client.go", local.url, **environment))


def test_ruby(local, tmp_path):
    data = pathlib.Path(botocore.__file__).parent / "data/workspaces/2015-04-08/service-2.json.gz"
    model = tmp_path / "model.json"
    model.write_bytes(gzip.decompress(data.read_bytes()))
    check(output("ruby", "client.rb", local.url, str(model)))
