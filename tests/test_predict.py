"""``lightning-reid predict``: what it writes, and in which format."""

import shutil
import sys

import numpy as np
import pytest
from briefly_trained import train
from command_line import arguments, run

from lightning_reid.callbacks import EmbeddingWriter, embeddings
from lightning_reid.cli import main
from lightning_reid.errors import InputError


@pytest.fixture(scope="module")
def trained(persons, tmp_path_factory):
    return train(persons, tmp_path_factory.mktemp("predicted") / "run").parents[1]


def test_both_formats_hold_the_same(trained, persons):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    run("predict", persons, trained, "--ckpt_path=last")
    made = run("predict", persons, trained, "--ckpt_path=last", "--embeddings.format=parquet")
    plain = np.load(trained / "predict" / "embeddings.npz")
    table = parquet.read_table(trained / "predict" / "embeddings.parquet")
    assert table.column_names == ["embeddings", "paths", "cameras", "splits"]
    for name in ("paths", "cameras", "splits"):
        assert table[name].to_pylist() == plain[name].tolist()
    np.testing.assert_array_equal(table["embeddings"].to_pylist(), plain["embeddings"])
    assert plain["paths"].tolist() == list(made.datamodule.paths("predict"))
    for path, camera, split in zip(plain["paths"], plain["cameras"], plain["splits"], strict=True):
        folder, name = path.split("/")[-2:]
        assert split == {"query": "query", "bounding_box_test": "gallery"}[folder]
        assert f"_{camera}s" in name
    np.testing.assert_allclose(np.linalg.norm(plain["embeddings"], axis=1), 1, atol=1e-5)


def test_without_a_test_set_the_training_images_are_told_as_such(trained, persons, tmp_path):
    train_only = tmp_path / "persons"
    shutil.copytree(persons / "bounding_box_train", train_only / "bounding_box_train")
    run("predict", train_only, trained, "--ckpt_path=last")
    written = np.load(trained / "predict" / "embeddings.npz")
    assert set(written["splits"]) == {"train"}
    assert len(written["paths"]) == len(list((persons / "bounding_box_train").iterdir()))


def test_the_format_is_kept_in_the_settings(trained, persons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("predict", persons, trained, "--ckpt_path=last", "--embeddings.format=npz")
    assert "embeddings:\n  format: npz" in (trained / "predict" / "config.yaml").read_text()


def test_settings_that_mean_nothing(persons, tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match="format must be one of npz, parquet, not 'csv'"):
        EmbeddingWriter("csv")
    with pytest.raises(SystemExit) as stop:
        run("predict", persons, tmp_path / "run", "--embeddings.format=csv")
    assert stop.value.code == 2
    assert "csv" in capsys.readouterr().err
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    given = arguments("predict", persons, tmp_path / "run", "--embeddings.format=parquet")
    given += ["--ckpt_path=none"]
    monkeypatch.setattr(sys, "argv", ["lightning-reid", *given])
    with pytest.raises(SystemExit) as stop:
        main()
    assert 'needs pyarrow: pip install "lightning-reid[parquet]"' in str(stop.value.code)
    assert not (tmp_path / "run" / "predict_untrained" / "embeddings.parquet").exists()
