"""The program of the local run, for Python scripts that start it."""

import functools
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def built():
    """Builds the local run; returns its program. Naming the functions' package too, and its examples, of
    which there are none, gives the dependencies the features that the tests need: what `cargo test` has
    built is reused."""
    command = ["cargo", "build", "--quiet", "--locked", "--bin", "local", "--examples"]
    packages = ["--package", "local", "--package", "rebuild-workspaces"]
    subprocess.run([*command, *packages], cwd=ROOT, check=True)
    return str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/local")
