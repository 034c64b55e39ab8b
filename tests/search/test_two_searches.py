"""Two searches of one gallery at the same time, in two processes."""

import shutil
import threading
import time

import pytest
from forked_commands import run_forked

from lightning_reid.run_claim import hold
from lightning_reid.search import Embedder, Gallery


def waiting_lines(log):
    text = log.read_text() if log.exists() else ""
    return [line for line in text.splitlines() if line.startswith("Waiting for another process")]


@pytest.fixture
def other(model, crops, query, tmp_path):
    """Starts a search in another process; gives its log, and later how it ended."""
    log, ended = tmp_path / "log", []
    given = ["search", f"--ckpt_path={model}", f"--gallery={crops}", f"--query={query}"]
    given += ["--num_workers=0", f"--index={model.parents[1]}/search/gallery"]

    def run(options):
        ended.append(run_forked([*given, *options], log, HOME=str(tmp_path / "home")))

    def start(*options):
        thread = threading.Thread(target=run, args=[options])
        thread.start()
        return log, lambda: (thread.join(), ended[-1])[1]

    return start


@pytest.fixture
def ours(model, tmp_path, monkeypatch):
    """A gallery in this process that embeds slowly: not before it is let."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    may_begin, batches = threading.Event(), Embedder.batches

    def slow(self, paths):
        if len(paths) > 1:  # not a query
            assert may_begin.wait(60)
        return batches(self, paths)

    monkeypatch.setattr(Embedder, "batches", slow)
    gallery = Gallery.open(model, num_workers=0, device="cpu")
    return gallery, may_begin


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def held_in_thread(gallery, crops):
    change = []
    thread = threading.Thread(target=lambda: change.append(gallery.hold(crops)))
    thread.start()
    return lambda: (thread.join(), change[-1])[1]


@pytest.mark.parametrize("options", [[], ["--rebuild=true"]])
def test_the_second_waits_and_no_work_is_lost(model, crops, ours, other, options):
    (gallery, may_begin), count = ours, len(list(crops.iterdir()))
    first = held_in_thread(gallery, crops)
    until(lambda: (gallery.folder).is_dir())
    log, second = other(*options)
    until(lambda: waiting_lines(log))
    may_begin.set()
    assert first() == (count, 0, 0)
    ended = second()
    assert ended.status == 0, ended.output
    assert len(waiting_lines(log)) == 1
    if options:  # asked for, whatever is there
        assert f"{count} images ({count} embedded now) in {gallery.folder}" in ended.output
    else:
        assert f"{count} images in {gallery.folder}" in ended.output
    assert len(Gallery.open(model, num_workers=0)) == count


def test_what_need_not_be_changed_is_searched_at_once(model, crops, query, ours, other):
    gallery, may_begin = ours
    may_begin.set()
    gallery.hold(crops)
    may_begin.clear()
    added = sorted(crops.iterdir())[0]
    for number in range(2):
        shutil.copy(query, crops.parent / f"added{number}.jpg")
    adding = threading.Thread(target=lambda: gallery.add(sorted(crops.parent.glob("added*.jpg"))))
    adding.start()
    log, end = other()
    ended = end()
    assert ended.status == 0, ended.output
    assert waiting_lines(log) == []
    assert str(added.parent) in ended.output
    assert adding.is_alive()
    may_begin.set()
    adding.join()
    assert len(gallery) == len(list(crops.iterdir())) + 2


def test_results_of_two_searches_are_written_one_after_the_other(crops, ours, other, tmp_path):
    picture = tmp_path / "out.png"
    with hold(picture, "waiting"):
        log, end = other(f"--output={picture}")
        until(lambda: waiting_lines(log))
        assert not picture.exists()
    ended = end()
    assert ended.status == 0, ended.output
    assert waiting_lines(log) == [f"Waiting for another process that writes {picture}"]
    assert picture.exists()
