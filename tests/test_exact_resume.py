"""A run that is killed at any moment and goes on ends as one that never was."""

from functools import cache

import numpy as np
import pytest
import yaml
from few_pictures import pictures_drawn
from forked_commands import run_forked
from whole_runs import BATCHES, NAMES, command, differences, lines, read

KILLED = -9

LABELLED_EVERY_EPOCH = ("CAP", "O2CAP", "CALR", "PCSL")

REFRESH = ("extracting", "labelling", "adopting")
EPOCH = (
    "in a step",
    "half a checkpoint",
    "before the log is in place",
    "after a step",
    "before the checkpoint is in place",
    "after the log is in place",
)
EPOCH_DONE = "after the checkpoint is in place"
ALL_DONE = "tested after training"


def assert_same_run(folder, whole):
    assert differences(read(folder), read(whole)) == []
    assert lines(folder) == lines(whole)
    for part in ("checkpoints", "pictures", "tables"):
        assert _names(folder / part) == _names(whole / part)
    assert _names(folder / "checkpoints") == {"last.ckpt"}
    assert yaml.safe_load((folder / "config.yaml").read_text())["ckpt_path"] is None


def _names(folder):
    return {file.name for file in folder.iterdir()}


class Run:
    """A run in a folder that is killed and goes on."""

    def __init__(self, name, root, folder):
        self.name = name
        self.command = command(name, root, folder)
        self.folder = folder
        self.kills = 0

    def go_on(self, **kill):
        """Start it, or start it again; whether it came to its end."""
        # one that was killed before it wrote anything has not begun
        begun = self.folder.is_dir() and any(self.folder.iterdir())
        options = ["--ckpt_path=last"] if begun else []
        log = self.folder.with_suffix(f".{self.kills}.log")
        ended = run_forked([*self.command, *options], log, hash_seed=self.kills % 2, **kill)
        assert ended.status in (0, KILLED), ended.output
        self.kills += ended.status == KILLED
        return ended.status == 0

    def go_on_until(self, moment, rng):
        """The same; kill it at this moment, or at one of the first such moments."""
        count = int(rng.integers(1, BATCHES + 1)) if moment.endswith("step") else 1
        return self.go_on(kill_at=(self.name, moment, count))


@pytest.fixture(scope="module")
def whole(persons, tmp_path_factory):
    """Uninterrupted runs: their folder and processor time."""

    @cache
    def made(name, pictures):
        folder = tmp_path_factory.mktemp("whole") / name
        ended = run_forked(command(name, persons, folder), folder.with_suffix(".log"))
        assert ended.status == 0, ended.output
        return folder, ended.seconds

    def get(name):
        return made(name, pictures_drawn())

    return get


# the two that have most to keep in every run of the tests, the others with -m slow
MARKS = {"CALR": pytest.mark.all_pictures, "O2CAP": ()}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, pytest.mark.slow)) for name in NAMES]
)
def test_a_killed_run_ends_as_an_uninterrupted_one(name, whole, persons, tmp_path):
    expected, seconds = whole(name)
    place = NAMES.index(name)
    rng = np.random.default_rng(place)
    run = Run(name, persons, tmp_path / "run")
    often = name in LABELLED_EVERY_EPOCH
    moments = (
        REFRESH[place // 2 % 3],  # there is no checkpoint yet: it begins again
        EPOCH_DONE,
        EPOCH[place % 6],
        REFRESH[place % 3] if often else EPOCH[(place + 3) % 6],
    )
    assert not any(run.go_on_until(moment, rng) for moment in moments)
    assert run.kills == len(moments)
    # at any other moment; perhaps it is done by then
    assert run.go_on(kill_after=rng.uniform(0.05, 0.7) * seconds) or run.go_on()
    assert_same_run(run.folder, expected)
    print(f"{name}: killed {run.kills} times, recovered")


def test_a_run_killed_after_its_last_test_tests_again_and_tells_it_once(whole, persons, tmp_path):
    name = NAMES[0]
    expected, _ = whole(name)
    assert any("test/mAP" in line for line in lines(expected)[-1:])
    run = Run(name, persons, tmp_path / "run")
    assert not run.go_on_until(ALL_DONE, np.random.default_rng())
    assert lines(run.folder) == lines(expected)  # the kill came after it was logged
    assert run.go_on()
    assert_same_run(run.folder, expected)


def test_a_resumed_run_needs_its_source_model_no_more(persons, tmp_path):
    made = run_forked(command("Supervised", persons, tmp_path / "labelled"), tmp_path / "log")
    assert made.status == 0, made.output
    source = (tmp_path / "labelled" / "checkpoints" / "last.ckpt").rename(tmp_path / "source.ckpt")
    whole, run = (Run("ReliableSoftLabels", persons, tmp_path / name) for name in ("whole", "run"))
    for each in (whole, run):
        each.command.append(f"--model.weights={source}")
    assert whole.go_on()
    assert not run.go_on_until(EPOCH_DONE, np.random.default_rng())
    source.unlink()
    assert run.go_on()
    assert_same_run(run.folder, whole.folder)
    settings = yaml.safe_load((run.folder / "config.yaml").read_text())["model"]["init_args"]
    assert settings["weights"] == str(source)  # what the run was given


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_many_kills_at_random_moments(name, workers, whole, persons, tmp_path):
    expected, seconds = whole(name)
    rng = np.random.default_rng((NAMES.index(name), workers))
    run = Run(name, persons, tmp_path / "run")
    run.command.append(f"--data.num_workers={workers}")
    moments = [EPOCH_DONE, *EPOCH, *(REFRESH if name in LABELLED_EVERY_EPOCH else ())]
    moments += [ALL_DONE] if "--evaluate=true" in run.command else []
    done = False
    while not done and run.kills < 7:
        if rng.random() < 0.5:
            done = run.go_on(kill_after=rng.uniform(0, 0.5) * seconds)
        else:
            done = run.go_on_until(str(rng.choice(moments)), rng)
    assert done or run.go_on()
    assert run.kills >= 2
    assert_same_run(run.folder, expected)
    print(f"{name}, {workers} workers: killed {run.kills} times, recovered")
