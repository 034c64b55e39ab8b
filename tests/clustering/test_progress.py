import time

from rich.console import Console

from lightning_reid.clustering import progress


def shown(monkeypatch, seconds, steps=4, terminal=True):
    console = Console(force_terminal=terminal, width=80)
    monkeypatch.setattr("rich.get_console", lambda: console)
    monkeypatch.setattr("rich.progress.get_console", lambda: console)
    monkeypatch.setattr(progress, "_PATIENCE", 0.05)
    with console.capture() as captured:
        done = []
        for step in progress.shown(range(steps), "Searching"):
            time.sleep(seconds)
            done.append(step)
    assert done == list(range(steps))
    return captured.get()


def test_what_is_being_done_is_said_in_a_terminal(monkeypatch):
    for terminal in (True, False):
        console = Console(force_terminal=terminal, width=80)
        monkeypatch.setattr("rich.get_console", lambda console=console: console)
        with console.capture() as captured, progress.busy("Clustering"):
            time.sleep(0.2)
        assert ("Clustering" in captured.get()) == terminal


def test_a_bar_for_what_takes_long(monkeypatch):
    assert "Searching" in shown(monkeypatch, 0.2)


def test_no_bar_for_what_is_quick_or_no_terminal(monkeypatch):
    assert "Searching" not in shown(monkeypatch, 0)
    assert "Searching" not in shown(monkeypatch, 0.2, terminal=False)
