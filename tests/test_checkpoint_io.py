"""Checkpoints that are whole, whatever happens."""

import pytest
import torch
from forked_commands import run_python

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
    with pytest.raises(
        InputError,
        match=r"last.ckpt: No space left .* MB that are free; make room; what was there before",
    ):
        AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(9), "bad": Unwritable()}, file)
    assert AtomicCheckpointIO().load_checkpoint(file, weights_only=True) == {"epoch": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_link_beside_a_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".last.ckpt.part").symlink_to(tmp_path / "precious")
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, tmp_path / "last.ckpt")
    assert (tmp_path / "precious").read_text() == "kept"
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt") == {"epoch": 1}


def test_a_file_too_large(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write .*last.ckpt: File too large"):
            AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(10**6)}, tmp_path / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


KILLED_WHILE_WRITING = """
import os, signal, sys, time
import torch
from lightning_reid.checkpoint_io import AtomicCheckpointIO

file, wait = sys.argv[1], float(sys.argv[2])
ours, theirs = os.pipe()
child = os.fork()
if child == 0:
    for epoch in range(10**6):
        content = {"epoch": epoch, "w": torch.full((2_000_000,), float(epoch))}
        AtomicCheckpointIO().save_checkpoint(content, file)
        os.write(theirs, b".")
for _ in range(3):
    os.read(ours, 1)
time.sleep(wait)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("wait", [0.0, 0.02])
def test_a_kill_while_writing_leaves_a_whole_file(wait, tmp_path):
    file = tmp_path / "last.ckpt"
    ended = run_python("-c", KILLED_WHILE_WRITING, file, wait)
    assert ended.status == 0, ended.errors
    saved = AtomicCheckpointIO().load_checkpoint(file, weights_only=True)
    assert saved["epoch"] >= 2
    assert (saved["w"] == saved["epoch"]).all()
