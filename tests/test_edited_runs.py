"""Files of a finished run, edited at random, and every command that reads them.

Whatever the edit, a command answers or ends with one line, in bounded time and memory.
"""

import os
import random
import shutil
import sys
import time

import pytest
from command_line import EASY_CLUSTERS, arguments
from edited_files import edit

from lightning_reid.cli import main, run_command_line

resource = pytest.importorskip("resource")

FAST, ALL = 30, 500
EXPORT = 20  # seconds of the processor that it may take, most of them for imports
TIME = 10  # further ones, beyond those of the sound run
HANG = 120  # seconds by the clock, which other processes may hold up
MEMORY = 1e6  # KiB beyond those of the sound run
# what each file is read by; other files are not read
READERS = {
    "checkpoints": ["validate", "test", "predict", "fit", "fit", "search", "export"],
    "search": ["search"],
    "validate": ["validate"],
    "test": ["test"],
    "config.yaml": ["search", "settings"],
    "run.json": ["fit", "again"],
    "metrics.csv": ["fit", "again"],
    "tables": ["fit", "again"],
    "pictures": ["fit"],
}


@pytest.fixture(scope="module")
def finished(persons, tmp_path_factory):
    """A run that was trained, tested and searched in, and the processor time of each command."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    took = {}
    for command in ("again", "validate", "test", "predict", "search", "fit", "settings"):
        start = time.process_time()
        run_command_line(words(command, persons, folder))
        took[command] = time.process_time() - start
    return folder, took


def words(command, root, folder):
    """What to type for a command of :data:`READERS`."""
    from_run = f"--ckpt_path={folder}"
    if command == "again":
        short = ["--trainer.max_epochs=1", "--data.batches_per_epoch=2"]
        return arguments("fit", root, folder, *EASY_CLUSTERS, *short)
    if command == "fit":
        more = ["--ckpt_path=last", "--trainer.max_epochs=3", "--trainer.log_every_n_steps=1"]
        return arguments("fit", root, folder, *EASY_CLUSTERS, *more)
    if command == "settings":
        settings = f"--config={folder / 'config.yaml'}"
        return ["fit", settings, "--ckpt_path=last", "--trainer.max_epochs=4"]
    if command == "search":
        query = next((root / "query").iterdir())
        images = [f"--gallery={root / 'bounding_box_test'}", f"--query={query}"]
        index = f"--index={folder / 'search' / 'index'}"
        return ["search", from_run, *images, index, "--num_workers=0"]
    if command == "export":
        return ["export", from_run]
    return arguments(command, root, folder, *EASY_CLUSTERS, from_run)


def readers_of(file):
    return next((names for part, names in READERS.items() if part in file.parts), [])


def chosen(folder, rng):
    """A file that is read, of any kind as often as of any other."""
    files = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file()]
    kinds = {}
    for file in files:
        if readers_of(file) and file.suffix != ".html":
            kinds.setdefault(file.suffix, []).append(file)
    return rng.choice(kinds[rng.choice(sorted(kinds))])


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(FAST), id="some"),
        pytest.param(range(FAST, ALL), id="all", marks=pytest.mark.slow),
    ],
)
def test_every_command_answers_or_ends_with_one_line(
    seeds, finished, persons, tmp_path, monkeypatch, capsys
):
    folder, took = finished
    run = tmp_path / "run"
    refused = 0
    for seed in seeds:
        rng = random.Random(seed)
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(folder, run)
        file = chosen(run, rng)
        change = edit(run / file, rng)
        command = rng.choice(readers_of(file))
        if command == "export" and len(seeds) <= FAST:  # takes longest, and reads as search does
            command = "search"
        case = f"{command} with {file}: {change} (seed {seed})"
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        memory, start, begun = used(), time.process_time(), time.monotonic()
        try:
            message = refusal(words(command, persons, run), monkeypatch, capsys)
        except Exception as error:
            raise AssertionError(f"{case} ends with a traceback") from error
        assert time.process_time() - start < took.get(command, EXPORT) + TIME, case
        assert time.monotonic() - begun < HANG, case
        assert used() - memory < MEMORY, case
        assert not os.path.lexists("sign"), f"{case} has run code"
        refused += message is not None
        assert message is None or is_one_line(message), f"{case}: {message}"
    assert refused > len(seeds) / 5


def refusal(given, monkeypatch, capsys):
    """What the command line says when it refuses; None if it does what it is asked for."""
    monkeypatch.setattr(sys, "argv", ["lightning-reid", *map(str, given)])
    try:
        main()
    except SystemExit as stop:
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        if not stop.code:
            return None
        return stop.code if isinstance(stop.code, str) else said.err
    return None


def used():
    """Most memory that this process has had at a time, in KiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 if sys.platform == "darwin" else most


def is_one_line(message):
    """Whether a message is one line; the way to convert an old checkpoint takes more."""
    lines = message.strip().splitlines()
    return len(lines) == 1 or "convert it once" in message or "--help lists all" in message
