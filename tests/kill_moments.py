"""Moments at which a process kills itself, as ``kill -9`` would just then."""

import io
import os
import signal
from functools import wraps
from pathlib import Path

import torch

import lightning_reid


def prepare(method, moment, count):
    """Kill this process the ``count``-th time that it comes to a moment of :data:`MOMENTS`."""
    MOMENTS[moment](getattr(lightning_reid, method), Countdown(count))


class Countdown:
    """Kills when it has been called so often."""

    def __init__(self, count):
        self.left = count

    def __call__(self):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def _after(name, condition=lambda module: True):
    """After a method of the module has returned."""

    def install(cls, reached):
        original = getattr(cls, name)

        @wraps(original)
        def wrapper(self, *args, **kwargs):
            result = original(self, *args, **kwargs)
            if condition(self):
                reached()
            return result

        setattr(cls, name, wrapper)

    return install


def _extracting(module):
    return module.trainer.training and not module.training


def _trained(module):
    return module.trainer.global_step > 0


def _half_a_checkpoint(cls, reached):
    save = torch.save

    def save_half(content, stream):
        whole = io.BytesIO()
        save(content, whole)
        stream.write(whole.getvalue()[: whole.tell() // 2])
        stream.flush()
        reached()
        stream.seek(0)
        stream.write(whole.getvalue())

    torch.save = save_half


def _replacing(name, before):
    """Before or after a finished file takes the place of the one before it."""

    def install(cls, reached):
        replace = Path.replace

        def wrapper(self, target):
            concerned = Path(target).name == name
            if concerned and before:
                reached()
            result = replace(self, target)
            if concerned and not before:
                reached()
            return result

        Path.replace = wrapper

    return install


MOMENTS = {
    "in a step": _after("training_step"),
    "after a step": _after("on_train_batch_end"),
    "extracting": _after("embed", _extracting),
    "labelling": _after("label"),
    "adopting": _after("adopt"),
    "tested after training": _after("on_test_end", _trained),
    "half a checkpoint": _half_a_checkpoint,
    "before the checkpoint is in place": _replacing("last.ckpt", before=True),
    "after the checkpoint is in place": _replacing("last.ckpt", before=False),
    "before the log is in place": _replacing("metrics.csv", before=True),
    "after the log is in place": _replacing("metrics.csv", before=False),
}
