"""``benchmarks/reproduce.py`` lists published schedules, and runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "reproduce.py"
PUBLISHED = ROOT / "configs" / "published"
NAMES = sorted(f"{file.parent.name}/{file.stem}" for file in PUBLISHED.rglob("*.yaml"))
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


def test_a_schedule_runs_dry(persons, tmp_path):
    name = "market1501/cap"
    given = [f"--root=market1501={persons}", "--only", name, "--dry", "--json=made.json"]
    arguments = [*given, *OPTIONS]
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (row,) = json.loads((tmp_path / "made.json").read_text())["rows"]
    assert row["schedule"] == name
    assert 0 < row["mAP"] <= 100
    assert (row["published mAP"], row["published rank1"]) == (79.2, 91.4)
    real = run(*[a for a in arguments if a != "--dry"], cwd=tmp_path)  # is not taken for done
    assert real.returncode == 2
    assert "made.json holds dry runs" in real.stderr
    again = run(*arguments, cwd=tmp_path)  # nothing is run twice
    assert again.returncode == 0
    assert "+ " not in again.stdout
    assert "79.2" in again.stdout
