"""No memory: a line that says so, whoever found none."""

import errno
import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_reid.models import EmbeddingNetwork
from lightning_reid.resources import is_out_of_memory
from lightning_reid.user_errors import user_error

TOO_MUCH = 2**55  # bytes


class Images(torch.utils.data.Dataset):
    def __init__(self, allocate):
        self.allocate = allocate

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.allocate()


def of_torch():
    return torch.empty(TOO_MUCH, dtype=torch.uint8)


def of_numpy():
    return np.empty(TOO_MUCH, dtype=np.uint8)


def of_python():
    return bytearray(TOO_MUCH)


def of_system():
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "labels.npz")


def in_a_worker(allocate):
    return lambda: next(iter(DataLoader(Images(allocate), num_workers=1)))


ALLOCATIONS = {
    "torch": of_torch,
    "numpy": of_numpy,
    "python": of_python,
    "system": of_system,
    "torch in a worker": in_a_worker(of_torch),
    "python in a worker": in_a_worker(of_python),
}


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_it_is_told_in_one_line(name):
    with pytest.raises(Exception) as caught:  # noqa: PT011 # each library has its own
        ALLOCATIONS[name]()
    assert is_out_of_memory(caught.value)
    message = user_error(caught.value)
    assert message.startswith("out of memory")
    assert "--batch_size" in message
    assert not any(word in message for word in ("\n", "enforce fail", "Traceback"))
    if "torch" in name:
        assert f"you tried to allocate {TOO_MUCH} bytes" in message


def test_other_errors_are_not_about_memory():
    for error in (
        RuntimeError("no"),
        OSError(2, "No such file"),
        ValueError("can't allocate memory"),
    ):
        assert not is_out_of_memory(error)


def test_a_backbone_without_memory_takes_images_of_that_size():
    class Greedy(nn.Identity):
        num_features = 3

        def forward(self, images):
            if len(images) > 1 or images.shape[-1] == 9:
                of_torch()
            return images.mean((2, 3))

    network = EmbeddingNetwork(Greedy(), None)
    for shape in ((2, 3, 8, 8), (1, 3, 9, 9)):
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            network.eval()(torch.rand(shape))
