"""Evaluates images in several processes, each with a part of them, as ranks do.

python share_evaluation.py COLUMNS.npz RESULT.json NUMBER_OF_PROCESSES
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist


def evaluate(rank, world_size, columns):
    """All numbers, blocks that this rank scored, and images that it has; they go round in turn."""
    from lightning_reid import RetrievalMetrics
    from lightning_reid.metrics.functional import retrieval, single_shot

    retrieval._BLOCK_ELEMENTS = single_shot._BLOCK_ENTRIES = 1500
    scored, score_block = [], retrieval.score_block

    def watched(block):
        scored.append(block.rows)
        return score_block(block)

    retrieval.score_block = watched
    rows = torch.arange(rank, len(columns[0]), world_size)
    if rank == world_size - 1:
        rows = torch.cat([rows, torch.arange(5)])  # a sampler that pads
    numbers = {}
    for protocol in ("market", "cuhk03"):
        metric = RetrievalMetrics(
            normalize_cameras=True, expand=True, rerank=True, confidence=0.95, protocol=protocol
        )
        for batch in rows.split(17):
            metric.update(*(column[batch] for column in columns))
        numbers[protocol] = metric.compute()
    retrieval.score_block = score_block
    return {"numbers": numbers, "scored": len(scored), "kept": len(metric.collect().index)}


def run(rank, columns_file, result, world_size):
    store = dist.FileStore(f"{result}.store", world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    columns = [torch.from_numpy(column) for column in np.load(columns_file).values()]
    everyone = [None] * world_size
    dist.all_gather_object(everyone, evaluate(rank, world_size, columns))
    if rank == 0:
        Path(result).write_text(json.dumps(everyone))
    dist.destroy_process_group()


if __name__ == "__main__":
    columns_file, result, world_size = sys.argv[1:]
    torch.multiprocessing.spawn(
        run, (columns_file, result, int(world_size)), nprocs=int(world_size)
    )
