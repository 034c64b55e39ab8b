"""The same seed on the same machine gives the same result, workers included."""

import pytest
from forked_commands import run_forked
from whole_runs import NAMES, command, differences, lines, read

# one with a memory, and one with two stages; that a killed run ends as a whole one, which every
# method is held to each time, says the same of the others
ALWAYS = ("O2CAP", "CALR")
METHODS = [pytest.param(n, marks=() if n in ALWAYS else pytest.mark.slow) for n in NAMES]


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_gives_one_result(name, persons, tmp_path):
    def run(folder, hash_seed, *options):
        settings = ["--data.num_workers=2", "--evaluate=false", *options]
        made = [*command(name, persons, tmp_path / folder), *settings]
        ended = run_forked(made, tmp_path / f"{folder}.log", hash_seed=hash_seed)
        assert ended.status == 0, ended.output
        return tmp_path / folder

    first, second = run("first", 0), run("second", 1)
    assert differences(read(first), read(second)) == []
    assert lines(first) == lines(second)
    other = run("other", 0, "--seed_everything=1", "--trainer.limit_train_batches=1")
    ours, theirs = (read(folder)["state_dict"] for folder in (first, other))
    drawn = {f"/{name}" for name, weight in ours.items() if weight.ndim > 1}
    assert drawn
    assert drawn <= {*differences(ours, theirs)}
