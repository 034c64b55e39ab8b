"""What a run holds after every epoch, written by a callback of the real command line."""

import csv
from pathlib import Path

import psutil
import pytorch_lightning as pl

COLUMNS = ("memory", "shared", "files", "processes", "threads")


class ResourceLog(pl.Callback):
    """Writes ``resources.csv`` into the run folder, with a line for every epoch.

    MiB of memory, and of it what is shared memory, summed over this process and those it started
    (a page that two of them see counts twice, also when one of them gets a copy of its own: that
    happens once, and is no growth); open files, the number of processes, threads of this one.
    """

    def on_train_epoch_end(self, trainer, pl_module):
        own = psutil.Process()
        family = [own, *own.children(recursive=True)]
        files, threads = sum(process.num_fds() for process in family), own.num_threads()
        memory, shared = (_mebibytes(family, kind) for kind in ("RssAnon", "RssShmem"))
        with Path(trainer.default_root_dir, "resources.csv").open("a", newline="") as file:
            csv.writer(file).writerow([memory, shared, files, len(family), threads])


def _mebibytes(family, kind):
    """Of a kind that ``/proc/<process>/status`` tells."""
    statuses = (Path("/proc", str(process.pid), "status").read_text() for process in family)
    lines = (line.split() for status in statuses for line in status.splitlines())
    return sum(int(line[1]) for line in lines if line[0] == f"{kind}:") / 1024
