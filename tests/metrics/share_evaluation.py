"""Evaluates images in two and in three processes, each with a part of them, as ranks do.

python share_evaluation.py COLUMNS.npz RESULT.json
"""

import gc
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

RULES = (("market", False), ("cuhk03", False), ("market", True))
GROUPS = (2, 3)
BLOCKS = {
    "retrieval": "_BLOCK_ELEMENTS",
    "single_shot": "_BLOCK_ENTRIES",
    "verification": "_BLOCK_ENTRIES",
}


def evaluate(rank, world_size, columns, group=None):
    """All numbers, blocks that this rank scored, and images that it has; they go round in turn."""
    from lightning_reid.errors import InputError
    from lightning_reid.metrics import RetrievalMetrics
    from lightning_reid.metrics.functional import retrieval, single_shot, verification

    for module in (retrieval, single_shot, verification):
        setattr(module, BLOCKS[module.__name__.rpartition(".")[2]], 1500)
    scored, score_block = [], retrieval.score_block

    def watched(block):
        scored.append(block.rows)
        return score_block(block)

    retrieval.score_block = watched
    rows = torch.arange(rank, len(columns[0]), world_size)
    if rank == world_size - 1:
        rows = torch.cat([rows, torch.arange(5)])  # a sampler that pads
    numbers = {}
    for protocol, cross_camera_only in RULES:
        metric = RetrievalMetrics(
            normalize_cameras=True,
            expand=True,
            rerank=True,
            protocol=protocol,
            cross_camera_only=cross_camera_only,
            confidence=0.95,
            open_set=True,
            verification=[0.01, 0.2],
            process_group=group,
        )
        for batch in rows.split(17):
            metric.update(*(column[batch] for column in columns))
        numbers[f"{protocol} {cross_camera_only}"] = metric.compute()
    retrieval.score_block = score_block
    own = [column[rank::world_size] for column in columns]
    without_index, one_index = (RetrievalMetrics(process_group=group) for _ in range(2))
    without_index.update(*own[:-1])
    one_index.update(*own[:-1], index=torch.zeros_like(own[-1]))
    try:
        refused = str(one_index.compute())
    except InputError as error:
        refused = str(error)
    return {
        "numbers": numbers,
        "scored": len(scored),
        "kept": len(metric.collect().index),
        "without_index": without_index.compute(),
        "refused": refused,
    }


def run(rank, columns_file, result):
    most = max(GROUPS)
    store = dist.FileStore(f"{result}.store", most)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=most)
    columns = [torch.from_numpy(column) for column in np.load(columns_file).values()]
    found = {}
    for size in GROUPS:
        group = dist.new_group(range(size))
        own = evaluate(rank, size, columns, group) if rank < size else None
        everyone = [None] * most
        dist.all_gather_object(everyone, own)
        found[size] = everyone[:size]
    if rank == 0:
        Path(result).write_text(json.dumps(found))
    gc.collect()  # metrics are cycles, and hold groups, whose threads must end before Python does
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.start_processes(
        run, tuple(sys.argv[1:]), nprocs=max(GROUPS), start_method="fork"
    )
