"""The stack in emulated accounts (scripts/account.py). The last line says how much was tried."""

import collections
import pathlib
import platform
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import account  # noqa: E402

# What was tried: "combinations deployed", "calls made" and so on.
FIGURES = collections.Counter()


class Stack:
    """The stack in an account of its own, filled with the samples, and an operator's key."""

    def __init__(self, running):
        self.running = running

    def deploy(self, **parameters):
        self.running.deploy(account.built_by_sam(), Architecture=architecture(), **parameters)
        FIGURES["deployments"] += 1

    def call(self, key, method, path, body=None, **headers):
        FIGURES["calls"] += 1
        return self.running.call(key, method, path, body, **headers)


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
