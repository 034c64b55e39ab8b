"""Two processes in which the first alone works, with every kind of outcome.

Usage: first_rank_outcomes.py OUTPUT_FOLDER
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch.distributed as dist
import torch.multiprocessing as mp

from lightning_reid.distributed import first_rank_only
from lightning_reid.errors import InputError


class TwoReasonsError(Exception):
    """pickle makes it anew from its one message, which its two arguments do not allow."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def give_a_number():
    return 7


def raise_a_plain_error():
    raise InputError("the plain reason")


def raise_what_cannot_be_restored():
    raise TwoReasonsError("one reason", "another")


def raise_what_cannot_be_pickled():
    error = ValueError("the real reason")
    error.origin = lambda: None
    raise error


def give_what_cannot_be_pickled():
    return lambda: None


WORKS = (
    give_a_number,
    raise_a_plain_error,
    raise_what_cannot_be_restored,
    raise_what_cannot_be_pickled,
    give_what_cannot_be_pickled,
    give_a_number,  # the ranks still understand each other
)


def outcome(trainer, work):
    try:
        return ["gave", first_rank_only(trainer, work), None]
    except Exception as error:
        return [type(error).__name__, str(error), type(error.__cause__).__name__]


def follow(rank, folder):
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    trainer = SimpleNamespace(world_size=2, is_global_zero=rank == 0)
    outcomes = [outcome(trainer, work) for work in WORKS]
    (Path(folder) / f"rank{rank}.json").write_text(json.dumps(outcomes))


if __name__ == "__main__":
    mp.start_processes(follow, args=(sys.argv[1],), nprocs=2, start_method="fork")
