"""What importing the package and asking for help cost, against bare Lightning.

    python benchmarks/startup.py [--json FILE]

Fresh processes, in turn, medians; at most 1.2 times is the aim.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measurement import report

BARE_CLI = """
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.cli import LightningCLI
import torchvision
LightningCLI(LightningModule, LightningDataModule, subclass_mode_model=True,
             subclass_mode_data=True, args=["fit", "--help"])
"""
PAIRS = {
    "import": ("import lightning_reid", "import pytorch_lightning, torchvision"),
    "fit --help": (
        "from lightning_reid.cli import run_command_line as run; run(['fit', '--help'])",
        BARE_CLI,
    ),
    "--help": (
        "from lightning_reid.cli import run_command_line as run; run(['--help'])",
        BARE_CLI.replace('"fit", ', ""),
    ),
}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for name, (ours, bare) in PAIRS.items():
        _seconds(ours), _seconds(bare)
        pairs = [(_seconds(ours), _seconds(bare)) for _ in range(arguments.repeats)]
        ratio = statistics.median(a / b for a, b in pairs)
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append((name, a, b, ratio))
    report("Start-up", ("what", "seconds", "bare seconds", "ratio"), rows, arguments.json)


def _seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
