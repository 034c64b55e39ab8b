"""``benchmarks/reproduce.py`` runs published schedules on small folders laid out like the sets."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_reid.data.synthetic import draw_synthetic_persons

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "reproduce.py"
PUBLISHED = ROOT / "configs" / "published"
CAMERAS = {"market1501": 6, "dukemtmcreid": 8, "msmt17": 15, "veri776": 20, "cuhk03": 2}
NAMES = sorted(f"{file.parent.name}/{file.stem}" for file in PUBLISHED.rglob("*.yaml"))
# every kind of schedule once; with -m slow all of them
FAST = ("market1501/cap", "dukemtmcreid/reliable_soft_single_pass")
# a small network without ImageNet's weights
SMALL = ["backbone=resnet18", "weights=null"]
OPTIONS = [f"--option=--model.{option}" for option in SMALL]
OPTIONS += ["--option=--trainer.accelerator=cpu", "--option=--data.num_workers=0"]
OPTIONS += ["--option=--trainer.enable_progress_bar=false"]


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Folders of few drawn people, laid out like the public sets."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = lay_out(name, folder)
        return made[name]

    return get


def lay_out(name, folder):
    drawn = draw_synthetic_persons(
        folder / "drawn",
        num_train_identities=6,
        num_test_identities=4,
        num_cameras=CAMERAS[name],
        images_per_camera=4,
        num_distractors=2,
        progress=False,
    )
    if name == "veri776":
        for old, new in (("bounding_box_train", "train"), ("query", "query")):
            (drawn / old).rename(drawn / f"image_{new}")
        (drawn / "bounding_box_test").rename(drawn / "image_test")
    if name == "cuhk03":
        shutil.move(drawn, folder / "detected")
        return folder
    if name == "msmt17":
        parts = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
        for part, old in parts.items():
            lines = []
            target = drawn / ("train" if part == "train" else "test")
            target.mkdir(exist_ok=True)
            for number, file in enumerate(sorted((drawn / old).glob("*.jpg"))):
                identity, camera = file.name.split("_")[:2]
                new = f"{identity}_{number:03}_{int(camera[1:].split('s')[0]):02}_{part}.jpg"
                file.rename(target / new)
                lines.append(f"{new} {int(identity)}")
            if part == "train":
                (drawn / "list_val.txt").write_text("\n".join(lines[::9]) + "\n")
                lines = [line for line in lines if line not in lines[::9]]
            (drawn / f"list_{part}.txt").write_text("\n".join(lines) + "\n")
    return drawn


def test_without_data_it_lists_what_it_would_run(tmp_path):
    done = run(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in NAMES)
    assert not list(tmp_path.iterdir())


def test_wrong_names_are_told(tmp_path):
    for arguments, message in (
        (["--only", "market1501/nothing"], "no such schedule: market1501/nothing"),
        (["--root", "market1501"], "--root takes <set>=<folder>"),
        (["--root", "market=/data"], "no schedule is for market"),
    ):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in NAMES]
)
def test_a_schedule_runs_dry(name, roots, tmp_path):
    if "_ibn" in name:
        pytest.skip("its backbone has no small form with the same name; else as without IBN")
    sets = {name.partition("/")[0]}
    if "reliable_soft" in name:
        sets |= {"dukemtmcreid"} if name.startswith("market1501") else {"market1501"}
    given = [f"--root={part}={roots(part)}" for part in sorted(sets)]
    arguments = [*given, "--only", name, "--dry", "--json=made.json", *OPTIONS]
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (row,) = json.loads((tmp_path / "made.json").read_text())["rows"]
    assert row["schedule"] == name
    assert 0 < row["mAP"] <= 100
    if name == "market1501/cap":
        assert (row["published mAP"], row["published rank1"]) == (79.2, 91.4)
        again = run(*arguments, cwd=tmp_path)  # nothing is run twice
        assert again.returncode == 0
        assert "+ " not in again.stdout
        assert "79.2" in again.stdout
