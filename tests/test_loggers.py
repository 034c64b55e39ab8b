"""The log of a run that goes on."""

from pytorch_lightning.utilities import rank_zero_only

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
