"""Hundreds of epochs hold no more than 20 did."""

import csv
import ctypes
import subprocess
import sys

import numpy as np
import pytest
from command_line import EASY_CLUSTERS, arguments
from resource_log import COLUMNS

WARM = 20  # until then caches, allocators and workers come up


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
@pytest.mark.parametrize(("workers", "epochs"), [(0, 200), (2, 120)])
def test_a_long_run_holds_no_more_than_a_short_one(workers, epochs, persons, tmp_path):
    options = [
        *EASY_CLUSTERS,
        "--data.batches_per_epoch=2",
        "--data.val=test",
        "--data.cache=ram",
        f"--data.num_workers={workers}",
        f"--trainer.max_epochs={epochs}",
        "--trainer.callbacks+=resource_log.ResourceLog",
        "--trainer.enable_model_summary=false",
        "--evaluate=false",
    ]
    command = arguments("fit", persons, tmp_path / "run", *options)
    subprocess.run(
        [sys.executable, "-m", "lightning_reid", *command],
        check=True,
        capture_output=True,
        timeout=3600,
    )
    with (tmp_path / "run" / "resources.csv").open() as file:
        table = np.array(list(csv.reader(file)), dtype=float)
    assert table.shape == (epochs, len(COLUMNS))
    held = dict(zip(COLUMNS, table.T, strict=True))
    for name in ("shared", "files", "processes", "threads"):
        # the least of the last ones: TensorBoard's thread opens its file for a moment now and then
        assert held[name][-WARM:].min() <= held[name][:WARM].max(), name
    growth = {
        name: np.median(held[name][-WARM:]) - np.median(held[name][WARM : 2 * WARM])
        for name in ("memory", "workers")
    }
    print(f"{workers} workers, {epochs} epochs: growth in MiB {growth}")
    # 20 KiB an epoch; 13 are seen: the page keeps its pictures, whose curves grow (6), and what a
    # run tells of every labelling stays for the checkpoint (2). The images of one batch (48) or the
    # features of one epoch (288) that stayed would be more
    assert max(growth.values()) < 0.02 * (epochs - 2 * WARM)
