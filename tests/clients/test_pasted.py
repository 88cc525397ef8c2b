"""Runs the commands that the local run prints, in order, each in a new shell."""

import json
import subprocess

from conftest import aws_environment


def test_each_command_works_as_printed(local, tmp_path):
    def paste(command):
        return subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=aws_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    answers = [(command, paste(command)) for command in local.commands]
    curl = [answer for command, answer in answers if command.startswith("curl -i ")]
    assert [answer.split()[1] for answer in curl] == ["202", "202", "202", "202", "409", "409", "400"]
    shown = [
        json.loads(answer)
        for command, answer in answers
        if command.startswith("curl ") and not command.startswith("curl -i ")
    ]
    assert shown and all(answer["success"] for answer in shown)
    cli = [json.loads(answer) for command, answer in answers if " aws workspaces " in command]
    assert cli[0] == {"FailedRequests": []}
    assert [workspace["State"] for workspace in cli[1]["Workspaces"]] == ["REBUILDING"]
    assert len(answers) == len(curl) + len(shown) + len(cli)
