"""Requests to the API of the emulated account, one after another, as fast as it answers.

A longer run: `SOAK_SECONDS=600`, with `PYTEST_ADDOPTS=-s` to see its figures.
"""

import os
import pathlib
import statistics
import time

ID = "ws-available0001"


def resident():
    """MiB of memory that the running functions use, all together."""
    pages = [
        int((process / "statm").read_text().split()[1])
        for process in pathlib.Path("/proc").glob("[0-9]*")
        if (process / "cmdline").exists() and b"bootstrap" in (process / "cmdline").read_bytes().split(b"\0")[0]
    ]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_each_of_many_requests_is_answered(stack):
    seconds = float(os.environ.get("SOAK_SECONDS", "1"))
    rebuild = ("POST", f"/workspaces/{ID}/rebuilds", None)
    asked = [
        (200, ("GET", f"/workspaces/{ID}", None), {}),
        (409, ("POST", "/workspaces/ws-suspended0001/rebuilds", None), {}),
        # The first of them is accepted, the others repeat it.
        (202, rebuild, {"idempotency-key": "soak"}),
    ]
    times, begin, memory = [], time.monotonic(), None
    while time.monotonic() - begin < seconds:
        for wanted, request, headers in asked:
            sent = time.monotonic()
            status, body = stack.call(stack.operator, *request, **headers)
            times.append(time.monotonic() - sent)
            assert status == wanted, body
        memory = memory or resident()
    cuts, end = statistics.quantiles(times, n=100), resident()
    print(
        f"\nsoak: {len(times)} requests in {seconds:.0f} s, {len(times) / seconds:.0f}/s, "
        f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, "
        f"functions {memory:.1f} MiB at the start, {end:.1f} MiB at the end"
    )
    assert 0 < end <= 1.5 * memory
