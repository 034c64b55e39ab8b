"""What a run holds after every epoch, written by a callback of the real command line."""

import csv
import ctypes
from pathlib import Path

import psutil
import pytorch_lightning as pl

COLUMNS = ("memory", "workers", "shared", "files", "processes", "threads")


class ResourceLog(pl.Callback):
    """Writes ``resources.csv`` into the run folder, with a line for every epoch.

    MiB of memory of this process, of the growth of that worker which has grown most since it was
    first seen, and of shared memory; open files of all, the number of processes, threads of this
    one. Pages that a worker shares with this process count for both, whoever wrote into them last.
    What this process has freed goes back to the system first: how much of it an allocator keeps
    for itself depends on how threads meet, and is no growth.
    """

    def __init__(self):
        self.at_first = {}  # by worker

    def on_train_epoch_end(self, trainer, pl_module):
        ctypes.CDLL(None).malloc_trim(0)
        own = psutil.Process()
        workers = own.children(recursive=True)
        family = [own, *workers]
        now = {worker: _mebibytes(worker, "RssAnon") for worker in workers}
        self.at_first = {worker: self.at_first.get(worker, now[worker]) for worker in workers}
        row = [
            _mebibytes(own, "RssAnon"),
            max((now[worker] - self.at_first[worker] for worker in workers), default=0),
            sum(_mebibytes(process, "RssShmem") for process in family),
            sum(process.num_fds() for process in family),
            len(family),
            own.num_threads(),
        ]
        with Path(trainer.default_root_dir, "resources.csv").open("a", newline="") as file:
            csv.writer(file).writerow(row)


def _mebibytes(process, kind):
    """Of a kind that ``/proc/<process>/status`` tells."""
    status = Path("/proc", str(process.pid), "status").read_text()
    lines = (line.split() for line in status.splitlines())
    return next(int(line[1]) for line in lines if line[0] == f"{kind}:") / 1024
