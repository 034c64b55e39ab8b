"""Real Python processes without five seconds of imports for each.

One process imports everything and then forks a child for every order: the child runs a module, a
script or a program as ``python`` does, and can be killed like any other process.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import psutil
import pytest
from few_pictures import draw_only, pictures_drawn

_LIBRARIES = ("matplotlib.pyplot", "scipy.stats", "sklearn.metrics", "torch", "torchmetrics")
# the package, and what a run imports when it needs it
_PACKAGE = (
    "kill_moments",
    "lightning_reid.cli",
    "lightning_reid.clustering.dbscan_loops",
    "lightning_reid.clustering.jaccard_loops",
    "lightning_reid.clustering.selection_loops",
    "torch.utils.tensorboard",
)


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Args:
        status: Exit status; -9 if it was killed.
        output: What it wrote to standard output.
        errors: What it wrote to standard error.
        seconds: Its processor time.
        left: Processes that it started and that outlived it by some seconds.
    """

    status: int
    output: str
    errors: str
    seconds: float
    left: int = 0


def run_forked(
    arguments, log, kill_after=None, kill_at=None, limit=300, hash_seed=0, **environment
):
    """Run a command of ``lightning-reid`` in a process of its own.

    Args:
        arguments: What follows ``lightning-reid``.
        log: File for what it prints; all of it is ``output``.
        kill_after: Processor time in seconds after which it is killed, with -9; depends little on
            what else the machine does.
        kill_at: ``(class of the method, moment, n)``: it kills itself the n-th time that it comes
            to this moment, see ``kill_moments.py``; with a fourth part, that signal is sent.
        limit: Seconds after which it has hung.
        hash_seed: Decides in which order sets of strings are iterated over.
        **environment: Variables to set.
    """
    Path(log).unlink(missing_ok=True)
    usual = {k: v for k, v in os.environ.items() if k != "PL_GLOBAL_SEED"}
    command = ["-m", "lightning_reid", *arguments]
    order = {"out": str(log), "err": str(log), "after": kill_after, "at": kill_at, "limit": limit}
    return _run(command, {**usual, **environment}, order, hash_seed)


def run_python(*arguments, folder=None, terminal=None, limit=300, bare=False, **environment):
    """Run ``python`` with these arguments in a process of its own, in which all is imported.

    Args:
        *arguments: ``-m`` and a module, ``-c`` and a program, or a script; then its arguments.
        folder: Current folder of the process; that of this one by default.
        terminal: Device for its input and output; files by default.
        limit: Seconds after which it has hung.
        bare: Whether only libraries are imported, neither Lightning nor this package.
        **environment: Variables to set.
    """
    environment = {**os.environ, **environment}
    with tempfile.TemporaryDirectory() as kept:
        files = {"in": terminal or os.devnull}
        files |= {name: terminal or str(Path(kept, name)) for name in ("out", "err")}
        order = {**files, "folder": str(folder or Path.cwd()), "limit": limit}
        return _run([str(word) for word in arguments], environment, order, bare=bare)


def _run(command, environment, order, hash_seed=0, bare=False):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    server = _server(hash_seed, bare, environment.get("LIGHTNING_REID_BASE"))
    usual = {"in": os.devnull, "folder": str(Path.cwd()), "after": None, "at": None}
    usual |= {"pictures": pictures_drawn()}
    environment = {**environment, "PYTHONHASHSEED": str(hash_seed)}
    order = {**usual, "command": command, "environment": environment, **order}
    server.stdin.write(json.dumps(order) + "\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
    output, errors = (
        Path(order[name]).read_text() if Path(order[name]).is_file() else ""
        for name in ("out", "err")
    )
    assert not answer["hung"], f"still running after {order['limit']} s:\n{output}\n{errors}"
    return Ended(answer["status"], output, errors, answer["seconds"], answer["left"])


@cache
def _server(hash_seed, bare, base):
    """Start a server when it is first needed; it ends when its standard input does."""
    environment = {k: v for k, v in os.environ.items() if k != "PL_GLOBAL_SEED"}
    environment["PYTHONHASHSEED"] = str(hash_seed)
    environment |= {} if base is None or bare else {"LIGHTNING_REID_BASE": base}
    return subprocess.Popen(
        [sys.executable, __file__, *([] if bare else _PACKAGE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _serve():
    for module in (*_LIBRARIES, *sys.argv[1:]):
        import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            answers.close()
            _become(order)
            return
        answers.write(json.dumps(_watch(child, order["after"], order["limit"])) + "\n")
        answers.flush()


def _become(order):
    """Go on as the ordered process."""
    os.dup2(os.open(order["in"], os.O_RDONLY), 0)
    for name, theirs in (("out", 1), ("err", 2)):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), theirs)
    os.setsid()  # what it starts is known by its group
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    if order["pictures"] is not None and "lightning_reid.cli" in sys.modules:
        draw_only(order["pictures"])
    if order["at"] is not None:
        from kill_moments import prepare

        prepare(*order["at"])
    kind, *rest = order["command"]
    if kind == "-c":
        program, *rest = rest
        sys.argv = ["-c", *rest]
        sys.path.insert(0, "")
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        module, *rest = rest
        sys.argv = [module, *rest]
        sys.path.insert(0, order["folder"])
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [kind, *rest]
        sys.path.insert(0, str(Path(kind).parent))
        runpy.run_path(kind, run_name="__main__")


def _watch(child, kill_after, limit):
    """Kill the child when it is time; return how it ended."""
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
    """Count processes of a group that live on; workers look for their parent every 5 s."""
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
