"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from lightning_reid.lightning import rank_zero_only
from lightning_reid.report.label_columns import LABEL_NAMES
from lightning_reid.report.numbers import measures_of, shown_interval, shown_number
from lightning_reid.report.page import PAGE
from lightning_reid.report.record import RunRecord
from lightning_reid.report.signs import Advice, sentences, signs_of
from lightning_reid.terminal import SafeConsole


@rank_zero_only
def print_summary(
    before: Mapping[str, float],
    after: Mapping[str, float],
    history: Sequence[Mapping[str, float]],
    folder: Path,
) -> None:
    """Print what a ``fit`` achieved and what tells whether to trust it.

    Args:
        before: test results of the untrained network; may be empty.
        after: test results of the trained network, with the bounds of intervals as ``..._low`` and
            ``..._high`` if they were asked for; may be empty.
        history: statistics of every labelling, oldest first; may be empty.
        folder: of the run; its ``run.json``, if it is there, tells what the method advises.

    Raises:
        InputError: if ``run.json`` holds something else.

    Example:
        >>> from pathlib import Path
        >>> after, folder = {"test/mAP": 0.827}, Path("runs/demo")
        >>> print_summary({}, after, history=[], folder=folder)  # doctest: +NORMALIZE_WHITESPACE
            Retrieval
        ┏━━━━━━┳━━━━━━━━━┓
        ┃ test ┃ trained ┃
        ┡━━━━━━╇━━━━━━━━━┩
        │ mAP  │ 82.7 %  │
        └──────┴─────────┘
        Everything of this run is in runs/demo
    """
    console = SafeConsole()
    if after:
        columns = {"untrained": before, "trained": after} if before else {"trained": after}
        table = Table("test", *columns, title="Retrieval")
        for key in measures_of(after):
            numbers = (_with_interval(values, key) for values in columns.values())
            table.add_row(key.removeprefix("test/"), *numbers)
        console.print(table)
    if history:
        console.print(_labels_table(history[0], history[-1]))
        record = RunRecord.read(folder)
        signs = signs_of(history[0], history[-1], record.advice if record else Advice())
        for sentence in sentences(signs, "bad"):
            console.print(f"Bad sign: {sentence}", soft_wrap=True)
    # a folder's name is no markup, and stays whole for copying
    told = f"Everything of this run is in {folder}"
    page = folder / PAGE
    console.print(f"{told}; to look at: {page}" if page.is_file() else told, soft_wrap=True)


def _with_interval(numbers: Mapping[str, float], name: str) -> str:
    value, interval = shown_number(numbers, name), shown_interval(numbers, name)
    return f"{value} ({interval})" if interval else value


def _labels_table(first: Mapping[str, float], last: Mapping[str, float]) -> Table:
    table = Table("labels", "first", "last", title="Pseudo labels")
    for key, name in LABEL_NAMES.items():
        if key in last:
            table.add_row(name, _number(first.get(key), key), _number(last[key], key))
    return table


def _number(value: float | None, key: str) -> str:
    if value is None or value != value:
        return "-"
    return f"{int(value):,}" if key == "labels/clusters" else f"{value:.3f}"
