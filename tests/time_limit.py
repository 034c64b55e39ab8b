"""The option ``--minutes``: tests that are not done by then are skipped, and named."""

import math
import signal
import time

import pytest

_BEGAN = time.monotonic()


def pytest_addoption(parser):
    """Add the option."""
    parser.addoption("--minutes", type=float, help="skip what is not done by then, and name it")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test that would begin too late."""
    if _seconds_left(item) <= 0:
        _skip(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Interrupt a test that is running when the time is over."""
    if item.config.option.minutes is None:
        return (yield)
    before = signal.signal(signal.SIGALRM, lambda *_: _skip(item))
    signal.setitimer(signal.ITIMER_REAL, max(_seconds_left(item), 0.001))
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _seconds_left(item):
    minutes = item.config.option.minutes
    return math.inf if minutes is None else _BEGAN + 60 * minutes - time.monotonic()


def _skip(item):
    """Skip with the test's name, which the summary would not show otherwise."""
    pytest.skip(f"NOT RUN within {item.config.option.minutes:g} minutes: {item.nodeid}")
