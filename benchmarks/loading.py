"""Feature extraction of the callback against the bare backbone on ready tensors.

    python benchmarks/loading.py [--json FILE]

Draws Market-sized JPEG files, extracts their features as a run does (decoding, resizing,
normalising, embedding, putting in order) and runs the same network over the same, already loaded
batches. Share of the bare throughput; 0.9 is the aim.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pytorch_lightning as pl
import torch
from measurement import median_seconds, report

from lightning_reid import O2CAP, Market1501
from lightning_reid.callbacks import extract_features
from lightning_reid.data.synthetic import draw_synthetic_persons


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = draw_synthetic_persons(
            Path(folder) / "persons", num_train_identities=arguments.images // 20, progress=False
        )
        rows = measure(root, arguments)
    columns = ("what", "images per second", "share of bare")
    title = f"Extraction, {arguments.backbone} at 256 x 128"
    report(title, columns, rows, arguments.json, workers=arguments.workers)


def measure(root: Path, arguments: argparse.Namespace) -> list[tuple[str, float, float]]:
    """Images per second of the bare network and of the extraction, in turn."""
    trainer = pl.Trainer(accelerator="auto", devices=1, logger=False, enable_progress_bar=False)
    model = O2CAP(backbone=arguments.backbone, weights=None).eval().to(trainer.strategy.root_device)
    data = Market1501(root, eval_batch_size=arguments.batch, num_workers=arguments.workers)
    data.setup("fit")
    batches = [batch["image"].to(model.device) for batch in data.label_dataloader()]
    count = sum(len(batch) for batch in batches)

    @torch.no_grad()
    def bare() -> None:
        for batch in batches:
            model.network.backbone(batch)
        if model.device.type == "cuda":
            torch.cuda.synchronize()

    def extraction() -> None:
        extract_features(trainer, model, data.label_dataloader())

    seconds = [
        (median_seconds(bare, 1, 0), median_seconds(extraction, 1, 0))
        for _ in range(arguments.repeats + 1)
    ][1:]
    bare_speed = count / sorted(a for a, _ in seconds)[len(seconds) // 2]
    speed = count / sorted(b for _, b in seconds)[len(seconds) // 2]
    return [("bare backbone", bare_speed, 1.0), ("extraction", speed, speed / bare_speed)]


if __name__ == "__main__":
    main()
