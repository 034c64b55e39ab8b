"""Names from files in messages and tables."""

import csv
import io
import logging
import pickle
import unicodedata
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from lightning_reid.cells import as_cell, of_cell, write_cells
from lightning_reid.errors import DownloadError, InputError, MissingPackageError
from lightning_reid.lightning import rank_zero_info, rank_zero_warn
from lightning_reid.messages import left_out, printable
from lightning_reid.report.lettering import font_of, shortened, writable
from lightning_reid.report.markup import element
from lightning_reid.report.tables import read_table, write_table
from lightning_reid.terminal import SafeConsole, escape_reports

HOSTILE = "\x1b]8;;http://x\x07link\x1b]8;;\x07\r\n\u202egpj.exe\u2028\u200b\x9b2J\udce9"
ESCAPED = printable(HOSTILE)
NAMES = st.text(st.characters(exclude_categories=()), max_size=20)


def is_tame(text):
    """No character controls, formats, separates lines, or is half of another one."""
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@given(NAMES)
def test_what_is_printed_is_one_tame_line(name):
    shown = printable(name)
    assert is_tame(shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    if is_tame(name):
        assert shown == name or not name.isprintable()


@pytest.mark.parametrize("kind", [InputError, DownloadError, MissingPackageError])
def test_errors_are_one_line(kind):
    error = kind(f"cannot read {HOSTILE}: damaged")
    assert str(error) == f"cannot read {ESCAPED}: damaged"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # from a worker process
    several = kind("first", "second", HOSTILE)
    assert str(several) == f"first\nsecond\n{ESCAPED}"
    assert str(pickle.loads(pickle.dumps(several))) == str(several)


def test_logs_and_warnings_are_one_line(caplog, recwarn):
    with caplog.at_level(logging.INFO):
        rank_zero_info(f"Writing to {HOSTILE}")
    assert f"Writing to {ESCAPED}" in caplog.messages
    rank_zero_warn(f"{HOSTILE} is empty")
    assert str(recwarn.pop().message) == f"{ESCAPED} is empty"
    assert str(InputError(left_out([HOSTILE]))).endswith(ESCAPED)


def test_those_of_other_code_are_escaped_by_the_command_line(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("lightning_fabric")
    logger.addHandler(handler)
    try:
        escape_reports()
        escape_reports()  # once is enough
        assert len(handler.filters) == 1
        logger.warning("restored %s", HOSTILE)
    finally:
        logger.removeHandler(handler)
    written = stream.getvalue() + warnings.formatwarning(HOSTILE, UserWarning, "f.py", 1)
    assert is_tame(written.replace("\n", ""))
    assert r"\x1b" in written


def test_tables_on_a_terminal(capsys):
    console = SafeConsole(width=200, force_terminal=True)
    table = Table("camera", title=HOSTILE)
    table.add_row(HOSTILE)
    console.print(table)
    console.print(f"in {HOSTILE}", "[red]no markup[/red] :smile:")
    shown = capsys.readouterr().out
    assert "\x07" not in shown
    assert "\x1b]" not in shown
    assert "\u202e" not in shown
    assert "[red]no markup[/red] :smile:" in shown


@given(NAMES)
def test_cells_are_text_and_come_back(name):
    cell = as_cell(name)
    assert of_cell(cell) == name
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))  # noqa: RUF001
    assert cell in (name, f"'{name}")


def test_numbers_stay_numbers():
    stream = io.BytesIO()
    write_cells(stream, [["-1", -1], ["-0.5", -0.5], [np.nan, np.float32(-2)]])
    assert stream.getvalue() == b"'-1,-1\r\n'-0.5,-0.5\r\nnan,-2.0\r\n"


@pytest.mark.parametrize("name", ["=1+1", "'=1", "@SUM(A1)", "-2", "+c", "\t=1", "＝1", "plain"])  # noqa: RUF001
def test_tables_of_a_run(name, tmp_path):
    write_table(tmp_path, "camera_pairs", ["query", name], [[name, -0.5], [f"{name}é", 1.0]])
    with (tmp_path / "tables" / "camera_pairs.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    texts = [cell for row in rows for cell in row if cell not in ("-0.5", "1")]
    assert not any(text.lstrip().startswith(tuple("=+-@＝")) for text in texts)  # noqa: RUF001
    assert rows[1][1] == "-0.5"  # a number
    table = read_table(tmp_path, "camera_pairs")
    assert [*table.header, *(row[0] for row in table.rows)] == ["query", name, name, f"{name}é"]


def test_html():
    shown = element("p", HOSTILE, title=HOSTILE)
    assert is_tame(shown.replace("\n", ""))
    assert r"\u202egpj.exe" in shown


@pytest.mark.parametrize("letter", ["i", "W", "\u0301", "入", "\x1b"])
def test_a_name_of_100_000_letters_is_drawn_at_once(letter):
    (name,) = writable([letter * 100_000])
    assert len(name) < 600
    font = font_of(12)
    cut = shortened(letter * 100_000, font, 300)
    assert font.getlength(cut) <= 300 or letter == "\u0301"
    assert shortened("short", font, 300) == "short"
    assert shortened("nothing fits", font, 1) == "…"
