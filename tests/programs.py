"""Programs in a process of their own."""

import os
import subprocess
import sys


def run_program(program, folder, **environment):
    """What a Python program prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
