"""The log of a run that goes on."""

import csv

import pytest
from pytorch_lightning.utilities import rank_zero_only

from lightning_reid.errors import InputError
from lightning_reid.loggers import ContinuedCSVLogger


def log(folder, **values):
    logger = ContinuedCSVLogger(folder, name="", version="")
    logger.log_metrics(values, step=0)
    logger.save()
    return logger


def test_a_resumed_run_adds_to_the_file(tmp_path):
    log(tmp_path, loss=1.0)
    log(tmp_path, loss=2.0, extra=3.0)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert {"loss", "extra"} <= set(lines[0].split(","))
    assert len(lines) == 3
    assert ["1.0" in lines[1], "2.0" in lines[2], "3.0" in lines[2]] == [True] * 3


def test_only_the_first_process_touches_the_file(tmp_path, monkeypatch):
    log(tmp_path, loss=1.0)
    before = (tmp_path / "metrics.csv").read_text()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    log(tmp_path, loss=2.0)
    assert (tmp_path / "metrics.csv").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_is_in_the_file_as_soon_as_it_is_logged(tmp_path):
    logger = ContinuedCSVLogger(tmp_path, name="", version="")
    for step in range(3):
        logger.log_metrics({"loss": float(step)}, step=step)
        assert [row["loss"] for row in rows(tmp_path)] == ["0.0", "1.0", "2.0"][: step + 1]


def test_wherever_a_kill_cuts_the_file_its_whole_lines_stay(tmp_path):
    log(tmp_path, loss=1.0, other=2.0)
    log(tmp_path, loss=3.0, other=4.0)
    whole = (tmp_path / "metrics.csv").read_bytes()
    for length in range(len(whole) + 1):
        (tmp_path / "metrics.csv").write_bytes(whole[:length])
        log(tmp_path, loss=5.0)
        ends = max(0, whole[:length].count(b"\n") - 1)  # but for the header
        assert [row["loss"] for row in rows(tmp_path)] == [*["1.0", "3.0"][:ends], "5.0"]
        assert all(None not in row and None not in row.values() for row in rows(tmp_path))


@pytest.mark.parametrize("new", ["loss", "extra"])  # a line more, a new header
def test_a_full_disk_takes_no_line(new, tmp_path):
    resource = pytest.importorskip("resource")
    logger = log(tmp_path, loss=1.0)
    before = (tmp_path / "metrics.csv").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 2, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write .*metrics.csv: File too large"):
            logger.log_metrics({new: 2.0}, step=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    logger.finalize("failed")
    assert (tmp_path / "metrics.csv").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_log_that_was_deleted_begins_again(tmp_path):
    logger = log(tmp_path, loss=1.0)
    (tmp_path / "metrics.csv").unlink()
    logger.log_metrics({"loss": 2.0}, step=1)
    assert rows(tmp_path) == [{"loss": "2.0", "step": "1"}]


def test_what_is_repeated_is_taken_out(tmp_path):
    logger = ContinuedCSVLogger(tmp_path, name="", version="")
    logger.log_metrics({"clusters": 5}, step=0)  # before the first epoch
    for step in range(8):
        logger.log_metrics({"rate": 0.5}, step=step)  # some callbacks tell no epoch
        logger.log_metrics({"epoch": step // 2, "loss": 1.0}, step=step)
    logger.log_metrics({"epoch": 1, "val": 0.5}, step=4)  # that of the step to come
    logger.log_metrics({"epoch": 4, "test/mAP": 0.5}, step=8)
    logger = ContinuedCSVLogger(tmp_path, name="", version="")
    logger.forget(epoch=2, step=4)
    told = [
        {name: row[name] for name in row if row[name] and name != "rate"} for row in rows(tmp_path)
    ]
    assert [row.get("epoch") for row in told if "loss" in row] == ["0", "0", "1", "1"]
    assert [row["step"] for row in rows(tmp_path) if row["rate"]] == ["0", "1", "2", "3"]
    assert [name for row in told for name in row if name in ("clusters", "val", "test/mAP")] == [
        "clusters", "val", "test/mAP",
    ]  # fmt: skip
    logger.forget(epoch=1, step=3)  # from within an epoch
    assert [row["step"] for row in rows(tmp_path) if row["loss"]] == ["0", "1", "2"]


def test_a_run_that_begins_again_begins_its_log_again(tmp_path, monkeypatch):
    log(tmp_path, loss=1.0)
    logger = ContinuedCSVLogger(tmp_path, begins=True, name="", version="")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert len(rows(tmp_path)) == 1  # not for another process to touch
    monkeypatch.undo()
    logger.log_metrics({"loss": 2.0})
    logger.log_metrics({"loss": 3.0})
    assert [row["loss"] for row in rows(tmp_path)] == ["2.0", "3.0"]


def test_a_repeated_test_takes_the_place_of_the_first(tmp_path):
    logger = ContinuedCSVLogger(tmp_path, name="", version="")
    logger.log_metrics({"loss": 1.0}, step=3)
    for mean in (0.5, 0.5, 0.75):
        logger.log_metrics({"test/mAP": mean}, step=3)
    assert [row["test/mAP"] for row in rows(tmp_path)] == ["", "0.75"]
    # later, or of other measures: another test
    logger.log_metrics({"test/mAP": 0.875}, step=6)
    logger.log_metrics({"test/rank1": 1.0}, step=6)
    assert [row["test/mAP"] for row in rows(tmp_path)] == ["", "0.75", "0.875", ""]
    logger.log_metrics({"loss": 1.0}, step=3)  # what is no test stays
    assert [row["loss"] for row in rows(tmp_path)] == ["1.0", "", "", "", "1.0"]


def test_tests_that_tell_no_step_all_stay(tmp_path):
    for mean in (0.5, 0.75):
        log(tmp_path, **{"test/mAP": mean})
    assert [row["test/mAP"] for row in rows(tmp_path)] == ["0.5", "0.75"]
