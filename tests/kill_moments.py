"""Moments at which a process sends itself a signal, such as that of ``kill -9``."""

import io
import os
import signal
from functools import wraps
from pathlib import Path

import torch

import lightning_reid
from lightning_reid.models.trained import TrainedModel


def prepare(method, moment, count, number=signal.SIGKILL):
    """Send this process a signal the ``count``-th time that it comes to one of :data:`MOMENTS`."""
    MOMENTS[moment](getattr(lightning_reid, method), Countdown(count, number))


class Countdown:
    """Sends the signal when it has been called so often."""

    def __init__(self, count, number):
        self.left = count
        self.number = number

    def __call__(self):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), self.number)


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


def _model_loaded(cls, reached):
    load = TrainedModel.load

    def loaded(*args, **kwargs):
        model = load(*args, **kwargs)
        reached()
        return model

    TrainedModel.load = loaded


MOMENTS = {
    "in a step": _after("training_step"),
    "after a step": _after("on_train_batch_end"),
    "model loaded": _model_loaded,
    "reading the data": _after("setup"),
    "evaluating": _after("test_step"),
    "validating": _after("validation_step"),
    "predicting": _after("predict_step"),
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
