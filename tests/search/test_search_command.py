"""``lightning-reid search``."""

import csv
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import one_line
from PIL import Image

from lightning_reid.cli import run_command_line
from lightning_reid.errors import InputError
from lightning_reid.search import Match
from lightning_reid.search.picture import draw_results, size_of
from lightning_reid.search.results import write_results


def search(model, gallery, *queries, options=()):
    given = ["--ckpt_path", str(model), "--gallery", str(gallery), "--num_workers=0"]
    return run_command_line(["search", *given, "--query", *map(str, queries), *options])


def refused(monkeypatch, model, gallery, *queries, options=()):
    """Return the one line that the program ends with."""
    given = ["--ckpt_path", model, "--gallery", gallery, "--num_workers=0"]
    return one_line(monkeypatch, "search", *given, "--query", *queries, *options)


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_it_answers_in_the_terminal_as_a_picture_and_as_a_table(model, crops, query, capsys):
    assert search(model, crops, query, options=["--top=4"]) == 0
    printed = capsys.readouterr().out
    (folder,) = (model.parents[1] / "search").iterdir()
    assert folder.name.startswith("crops-")
    rows = rows_of(folder / "results.csv")
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert all(row["path"] in printed for row in rows)
    similarities = [float(row["similarity"]) for row in rows]
    assert similarities == sorted(similarities, reverse=True)
    picture = np.asarray(Image.open(folder / "results.png"))
    assert picture.shape[1] > 5 * 96
    assert picture.std() > 10


def test_the_second_search_embeds_nothing_but_the_query(model, crops, query, monkeypatch):
    from lightning_reid.search import Embedder

    asked, batches = [], Embedder.batches

    def counted(self, paths):
        asked.append(len(paths))
        return batches(self, paths)

    monkeypatch.setattr(Embedder, "batches", counted)
    search(model, crops, query)
    search(model, crops, query)
    search(model, crops, query, options=["--rebuild=true"])
    count = len(list(crops.glob("*.jpg")))
    assert asked == [count, 1, 1, count, 1]


def test_two_galleries_of_one_name_have_an_index_each(model, crops, query, tmp_path):
    other = shutil.copytree(crops, tmp_path / "elsewhere" / "crops")
    for gallery in (crops, other):
        search(model, gallery, query)
    assert len(list((model.parents[1] / "search").iterdir())) == 2


def test_a_folder_of_queries_and_a_list_with_cameras(model, persons, crops, tmp_path, capsys):
    listed = tmp_path / "crops.csv"
    rows = [f"crops/{f.name},{f.name.split('_')[1][:2]}" for f in sorted(crops.iterdir())]
    listed.write_text("\n".join(["path,camera", *rows]))
    out = tmp_path / "answers" / "all.jpg"
    options = ["--output", str(out), "--exclude_camera=c1", "--index", str(tmp_path / "index")]
    assert search(model, listed, persons / "query", options=options) == 0
    assert "camera" in capsys.readouterr().out
    found = rows_of(out.with_suffix(".csv"))
    assert {row["query"] for row in found} == {str(f) for f in (persons / "query").glob("*.jpg")}
    assert {row["camera"] for row in found} == {"c2", "c3"}
    assert Image.open(out).height > 12 * 160
    assert (tmp_path / "index" / "index.npz").is_file()


def test_a_list_with_columns_of_other_names(model, crops, query, tmp_path, monkeypatch):
    listed = tmp_path / "odd.csv"
    rows = [f"crops/{file.name},gate" for file in sorted(crops.iterdir())]
    listed.write_text("\n".join(["file,where", *rows]))
    message = refused(monkeypatch, model, listed, query)
    assert 'which one holds the path: columns "{path: ...}"' in message
    assert "--data" not in message
    out = tmp_path / "out.png"
    columns = ["--columns", "{path: file, camera: where}"]
    assert search(model, listed, query, options=[*columns, f"--output={out}"]) == 0
    assert {row["camera"] for row in rows_of(out.with_suffix(".csv"))} == {"gate"}
    assert "columns are those of a list" in refused(
        monkeypatch, model, crops, query, options=columns
    )


def test_the_data_of_the_training_may_be_gone(persons, checkpoint, tmp_path, query):
    run = shutil.copytree(checkpoint.parents[1], tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(persons), "/gone"))
    assert search(run, persons / "bounding_box_test", query) == 0


def test_a_checkpoint_alone_needs_the_size(checkpoint, tmp_path, crops, query, monkeypatch):
    alone = Path(shutil.copy(checkpoint, tmp_path / "alone.ckpt"))
    assert "say with --size" in refused(monkeypatch, alone, crops, query)
    assert search(alone, crops, query, options=["--size=[32,16]"]) == 0


def test_what_was_embedded_can_be_searched_without_looking(model, crops, query, tmp_path):
    search(model, crops, query)
    out = tmp_path / "out.png"
    options = ["--refresh=false", f"--output={out}", "--top=1000"]
    gone = sorted(crops.iterdir())[0]
    gone.unlink()
    search(model, crops, query, options=options)
    assert str(gone) in {row["path"] for row in rows_of(out.with_suffix(".csv"))}
    search(model, crops, query, options=options[1:])
    assert str(gone) not in {row["path"] for row in rows_of(out.with_suffix(".csv"))}


def test_names_with_brackets_are_printed_as_they_are(model, crops, query, capsys):
    odd = crops / "[red] :smile:.jpg"
    shutil.copy(query, odd)
    search(model, crops, odd, options=["--top=1"])
    assert odd.name in capsys.readouterr().out


