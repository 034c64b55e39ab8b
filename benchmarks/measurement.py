"""What all benchmarks share: timing, and a table and a JSON file of what was measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy")


def median_seconds(function: Callable[[], object], repeats: int = 5, warmup: int = 1) -> float:
    """Median time of a call after ``warmup`` calls that do not count."""
    for _ in range(warmup):
        function()
    return statistics.median(_seconds(function) for _ in range(repeats))


def report(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    file: Path | None = None,
    **further: Any,
) -> None:
    """Print a table and, if asked for, write it to a JSON file with machine and versions."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    console = Console()
    console.width = max(console.width, 160)
    console.print(table)
    if file is not None:
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        content = {"title": title, "rows": records, **further, "environment": environment()}
        file.write_text(json.dumps(content, indent=2, default=str) + "\n")


def environment() -> Mapping[str, Any]:
    """Machine, versions, date and commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or None,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


@dataclass
class Peak:
    """Most memory that was in use beyond what was in use before."""

    gigabytes: float = float("nan")


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Watch the memory of this process, or of the GPU where there is one (Linux)."""
    peak = Peak()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield peak
        peak.gigabytes = (torch.cuda.max_memory_allocated() - before) / 1e9
        return
    Path("/proc/self/clear_refs").write_text("5")  # resets the highest resident size
    before = _resident("VmRSS")
    yield peak
    peak.gigabytes = (_resident("VmHWM") - before) / 1e9


def _resident(name: str) -> int:
    """Bytes that the kernel reports under a name for this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
