import numpy as np
import pytest
import torch

from lightning_reid.errors import InputError
from lightning_reid.labels.local_labels import (
    load_local_labels,
    read_local_labels,
    save_local_labels,
)

PATHS = ["elsewhere/a.jpg", "elsewhere/b.jpg", "c.jpg"]


def test_there_and_back(tmp_path):
    file = tmp_path / "new" / "labels"  # as named, without a suffix
    labels, cameras = torch.tensor([4, -1, 2]), torch.tensor([0, 0, 1])
    save_local_labels(file, PATHS, labels, cameras)
    with np.load(file) as stored:
        assert sorted(stored.files) == ["cameras", "local_labels", "names"]
        assert stored["names"].tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    loaded = load_local_labels(file, ["/x/c.jpg", "/y/a.jpg"])
    assert loaded.dtype == torch.int64
    assert loaded.tolist() == [2, 4]
    local = read_local_labels(file)
    assert local.names == ["a.jpg", "b.jpg", "c.jpg"]
    assert (local.labels.tolist(), local.cameras.tolist()) == ([4, -1, 2], [0, 0, 1])
    assert local.labels.dtype == local.cameras.dtype == np.int64
    assert load_local_labels(file, []).tolist() == []


@pytest.mark.parametrize(("name", "count"), [("market1501", 12936), ("dukemtmcreid", 16522)])
def test_published_arrays(shared, name, count):
    file = shared / "data" / "calr_local_labels" / f"{name}.npz"
    stored = dict(np.load(file))
    order = np.random.default_rng(0).permutation(count)
    paths = [f"/data/{name}/train/{image}" for image in stored["names"][order]]
    np.testing.assert_array_equal(load_local_labels(file, paths), stored["local_labels"][order])
    local = read_local_labels(file)
    for camera in np.unique(local.cameras):
        labels = local.labels[local.cameras == camera]
        np.testing.assert_array_equal(np.unique(labels), np.arange(600))


def test_rows_of_strings(tmp_path):
    rows = np.array([["/old/c1/a.jpg", "7", "0"], [r"D:\old\b.jpg", "3", "0"]])
    (tmp_path / "cam1").mkdir()
    (tmp_path / "cam2").mkdir()
    np.save(tmp_path / "cam1" / "pseudo_label.npy", rows)
    np.save(tmp_path / "cam2" / "pseudo_label.npy", np.array([["c.jpg", "10", "1"]]))
    one = tmp_path / "cam1" / "pseudo_label.npy"
    assert load_local_labels(one, PATHS[1::-1]).tolist() == [3, 7]
    assert load_local_labels(tmp_path, PATHS).tolist() == [7, 3, 10]
    assert read_local_labels(tmp_path).cameras.tolist() == [0, 0, 1]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npz"):
        load_local_labels(tmp_path / "absent.npz", PATHS)
    with pytest.raises(FileNotFoundError, match="no npy file"):
        load_local_labels(tmp_path, PATHS)


def test_images_without_a_label(tmp_path):
    file = tmp_path / "some.npz"
    save_local_labels(file, PATHS[:1], [0], [0])
    with pytest.raises(InputError, match="some.npz.* for 2 of 3 images, the first.* b.jpg"):
        load_local_labels(file, PATHS)
    with pytest.raises(InputError, match="some.npz has local labels that name other files"):
        load_local_labels(file, PATHS[1:])


def test_equal_names(tmp_path):
    file = tmp_path / "some.npz"
    save_local_labels(file, PATHS, [0, 1, 2], [0, 0, 0])
    with pytest.raises(InputError, match="some.npz.*b.jpg comes 2 times"):
        load_local_labels(file, [*PATHS, "other/b.jpg"])
    with pytest.raises(InputError, match="some.npz.*c.jpg comes 2 times"):
        save_local_labels(file, ["c.jpg", "x/c.jpg"], [0, 1], [0, 0])
    rows = np.array([["x/a.jpg", "0", "0"], ["y/a.jpg", "0", "1"]])
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(InputError, match="rows.npy.*a.jpg comes 2 times"):
        load_local_labels(tmp_path / "rows.npy", PATHS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"names": ["a"], "cameras": [0]}, "no array local_labels"),
        ({"names": ["a"]}, "no array cameras and no array local_labels"),
        ({"names": ["a"], "cameras": [0], "local_labels": [0, 1]}, "1 names, 2 local labels"),
        ({"names": ["a"], "cameras": [0], "local_labels": [0.5]}, "whole numbers"),
        ({"names": ["a"], "cameras": ["x"], "local_labels": [0]}, "cameras must be whole"),
        ({"names": ["a"], "cameras": [0], "local_labels": [[0]]}, "whole numbers"),
        ({"names": np.array(["a"], object), "cameras": [0], "local_labels": [0]}, "cannot be read"),
    ],
)
def test_unfit_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=f"bad.npz.*{message}"):
        load_local_labels(tmp_path / "bad.npz", ["a"])


def test_unfit_files(tmp_path):
    file = tmp_path / "bad.npy"
    for rows in (np.zeros((4, 3)), np.array(["a", "0", "0"]), np.array([["a", "0"]])):
        np.save(file, rows)
        with pytest.raises(InputError, match="bad.npy must hold strings in rows"):
            load_local_labels(file, ["a"])
    np.save(file, np.array([["a", 0, 0]], object))
    with pytest.raises(InputError, match="bad.npy cannot be read"):
        load_local_labels(file, ["a"])
    for content in (b"", b"no array", b"PK\x03\x04 torn"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="bad.npy cannot be read"):
            load_local_labels(file, ["a"])


def test_unfit_labels_are_not_saved(tmp_path):
    with pytest.raises(InputError, match="3 names, 2 local labels and 3 cameras must be equally"):
        save_local_labels(tmp_path / "x.npz", PATHS, [0, 1], [0, 0, 0])
    assert not (tmp_path / "x.npz").exists()


def test_other_cameras(tmp_path):
    file, paths = tmp_path / "labels.npz", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    save_local_labels(file, paths, [0, 0, 1, 0], [0, 0, 1, 1])
    renumbered = torch.tensor([7, 7, 3, 3])
    assert load_local_labels(file, paths, renumbered).tolist() == [0, 0, 1, 0]
    with pytest.raises(InputError, match=r"labels.npz has images in other cameras"):
        load_local_labels(file, paths, torch.tensor([0, 1, 1, 1]))