def test_a_query_folder_with_a_broken_image(model, persons, crops, tmp_path, monkeypatch):
    queries = shutil.copytree(persons / "query", tmp_path / "queries")
    broken = queries / "broken.jpg"
    broken.write_bytes(b"broken")
    message = refused(monkeypatch, model, crops, queries)
    assert f"cannot read image {broken}" in message
    assert "on_error=skip" in message
    out = tmp_path / "out.png"
    options = ["--on_error=skip", f"--output={out}"]
    with pytest.warns(UserWarning, match=str(broken)):
        assert search(model, crops, queries, options=options) == 0
    answered = {row["query"] for row in rows_of(out.with_suffix(".csv"))}
    assert answered == {str(file) for file in queries.iterdir()} - {str(broken)}
    with pytest.warns(UserWarning, match=str(broken)):
        message = refused(monkeypatch, model, crops, broken, options=options)
    assert "none of the 1 queries can be read" in message


def test_bad_input_ends_in_one_line(model, crops, query, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "ours.ckpt").write_text("no")

    def told(*given, options=()):
        return refused(monkeypatch, *given, options=options)

    assert "no image, list or folder nowhere.jpg" in told(model, crops, "nowhere.jpg")
    assert "no images" in told(model, tmp_path / "empty", query)
    assert "no image, list or folder" in told(model, tmp_path / "nowhere", query)
    assert "no checkpoint" in told(tmp_path / "nowhere.ckpt", crops, query)
    assert "is not a checkpoint" in told(tmp_path / "ours.ckpt", crops, query)
    assert "k must be at least 1" in told(model, crops, query, options=["--top=0"])
    assert "must end in .png" in told(model, crops, query, options=["--output=table.pdf"])
    blocked = f"--output={tmp_path}/file/out.png"
    assert "another place with --output" in told(model, crops, query, options=[blocked])
    blocked = [f"--index={tmp_path}/file/index", f"--output={tmp_path}/out.png"]
    assert "another folder with --index" in told(model, crops, query, options=blocked)
    assert (tmp_path / "file").read_text() == "mine"
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(query, one)
    assert search(model, one, query) == 0


def test_an_index_built_by_another_model(model, crops, query, monkeypatch):
    search(model, crops, query)
    message = refused(monkeypatch, model, crops, query, options=["--size=[64,32]"])
    assert "was built by another model" in message
    assert "--rebuild true" in message
    options = ["--size=[64,32]", "--rebuild=true"]
    assert search(model, crops, query, options=options) == 0


@pytest.mark.parametrize("options", [["--top=many"], ["--tops=3"], ["--on_error=ignore"]])
def test_misspelt_options_are_named(model, crops, query, options, capsys):
    with pytest.raises(SystemExit) as stop:
        search(model, crops, query, options=options)
    assert stop.value.code == 2
    assert options[0].split("=")[0].strip("-") in capsys.readouterr().err


def test_a_read_only_run_folder(model, crops, query, tmp_path):
    """Nothing is embedded for nothing, and what can be written elsewhere is."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("needs unshare and user namespaces")
    command = [sys.executable, "-m", "lightning_reid", "search", "--num_workers=0"]
    given = ["--ckpt_path", str(model), "--gallery", str(crops), "--query", str(query)]
    elsewhere = [f"--index={tmp_path}/index", f"--output={tmp_path}/out.png"]
    script = f"""
        mount --bind "$RUN" "$RUN"
        mount -o remount,ro,bind "$RUN"
        ! {shlex.join([*command, *given])}
        ! {shlex.join([*command, *given, elsewhere[1]])}
        {shlex.join([*command, *given, *elsewhere])}
    """
    environment = {**os.environ, "RUN": str(model.parents[1])}
    done = subprocess.run(
        [*alone, "bash", "-ec", script],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    failures = [line for line in done.stderr.splitlines() if line.startswith("lightning-reid: ")]
    assert len(failures) == 2
    assert "--output" in failures[0]
    assert "--index" in failures[1]
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out.png").is_file()
    assert not (model.parents[1] / "search").exists()


@pytest.mark.parametrize(("name", "queries"), [("results.jpg", 307), ("results.webp", 77)])
def test_a_picture_that_is_too_large_for_its_format(query, tmp_path, name, queries):
    matches = [Match(str(query), 1.0, "2")]
    found = {str(tmp_path / f"{i}.jpg"): matches for i in range(queries)}
    with pytest.raises(InputError, match=rf"of {queries} queries .* in .png, or fewer queries"):
        write_results(found, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]
    assert len(rows_of(tmp_path / "results.csv")) == queries
    found.popitem()
    write_results(found, tmp_path / name)
    one, all_others = dict(list(found.items())[:1]), Image.open(tmp_path / name)
    assert all_others.size == size_of(found)
    assert all_others.width == size_of(one)[0]


def test_results_name_queries_and_cameras_in_their_script(query, tmp_path):
    def drawn(camera, name="1.jpg"):
        image = shutil.copy(query, tmp_path / name)
        return np.asarray(draw_results({str(image): [Match(str(query), 1.0, camera)]}))

    assert not np.array_equal(drawn("Вход"), drawn("Двор"))
    assert not np.array_equal(drawn("Вход", "Анна.jpg"), drawn("Вход", "Юля.jpg"))
    assert np.array_equal(drawn("入口"), drawn("#1"))  # a script that the font has no letters for
    assert np.array_equal(drawn("\udcff"), drawn("#1"))
