"""Everything that a run has to look at, on one page that needs nothing but itself."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from lightning_reid.report.contents import CONTENTS, Item, Section, picture_file, table_file
from lightning_reid.report.embedded import embed
from lightning_reid.report.label_columns import LABEL_NAMES
from lightning_reid.report.markup import Markup, element, joined
from lightning_reid.report.numbers import measures_of, shown_interval, shown_number
from lightning_reid.report.record import RunRecord
from lightning_reid.report.signs import Advice, sentences, signs_of
from lightning_reid.report.style import STYLE
from lightning_reid.report.tables import Table, read_labels, read_retrieval, read_table
from lightning_reid.run_folder import CONFIG
from lightning_reid.whole_files import whole_file

PAGE = "report.html"

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # no script, no network
_WIDE = 860  # pixels; wider pictures scroll on a phone instead of becoming unreadable
_MOST_ROWS = 400  # of a table
_FEW_ROWS = 12  # longer tables are folded away
_LONG_DECIMAL = re.compile(r"-?\d+\.\d{4,}(e[-+]?\d+)?|-?\d+(\.\d+)?e-\d+")
_SHARE = re.compile(r"[01]|0?\.\d+|1\.0+|\d(\.\d+)?e-\d+")
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?( %(<small>.*)?)?|-")
_HOW = "How was it made?"  # title of the last section
_KINDS = {"fit": "Training", "test": "Test", "validate": "Validation"}
_MAIN = {
    "mAP": "mAP",
    "rank1": "rank 1",
    "camera_normalized/mAP": "mAP, camera-normalised",
    "reranked/mAP": "mAP, re-ranked",
}
_VARIANTS = {
    "camera_normalized": "each camera's mean and spread taken out of the embeddings",
    "expanded": "queries averaged with their nearest gallery images",
    "reranked": "k-reciprocal re-ranking of the gallery",
}


def write_page(folder: Path) -> Path:
    """Write ``report.html`` into a run folder, from nothing but what lies in there.

    It holds every picture and table of :data:`~lightning_reid.report.contents.CONTENTS` that is
    there, and needs no network, no script and no other file. What is missing is left out.

    Args:
        folder: of the run; its ``pictures/*.png``, ``tables/*.csv``, ``run.json`` and
            ``config.yaml`` are read.

    Returns:
        The page.

    Raises:
        InputError: if ``run.json`` holds something else.
        OSError: if the page cannot be written.
    """
    run = _Run(folder, RunRecord.read(folder), _retrieval(folder))
    title = f"{run.record.method} on {run.record.data}" if run.record else folder.resolve().name
    sections = [(s.title, shown) for s in CONTENTS if (shown := _section(run, s))]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    body = element(
        "main",
        _header(run, title, [name for name, _ in sections]),
        *(
            element("section", element("h2", name), shown, id=_anchor(name))
            for name, shown in sections
        ),
        _how(run),
    )
    page = "<!doctype html>\n" + element("html", head, element("body", body), lang="en") + "\n"
    with whole_file(folder / PAGE) as stream:
        stream.write(page.encode("utf-8", "replace"))  # file names need not be UTF-8
    return folder / PAGE


class _Run(NamedTuple):
    """What several parts of the page speak of."""

    folder: Path
    record: RunRecord | None
    retrieval: dict[str, dict[str, float]]


def _header(run: _Run, title: str, sections: list[str]) -> Markup:
    links = (element("a", name, href=f"#{_anchor(name)}") for name in [*sections, _HOW])
    return element(
        "header",
        element("h1", title),
        *(element("p", sentence, class_="dim") for sentence in _state(run.record)),
        _main_numbers(run),
        *(element("p", sentence) for sentence in _untested(run)),
        element("nav", *links),
    )


def _state(record: RunRecord | None) -> Iterator[str]:
    """What was run, and how far it came."""
    if record is None:
        return
    when = _time(record.updated)
    if record.command != "fit":
        of = f" of {record.checkpoint}" if record.checkpoint else " of an untrained network"
        yield f"{_KINDS.get(record.command, record.command)}{of}, {when}."
        return
    done, wanted = record.epochs_done, record.epochs
    epochs = f"{done} epochs" if wanted is None else f"{done} of {wanted} epochs"
    yield f"Training, begun {_time(record.begun)}. {epochs} are done, as of {when}." + (
        " Load this page again to see more." if wanted is None or done < wanted else ""
    )


def _untested(run: _Run) -> Iterator[str]:
    """What the numbers leave open."""
    if not run.retrieval:
        yield (
            "This run has no test results: its data has no test set, or it was left out "
            "(--evaluate false)."
        )
    elif run.record and run.record.command == "fit" and "untrained" in [*run.retrieval][-1:]:
        yield "The trained network has not been tested yet."


def _main_numbers(run: _Run) -> Markup:
    tiles = [*_retrieval_tiles(run.retrieval), *_label_tiles(run.folder)]
    return element("ul", *tiles, class_="numbers") if tiles else Markup()


def _retrieval_tiles(columns: Mapping[str, Mapping[str, float]]) -> Iterator[Markup]:
    """Those of the last column, the trained network's if it has been tested."""
    if not columns:
        return
    name, numbers = list(columns.items())[-1]
    for measure in [measure for measure in _MAIN if measure in numbers]:
        interval = shown_interval(numbers, measure)
        notes = [interval] if interval else []
        if name == "trained" and "untrained" in columns:
            notes.append(f"untrained {shown_number(columns['untrained'], measure)}")
        title = _MAIN[measure] + (", untrained" if name == "untrained" else "")
        yield _tile(title, shown_number(numbers, measure), notes)


def _label_tiles(folder: Path) -> Iterator[Markup]:
    labels = _try_table(folder, "labels")
    if not isinstance(labels, Table) or not labels.rows:
        return
    last = dict(zip(labels.header, labels.rows[-1], strict=True))
    if clusters := last.get("labels/clusters"):
        yield _tile("clusters", clusters, ["at the last labelling"])
    if share := last.get("labels/outlier_share"):
        yield _tile("outliers", f"{100 * float(share):.1f} %", ["of the training images"])


def _tile(name: str, value: str, notes: Sequence[str]) -> Markup:
    told = (element("span", note) for note in notes)
    return element("li", element("span", name), element("b", value), *told)


def _section(run: _Run, section: Section) -> Markup:
    """Its tables and pictures, as far as they are there."""
    return joined(
        [
            *(_titled(item, shown) for item in section.tables if (shown := _table(run, item))),
            *(
                _titled(item, shown)
                for item in section.pictures
                if (shown := _picture(run.folder, item))
            ),
        ]
    )


def _titled(item: Item, shown: Markup) -> Markup:
    meaning = element("p", item.meaning, class_="dim wide")
    return element("article", element("h3", item.title), meaning, shown)


def _table(run: _Run, item: Item) -> Markup:
    table = _try_table(run.folder, item.name, _MOST_ROWS + 1)
    if table is None:
        return Markup()
    if isinstance(table, str):
        return element("p", table)
    if item.name == "retrieval":
        return _retrieval_table(run.retrieval)
    if item.name == "labels":
        return joined([_signs(run), _plain_table(item, _named_columns(table), _cell)])
    return _plain_table(item, table, _percent if item.name == "camera_pairs" else _cell)


def _plain_table(item: Item, table: Table, shown_as: Callable[[str], str]) -> Markup:
    """Its rows, folded away if they are many."""
    rows = [
        [first, *(shown_as(value) for value in values)]  # the first may be a name, such as "1"
        for first, *values in table.rows[:_MOST_ROWS]
    ]
    shown = _grid(table.header, rows)
    if len(table.rows) > _MOST_ROWS:
        rest = f"These are the first {_MOST_ROWS} rows; all are in tables/{item.name}.csv."
        shown = joined([shown, element("p", rest, class_="dim")])
    if len(rows) <= _FEW_ROWS:
        return shown
    return element("details", element("summary", f"{len(rows)} rows"), shown)


def _named_columns(labels: Table) -> Table:
    """The columns that tell most, which fit on a screen, under the names that people give them."""
    names = {"epoch": "epoch", **LABEL_NAMES}
    places = [place for place, name in enumerate(labels.header) if name in names]
    header = [names[labels.header[place]] for place in places]
    return Table(header, [[row[place] for place in places] for row in labels.rows])


def _signs(run: _Run) -> Markup:
    """What the statistics of the labels tell, and where the rest of them is."""
    history = read_labels(run.folder)
    advice = run.record.advice if run.record else Advice()
    signs = signs_of(history[0], history[-1], advice) if history else []
    lines = [element("p", f"Bad sign: {told}.", class_="bad") for told in sentences(signs, "bad")]
    if good := sentences(signs, "good"):
        lines.append(element("p", f"Good signs: {'; '.join(good)}."))
    lines += [element("p", f"{told}.") for told in sentences(signs, "open")]
    rest = "More columns, such as sizes and durations, are in tables/labels.csv."
    return joined([*lines, element("p", rest, class_="dim")])


def _retrieval_table(columns: Mapping[str, Mapping[str, float]]) -> Markup:
    known = list(dict.fromkeys(name for numbers in columns.values() for name in numbers))
    measures = measures_of(known)
    rows = [
        [_breakable(m), *(_with_interval(numbers, m) for numbers in columns.values())]
        for m in measures
    ]
    told = [
        f"{name}/...: {meaning}."
        for name, meaning in _VARIANTS.items()
        if any(m.startswith(f"{name}/") for m in measures)
    ]
    if len(measures) < len(known):
        told.append("Below a number: its bootstrap interval over queries.")
    notes = (element("p", note, class_="dim wide") for note in told)
    return joined([_grid(["", *columns], rows), *notes])


def _breakable(measure: str) -> Markup:
    """A name that may go on in the next line after each stroke."""
    before, stroke, last = measure.rpartition("/")
    return joined([before, stroke, element("wbr"), last])


def _with_interval(numbers: Mapping[str, float], measure: str) -> str:
    value, interval = shown_number(numbers, measure), shown_interval(numbers, measure)
    return joined([value, element("small", interval)]) if interval else value


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table that scrolls sideways; columns of nothing but numbers stand on the right."""
    right = [
        bool(rows) and all(_NUMBER.fullmatch(row[place] or "-") for row in rows)
        for place in range(len(header))
    ]

    def line(kind: str, cells: Sequence[str]) -> Markup:
        return element(
            "tr",
            *(
                element(kind, cell, class_="number") if number else element(kind, cell)
                for cell, number in zip(cells, right, strict=True)
            ),
        )

    head = element("thead", line("th", header))
    body = element("tbody", *(line("td", row) for row in rows))
    return element("div", element("table", head, body), class_="scroll", tabindex=0)


def _cell(value: str) -> str:
    return f"{float(value):.3f}" if _LONG_DECIMAL.fullmatch(value) else value


def _percent(value: str) -> str:
    """A share as in the picture."""
    return f"{100 * float(value):.0f} %" if _SHARE.fullmatch(value) else value


def _picture(folder: Path, item: Item) -> Markup:
    file = picture_file(folder, item.name)
    if not file.is_file():
        return Markup()
    try:
        picture = embed(file)
    except OSError as error:
        return element("p", f"pictures/{file.name} cannot be read: {error}")
    image = element(
        "img",
        src=picture.uri,
        alt=f"{item.title}: {item.meaning}",
        width=picture.width,
        height=picture.height,
        class_="large" if picture.width > _WIDE else "small",
    )
    return element("figure", image, class_="scroll", tabindex=0)


def _how(run: _Run) -> Markup:
    """The command to repeat it, facts, versions, settings."""
    folder, record, _ = run
    settings = folder / CONFIG
    parts: list[Markup] = []
    if record and settings.is_file():
        command = element("pre", _command(settings, record), class_="command")
        parts += [element("p", "To run it again:", class_="dim"), command]
    parts.append(element("dl", *_facts(folder, record)))
    if settings.is_file():
        text = settings.read_text(encoding="utf-8", errors="replace")
        told = element("summary", f"All settings ({CONFIG})")
        parts.append(element("details", told, element("pre", text)))
    return element("section", element("h2", _HOW), *parts, id=_anchor(_HOW))


def _command(settings: Path, record: RunRecord) -> str:
    command = ["lightning-reid", record.command, "--config", str(settings.resolve())]
    if record.command != "fit" and record.checkpoint:
        command += ["--ckpt_path", record.checkpoint]
    elif record.checkpoint:
        command += ["--ckpt_path", "null"]  # the settings tell to go on from it
    return shlex.join(command)


def _facts(folder: Path, record: RunRecord | None) -> Iterator[Markup]:
    facts = {"folder": str(folder.resolve())}
    if record:
        facts |= {"begun": _time(record.begun)}
        if record.continued:
            facts |= {"gone on with": ", ".join(_time(moment) for moment in record.continued)}
        facts |= {"computed on": record.device, **record.versions}
    for name, value in facts.items():
        yield element("dt", name)
        yield element("dd", value)


def _retrieval(folder: Path) -> dict[str, dict[str, float]]:
    """The test results; none if they cannot be read, which the table then tells."""
    return read_retrieval(folder) if isinstance(_try_table(folder, "retrieval"), Table) else {}


def _try_table(folder: Path, name: str, most: int | None = None) -> Table | str | None:
    """A table; None if it is not there; or a sentence why it cannot be read."""
    try:
        if name == "retrieval":
            read_retrieval(folder)  # holds numbers
        elif name == "labels":
            read_labels(folder)
        return read_table(folder, name, most)
    except (OSError, csv.Error, ValueError) as error:
        return f"tables/{table_file(folder, name).name} cannot be read: {error}"


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _time(moment: str) -> str:
    """Without seconds; the offset is that of where it ran."""
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M %Z}" if moment else "-"
