"""Requests to the API of the emulated account, one after another, as fast as it answers.

A longer run: `SOAK_SECONDS=600`, with `PYTEST_ADDOPTS=-s` to see its figures.
"""

import contextlib
import os
import pathlib
import statistics
import time

ID = "ws-available0001"


def resident(name):
    """MiB of memory that each running process of a function uses, by process id."""
    variable = f"AWS_LAMBDA_FUNCTION_NAME={name}".encode()
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    used = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        # It may end while it is looked at, or belong to someone else.
        with contextlib.suppress(OSError):
            if variable in (process / "environ").read_bytes().split(b"\0"):
                used[process.name] = int((process / "statm").read_text().split()[1]) * page
    return used


def untraced(stack, function):
    """Lets the API call the function without trace ids. The Lambda runtime crate puts each into the
    environment, where the C library keeps it for ever: 150 bytes that would hide what we keep ourselves."""
    client = stack.running.client("lambda")
    client.update_function_configuration(FunctionName=function, TracingConfig={"Mode": "PassThrough"})
    client.update_alias(FunctionName=function, Name="live", FunctionVersion="$LATEST")


def test_each_of_many_requests_is_answered(stack):
    seconds = float(os.environ.get("SOAK_SECONDS", "1"))
    rebuild = ("POST", f"/workspaces/{ID}/rebuilds", None)
    asked = [
        (200, ("GET", f"/workspaces/{ID}", None), {}),
        (409, ("POST", "/workspaces/ws-suspended0001/rebuilds", None), {}),
        # The first of them is accepted, the others repeat it.
        (202, rebuild, {"idempotency-key": "soak"}),
    ]
    function = stack.running.outputs["RebuildFunction"]
    untraced(stack, function)
    # Those of an earlier stack may still be there.
    others, first = resident(function), {}
    times, begin = [], time.monotonic()
    while time.monotonic() - begin < seconds:
        for wanted, request, headers in asked:
            sent = time.monotonic()
            status, body = stack.call(stack.operator, *request, **headers)
            times.append(time.monotonic() - sent)
            assert status == wanted, body
        if not first and time.monotonic() - begin >= seconds / 10:
            first = resident(function)
    cuts, last = statistics.quantiles(times, n=100), resident(function)
    [process] = first.keys() - others.keys()
    print(
        f"\nsoak: {len(times)} requests in {seconds:.0f} s, {len(times) / seconds:.0f}/s, "
        f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, "
        f"the function {first[process]:.1f} MiB after a tenth of the time, {last[process]:.1f} MiB at the end"
    )
    assert last[process] <= 1.05 * first[process], "the memory grew by more than a twentieth"
