r"""Published schedules run on the real sets: published against obtained numbers.

    python benchmarks/reproduce.py  # lists what would be run
    python benchmarks/reproduce.py --root market1501=/data/market1501 \
        --root msmt17=/data/MSMT17_V1 --json reproduced.json
    python benchmarks/reproduce.py --only market1501/o2cap --root market1501=/data/market1501

Runs every schedule of ``configs/published`` whose data is there, or those of ``--only``, and tests
it. A schedule that starts from a source model has that trained first, and needs its data too. What
is in the JSON file already is not run again, and a run that was interrupted goes on from its last
checkpoint: start the same command again. The hours are those since a run was last started.

``--dry`` takes two batches an epoch and as few epochs as reach every stage, to see that everything
is in place; the numbers mean nothing then, and lie in a folder of their own. ``--option`` hands on
an option of the command line, such as ``--option=--trainer.precision=bf16-mixed``.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from measurement import environment, report

PUBLISHED = Path(__file__).resolve().parents[1] / "configs" / "published"
_TARGET = re.compile(r"# aims at (?:mAP (?P<mAP>\d+\.\d+), )?rank-1 (?P<rank1>\d+\.\d+)")
_SOURCE = re.compile(r"runs/pul_source_on_(\w+)/")
# every stage is reached, and clusterers find something in small sets and untrained features
_DENSITY = ["clusterer.eps=0.9", "clusterer.k1=8", "clusterer.k2=2", "clusterer.min_samples=2"]
_INFOMAP = ["clusterer.k=5", "clusterer.min_similarity=0.01", "clusterer.min_size=2"]
_STAGES = ["local_epochs=1", "align_epochs=1", "weight_epoch=1", "local_batches_per_epoch=2"]
_COUNTS = ["num_clusters=4", "clusters_per_camera=4", "threshold=0.5"]
_DRY = {
    "CALR": [*_STAGES, *_INFOMAP],
    "CAP": ["inter_camera_epoch=1", *_DENSITY],
    "O2CAP": _DENSITY,
    "PCSL": ["soft_epoch=1"],
    "ReliableSoftLabels": ["epochs_per_round=1", *_COUNTS],
}


class Schedule(NamedTuple):
    """A published config.

    Attributes:
        name: data set and schedule, as in ``market1501/o2cap``.
        settings: what the file holds.
        published: mAP and rank-1 in percent that it aims at, as far as they are published.
        source: the schedule that makes the model it starts from; None for ImageNet's weights.
    """

    name: str
    settings: dict[str, Any]
    published: dict[str, float]
    source: str | None

    @property
    def data(self) -> str:
        """Name of the data set."""
        return self.name.partition("/")[0]


def main() -> None:
    """List or run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", action="append", default=[], metavar="SET=FOLDER")
    parser.add_argument("--only", nargs="+", default=[], metavar="SET/SCHEDULE")
    parser.add_argument("--folder", type=Path, default=Path("runs/published"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--option", action="append", default=[])
    arguments = parser.parse_args()
    schedules = {schedule.name: schedule for schedule in read_schedules()}
    if unknown := set(arguments.only) - set(schedules):
        parser.error(f"no such schedule: {', '.join(sorted(unknown))}")
    if bad := [root for root in arguments.root if "=" not in root]:
        parser.error(f"--root takes <set>=<folder>, such as market1501=/data/market, not {bad[0]}")
    roots = {
        name: Path(folder) for name, _, folder in (root.partition("=") for root in arguments.root)
    }
    if unknown := set(roots) - {schedule.data for schedule in schedules.values()}:
        parser.error(f"no schedule is for {', '.join(sorted(unknown))}")
    wanted = [s for s in schedules.values() if not arguments.only or s.name in arguments.only]
    if not roots:
        listed(wanted)
        return
    if arguments.dry:
        arguments.folder /= "dry"
    file = arguments.json or arguments.folder / "reproduced.json"
    before = json.loads(file.read_text()) if file.is_file() else {"dry": arguments.dry, "rows": []}
    if before["dry"] != arguments.dry:
        parser.error(f"{file} holds {'dry' if before['dry'] else 'real'} runs: name another --json")
    records: list[dict[str, Any]] = before["rows"]
    for schedule in wanted:
        lacking = {schedule.data, *(s.partition("/")[0] for s in [schedule.source] if s)} - {*roots}
        if lacking:
            print(f"{schedule.name}: not run, as there is no --root {min(lacking)}=<folder>")
            continue
        if schedule.name in {record["schedule"] for record in records}:
            continue
        if schedule.source is not None:
            run(schedules[schedule.source], roots, arguments)
        records.append(run(schedule, roots, arguments))
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        content = {"dry": arguments.dry, "rows": records, "environment": environment()}
        part.write_text(json.dumps(content, indent=1, default=str) + "\n")
        part.replace(file)
    columns = ("schedule", "mAP", "published mAP", "rank1", "published rank1", "hours")
    rows = [[record.get(column) for column in columns] for record in records]
    report("Published against obtained, %", columns, rows)


def read_schedules() -> list[Schedule]:
    """All published configs, with what their heads say."""
    made = []
    for file in sorted(PUBLISHED.rglob("*.yaml")):
        text = file.read_text()
        target, source = _TARGET.search(text), _SOURCE.search(text)
        numbers = {k: float(v) for k, v in (target.groupdict() if target else {}).items() if v}
        name = f"{file.parent.name}/{file.stem}"
        made.append(
            Schedule(name, yaml.safe_load(text), numbers, source and f"{source[1]}/pul_source")
        )
    return made


def listed(schedules: list[Schedule]) -> None:
    """Print what would be run."""
    rows = [
        (
            schedule.name,
            schedule.published.get("mAP", "-"),
            schedule.published.get("rank1", "-"),
            schedule.settings["trainer"]["max_epochs"],
            schedule.settings["data"]["init_args"]["batches_per_epoch"] or "one pass",
            schedule.source or "ImageNet",
        )
        for schedule in schedules
    ]
    columns = ("schedule", "published mAP", "rank-1", "epochs", "batches an epoch", "starts from")
    report("Published schedules; --root <set>=<folder> runs those of a set", columns, rows)


def run(
    schedule: Schedule, roots: dict[str, Path], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Run a schedule, or what is left of it; its numbers in percent."""
    folder = arguments.folder / schedule.name
    last = folder / "checkpoints" / "last.ckpt"
    begun = time.perf_counter()
    if not (folder / "reproduced").is_file():
        command = [sys.executable, "-m", "lightning_reid", "fit"]
        command += [f"--config={PUBLISHED / schedule.name}.yaml", f"--run_dir={folder}"]
        command += [f"--data.root={roots[schedule.data]}"]
        command += dry_options(schedule) if arguments.dry else []
        command += arguments.option
        if schedule.source is not None:
            source = arguments.folder / schedule.source / "checkpoints" / "last.ckpt"
            command += [f"--model.weights={source.resolve()}"]
        command += ["--ckpt_path=last"] if last.is_file() else []
        print("+", " ".join(command), flush=True)
        if code := subprocess.run(command).returncode:
            sys.exit(f"{schedule.name} ended with {code}; start the same again to go on with it")
        (folder / "reproduced").touch()
    with (folder / "metrics.csv").open() as file:
        tests = [row for row in csv.DictReader(file) if row.get("test/mAP")]
    obtained = {name: 100 * float(tests[-1][f"test/{name}"]) for name in ("mAP", "rank1")}
    return {
        "schedule": schedule.name,
        **obtained,
        **{f"published {name}": value for name, value in schedule.published.items()},
        "hours": (time.perf_counter() - begun) / 3600,
        "options": arguments.option,
    }


def dry_options(schedule: Schedule) -> list[str]:
    """Two batches an epoch, and as few epochs as reach every stage."""
    kind = schedule.settings["model"]["class_path"]
    cameras = {"market1501": 6, "dukemtmcreid": 8, "msmt17": 15, "veri776": 20, "cuhk03": 2}
    epochs = 2 + (cameras[schedule.data] if kind == "CALR" else 0)
    options = [f"--model.{option}" for option in _DRY.get(kind, [])]
    options += [f"--trainer.max_epochs={epochs}", "--data.batches_per_epoch=2"]
    options += ["--data.batch_size=8", "--data.images_per_group=4", "--data.size=[64,32]"]
    if "samples_per_bn_group" in schedule.settings["model"]["init_args"]:
        options.append("--model.samples_per_bn_group=4")
    return options


if __name__ == "__main__":
    main()
