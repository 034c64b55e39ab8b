"""Guard against files that tests write outside the folder of their session.

``conftest.py`` calls :func:`start`. Every Python process that a test starts imports this module by
itself, because its folder is then on ``PYTHONPATH``. Writing elsewhere raises an error. It is also
recorded, so that the test fails even if the error is caught. A process whose current folder at its
start is elsewhere is recorded only.

Compiled code (``__pycache__``), devices and ``/proc`` are exempt. Writes by compiled libraries are
not seen.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

_FOLDER = "LIGHTNING_REID_TESTS_FOLDER"
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# positions of the paths, and of the descriptor of the folder they are relative to, in audit events
_PATHS = {
    "os.chmod": ((0,), 2),
    "os.link": ((1,), 3),
    "os.mkdir": ((0,), 2),
    "os.remove": ((0,), 1),
    "os.rename": ((0, 1), 2),
    "os.rmdir": ((0,), 1),
    "os.symlink": ((1,), 2),
    "os.truncate": ((0,), None),
    "os.utime": ((0,), 3),
    "sqlite3.connect": ((0,), None),
}
_guarded = None  # folder of the session


class OutsideError(Exception):
    """A path outside the folder of the session."""


def start(folder):
    """Guard this process, and the Python processes that it starts from now on.

    These can import the helpers of the tests as well.

    Args:
        folder: Folder of the session, the only one that may be written into.
    """
    os.environ[_FOLDER] = os.path.realpath(folder)
    own = Path(__file__).parent
    path = [str(own), str(own.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    _guard()


def stop():
    """Stop guarding this process."""
    global _guarded
    _guarded = None


def recorded():
    """Return what was recorded since the last call, in all processes, as text."""
    try:
        lines = _record().read_text()
    except FileNotFoundError:
        return ""
    _record().unlink()
    return lines


def _guard():
    global _guarded
    _guarded = os.environ[_FOLDER]
    sys.addaudithook(_watch)
    with suppress(OutsideError):
        _check("current folder", Path.cwd())


def _watch(event, arguments):
    if _guarded is None:
        return
    if event == "open":
        path, mode, flags = arguments
        if (flags or 0) & _WRITING or (mode and set(mode) & set("wax+")):
            _check(event, path)
    elif event in _PATHS:
        places, descriptor = _PATHS[event]
        if descriptor is None or arguments[descriptor] in (-1, None):
            for place in places:
                _check(event, arguments[place])


def _check(event, path):
    if isinstance(path, int):  # a descriptor: its file was checked when it was opened
        return
    path = Path(os.fsdecode(path))
    # only opening follows a link: it can be removed and renamed like any other file
    real = os.path.realpath(path if event == "open" else path.parent)
    real = Path(real if event == "open" else Path(real, path.name))
    free = "__pycache__" in real.parts or any(map(real.is_relative_to, ("/dev", "/proc")))
    there = event == "os.mkdir" and real.is_dir()  # changes nothing: it fails, as always
    if free or there or real.is_relative_to(_guarded):
        return
    line = f"{os.environ.get('PYTEST_CURRENT_TEST', 'no test')}: {event} {real}"
    with _record().open("a") as file:
        file.write(f"{line}\n")
    raise OutsideError(f"{line} is outside {_guarded}")


def _record():
    return Path(_guarded, f"outside-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.txt")


if _FOLDER in os.environ:
    _guard()
