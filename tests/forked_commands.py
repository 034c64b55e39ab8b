"""Real processes of the command line without five seconds of imports for each.

One process imports everything and then forks a child for every command it is sent: the child runs
``lightning_reid.cli.main``, as ``python -m lightning_reid`` does, and can be killed like any other.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import psutil
import pytest

# and what a run imports when it needs it
_IMPORTED = (
    "kill_moments",
    "lightning_reid.cli",
    "lightning_reid.clustering.dbscan_loops",
    "lightning_reid.clustering.jaccard_loops",
    "lightning_reid.clustering.selection_loops",
    "lightning_reid.export.command",
    "lightning_reid.inspection.command",
    "lightning_reid.search.command",
    "sklearn.metrics",
    "torch.utils.tensorboard",
)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status (-9: killed), what it printed, its processor time.

    ``left`` counts processes of its own that outlived it by some seconds.
    """

    status: int
    output: str
    seconds: float
    left: int = 0


def run_forked(
    arguments, log, kill_after=None, kill_at=None, limit=300, hash_seed=0, **environment
):
    """Run a command in a process of its own.

    Args:
        arguments: what follows ``lightning-reid``.
        log: file for what it prints.
        kill_after: kill it, with -9, when it has worked for so many seconds of processor time,
            which depends little on what else the machine does.
        kill_at: ``(class of the method, moment, n)``: it kills itself the n-th time that it comes
            to this moment, see ``kill_moments.py``; with a fourth part, that signal is sent.
        limit: seconds after which it has hung.
        hash_seed: decides in which order sets of strings are iterated over in this process.
        environment: further variables of its environment.
    """
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    server = _server(hash_seed)
    order = {"arguments": arguments, "log": str(log), "folder": str(Path.cwd())}
    order |= {"after": kill_after, "at": kill_at, "environment": environment}
    order["test"] = os.environ["PYTEST_CURRENT_TEST"]
    server.stdin.write(json.dumps({**order, "limit": limit}) + "\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
    ended = Ended(answer["status"], Path(log).read_text(), answer["seconds"], answer["left"])
    assert not answer["hung"], f"still running after {limit} s:\n{ended.output}"
    return ended


@cache
def _server(hash_seed):
    """Started when first needed; it ends when its standard input does, with this process."""
    environment = {k: v for k, v in os.environ.items() if k != "PL_GLOBAL_SEED"}
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(hash_seed)},
    )


def _serve():
    for module in _IMPORTED:
        import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            answers.close()
            _become_command(order)
            return
        answers.write(json.dumps(_watch(child, order["after"], order["limit"])) + "\n")
        answers.flush()


def _become_command(order):
    from kill_moments import prepare

    from lightning_reid.cli import main

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(ours, theirs)
    os.setsid()  # what it starts is known by its group
    os.chdir(order["folder"])
    os.environ["PYTEST_CURRENT_TEST"] = order["test"]
    os.environ.update(order["environment"])
    sys.argv = ["lightning-reid", *order["arguments"]]
    if order["at"] is not None:
        prepare(*order["at"])
    main()


def _watch(child, kill_after, limit):
    """Kill the child when it is time; how it ended, as far as :class:`Ended` tells."""
    started, hung = time.monotonic(), False
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            seconds = used.ru_utime + used.ru_stime
            ended = {"status": os.waitstatus_to_exitcode(status), "seconds": seconds}
            return {**ended, "hung": hung, "left": _left(child)}
        hung = time.monotonic() - started > limit
        if hung or (kill_after is not None and _worked(child) >= kill_after):
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _left(group, patience=8):
    """Processes of a group that live on; loading workers look for their parent every 5 s."""
    end = time.monotonic() + patience
    while alive := [p for p in psutil.pids() if _group_of(p) == group]:
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return len(alive)


def _group_of(process):
    try:
        return os.getpgid(process)
    except OSError:
        return None


def _worked(child):
    """Seconds of processor time; also of one that has ended, but has not been waited for."""
    times = psutil.Process(child).cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    _serve()
