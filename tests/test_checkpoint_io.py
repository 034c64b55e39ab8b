"""Checkpoints that are whole, whatever happens."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from lightning_reid.checkpoint_io import AtomicCheckpointIO
from lightning_reid.errors import InputError


def test_what_is_written_can_be_read(tmp_path):
    file = tmp_path / "new" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 3, "w": torch.arange(4)}, file)
    back = AtomicCheckpointIO().load_checkpoint(file, weights_only=True)
    assert back["epoch"] == 3
    assert torch.equal(back["w"], torch.arange(4))
    assert [f.name for f in file.parent.iterdir()] == ["last.ckpt"]


class Unwritable:
    """Something whose saving fails half way, as on a full disk."""

    def __reduce__(self):
        raise OSError(28, "No space left on device")


def test_a_failure_leaves_the_checkpoint_before(tmp_path):
    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, file)
    with pytest.raises(InputError, match="No space left on device; the checkpoint before is unt"):
        AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(9), "bad": Unwritable()}, file)
    assert AtomicCheckpointIO().load_checkpoint(file, weights_only=True) == {"epoch": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_disk(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / ".last.ckpt.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match="cannot write"):
        AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(10**6)}, tmp_path / "last.ckpt")


def test_a_kill_while_writing_leaves_a_whole_file(tmp_path):
    program = textwrap.dedent(
        """
        import sys, torch
        from lightning_reid.checkpoint_io import AtomicCheckpointIO
        for epoch in range(10**6):
            content = {"epoch": epoch, "w": torch.full((2_000_000,), float(epoch))}
            AtomicCheckpointIO().save_checkpoint(content, sys.argv[1])
            print(epoch, flush=True)
        """
    )
    file = tmp_path / "last.ckpt"
    for wait in (0.0, 0.02):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE, text=True
        ) as process:
            while process.stdout.readline() != "2\n":
                pass
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        saved = AtomicCheckpointIO().load_checkpoint(file, weights_only=True)
        assert saved["epoch"] >= 2
        assert (saved["w"] == saved["epoch"]).all()
