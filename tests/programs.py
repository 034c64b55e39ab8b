"""Programs in a process of their own."""

import os
import subprocess
import sys

from forked_commands import run_python


def run_program(program, folder, **environment):
    """Return what a Python program prints, run where all is imported; it must end well."""
    ended = run_python("-c", program, folder=folder, **environment)
    assert ended.status == 0, ended.errors
    return ended.output


def run_fresh(*arguments, folder=None, **environment):
    """Run ``python`` with nothing imported before; return its ``CompletedProcess``."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
        check=False,
    )
