"""What an inspection prints and writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_reid.cells import write_cells
from lightning_reid.data import UnreadableImageError, read_image
from lightning_reid.data.extremes import Integers
from lightning_reid.data.samples import UNKNOWN
from lightning_reid.inspection.contact_sheet import draw_contact_sheet, file_names
from lightning_reid.inspection.counts import by_camera, by_split
from lightning_reid.inspection.dataset import SPLITS, Listing
from lightning_reid.inspection.duplicates import originals
from lightning_reid.inspection.finding import SEVERITIES, Finding, counted
from lightning_reid.inspection.images import Pixels, thumbnail
from lightning_reid.inspection.inspection import Inspection
from lightning_reid.report.lettering import abbreviated, writable
from lightning_reid.terminal import SafeConsole
from lightning_reid.whole_files import whole_file

WRITTEN = "check.json"  # a folder that has it is taken

_PICTURES = "pictures"
_MOST_IMAGES = 40  # in the picture of a finding
_MOST_CAMERAS = 40  # rows of the printed table
_LONGEST = 200  # characters of a name in it
_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_ROWS = {
    "smallest": "smallest height x width",
    "median": "median height x width",
    "largest": "largest height x width",
}
_INDENT = " " * 9


def print_inspection(inspection: Inspection, folder: Path | None = None) -> None:
    """Tables, then findings in words, then whether training can start.

    Args:
        inspection: what to print.
        folder: where the rest of it was written; None: nowhere.

    Example:
        >>> from contextlib import redirect_stdout
        >>> from io import StringIO
        >>> from tempfile import TemporaryDirectory
        >>> from lightning_reid.datamodules import Market1501
        >>> from lightning_reid.inspection import inspect
        >>> printed = StringIO()
        >>> with TemporaryDirectory() as folder, redirect_stdout(printed):
        ...     print_inspection(inspect(Market1501(folder), num_workers=0))
        >>> print(printed.getvalue().splitlines()[-1])  # the verdict on an empty folder
        1 error, 0 warnings, 1 note: training or testing could not work.
    """
    # names of cameras and files are no markup
    console = SafeConsole()
    for table in _tables(inspection):
        console.print(table)
    for finding in inspection.findings:
        _print_finding(console, finding, folder)
    counts = Counter(finding.severity for finding in inspection.findings)
    told = ", ".join(counted(counts[kind], kind, f"{kind}s") for kind in SEVERITIES)
    verdict = (
        "nothing keeps fit and test from working"
        if inspection.works
        else "training or testing could not work"
    )
    console.print()
    console.print(f"{told}: {verdict}.")
    if folder is not None:
        console.print(f"Cameras in pictures, images line by line: {folder}", soft_wrap=True)


def write_inspection(inspection: Inspection, folder: Path) -> None:
    """Write ``check.json``, ``check.csv`` and pictures.

    ``pictures/cameras/<camera>.png`` shows some images of each camera, ``pictures/dark.png`` and
    others the worst of those that a finding is about.

    Args:
        inspection: what to write.
        folder: where to; is made.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from lightning_reid.datamodules import Market1501
        >>> from lightning_reid.inspection import inspect
        >>> with TemporaryDirectory() as folder:
        ...     write_inspection(inspect(Market1501(folder), num_workers=0), Path(folder, "check"))
        ...     print(sorted(file.name for file in Path(folder, "check").iterdir()))
        ['check.csv', 'check.json', 'pictures']
    """
    cameras = folder / _PICTURES / "cameras"
    cameras.mkdir(parents=True, exist_ok=True)
    for name, sheet in _contact_sheets(inspection):
        with whole_file(cameras / f"{name}.png") as stream:
            sheet.save(stream, "PNG")
    for finding in inspection.findings:
        images = _worst_images(finding, inspection.data.listing)
        if images:
            title = f"{finding.picture}: {len(images):,} of {len(finding.images):,} images"
            sheet = draw_contact_sheet(title, images)
            with whole_file(folder / _PICTURES / f"{finding.picture}.png") as stream:
                sheet.save(stream, "PNG")
    _write_images(inspection, folder / "check.csv")
    content = json.dumps(_summary(inspection), indent=2)
    with whole_file(folder / WRITTEN) as stream:
        stream.write(f"{content}\n".encode())


def _tables(inspection: Inspection) -> Iterator[Table]:
    splits, cameras = by_split(inspection.data), by_camera(inspection.data)
    if splits:
        rows = [asdict(split) for split in splits]
        table = Table("", *(row["split"] for row in rows), title="Data")
        for name in list(rows[0])[1:]:
            table.add_row(_ROWS.get(name, name), *(_cell(row[name]) for row in rows))
        yield table
    if cameras:
        table = Table(*(name.replace("_", " ") for name in asdict(cameras[0])), title="Cameras")
        for camera in cameras[:_MOST_CAMERAS]:
            table.add_row(*(_cell(value) for value in asdict(camera).values()))
        if len(cameras) > _MOST_CAMERAS:
            table.add_row(f"and {len(cameras) - _MOST_CAMERAS} more, see {WRITTEN}")
        yield table
    if inspection.methods:
        table = Table("method", "needs", "runs", title="Methods")
        for method in inspection.methods:
            answer = "yes" if method.runs else "no"
            told = f"{answer}: {_cell(method.remark)}" if method.remark else answer
            table.add_row(method.method, method.needs, told)
        yield table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else abbreviated(str(value), _LONGEST)


def _print_finding(console: Console, finding: Finding, folder: Path | None) -> None:
    console.print()
    head = Text(f"{finding.severity:<9}", style=_COLOURS[finding.severity])
    # a terminal wraps long lines itself, and leaves file names whole for copying
    console.print(head + console.render_str(finding.found), soft_wrap=True)
    for detail in finding.details:
        console.print(f"{_INDENT}  {detail}", style="dim", soft_wrap=True)
    console.print(f"{_INDENT}{finding.meaning}", soft_wrap=True)
    if finding.picture and folder is not None:
        shown = f"{folder / _PICTURES / finding.picture}.png"
        console.print(f"{_INDENT}{shown}", style="dim", soft_wrap=True)


def _contact_sheets(inspection: Inspection) -> Iterator[tuple[str, Any]]:
    listing, thumbnails = inspection.data.listing, inspection.data.measured.thumbnails
    kept = np.array(sorted(thumbnails), dtype=np.int64)
    counts = np.bincount(listing.cameras, minlength=len(listing.camera_names))
    names = zip(file_names(listing.camera_names), writable(listing.camera_names), strict=True)
    for number, (name, camera) in enumerate(names):
        own = [thumbnails[i] for i in kept[listing.cameras[kept] == number].tolist()]
        if own:
            title = f"{camera}: {len(own):,} of {counts[number]:,} images"
            yield name, draw_contact_sheet(title, own)


def _worst_images(finding: Finding, listing: Listing) -> list[Pixels]:
    """Thumbnails of the images of a finding, which are read again."""
    paths, max_pixels = listing.samples.paths, listing.datamodule.max_pixels
    thumbnails = []
    for index in finding.images[:_MOST_IMAGES]:
        with suppress(UnreadableImageError):  # somebody may have removed it meanwhile
            thumbnails.append(thumbnail(read_image(paths[index], max_pixels=max_pixels)))
    return thumbnails


def _write_images(inspection: Inspection, file: Path) -> None:
    """One row for every image."""
    data = inspection.data
    listing, samples, measured = data.listing, data.listing.samples, data.measured
    columns = {
        "path": samples.paths,
        "split": (SPLITS[split] for split in listing.split.tolist()),
        "camera": (listing.camera_names[camera] for camera in listing.cameras.tolist()),
        "identity": _known(samples.identities),
        "tracklet": (
            "" if t == UNKNOWN else samples.tracklet_names[t] for t in samples.tracklets.tolist()
        ),
        "height": measured.height.tolist(),
        "width": measured.width.tolist(),
        "readable": measured.readable.astype(int).tolist(),
        "one_colour": measured.plain.astype(int).tolist(),
        "brightness": (round(value, 1) for value in measured.brightness.tolist()),
        "sharpness": ("" if isnan(s) else round(s, 4) for s in measured.sharpness.tolist()),
        "turned": measured.turned.astype(int).tolist(),
        "damage": (measured.damage.get(i, "") for i in range(len(samples))),
        "copy_of": (
            "" if first == image else samples.paths[first]
            for image, first in enumerate(
                originals(data.copies.hashes, data.copies.compared).tolist()
            )
        ),
        "near_duplicate": data.near.found.astype(int).tolist(),
    }
    with whole_file(file) as stream:
        write_cells(stream, [columns])
        write_cells(stream, zip(*columns.values(), strict=True))


def _known(values: Integers) -> Iterator[int | str]:
    return ("" if value == UNKNOWN else value for value in values.tolist())


def _without_images(finding: Finding) -> dict[str, Any]:
    return {key: value for key, value in asdict(finding).items() if key != "images"}


def _summary(inspection: Inspection) -> dict[str, Any]:
    datamodule = inspection.data.listing.datamodule
    return {
        "data": type(datamodule).__name__,
        "root": str(datamodule.root),
        "works": inspection.works,
        "findings": [_without_images(finding) for finding in inspection.findings],
        "splits": [asdict(split) for split in by_split(inspection.data)],
        "cameras": [asdict(camera) for camera in by_camera(inspection.data)],
        "methods": [asdict(method) for method in inspection.methods],
        "unreadable": inspection.data.measured.reasons,
    }
