"""The page of a run in a real browser without a network."""

import pytest
from headless_chromium import BROWSER, browser
from run_folders import HOSTILE, PICTURES, full_run

from lightning_reid.report.page import write_page

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium")

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
STICKS_OUT = """[...document.querySelectorAll('body *')].filter(
    e => !e.closest('.scroll, pre') && e.getBoundingClientRect().right > innerWidth + 0.5
).map(e => e.tagName)"""
DECODED = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_page(full_run(tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("folded", [True, False])
def test_it_fits_on_the_screen(tab, page, width, folded):
    tab.open(page, width)
    if not folded:
        tab.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.value("innerWidth") == width
    assert tab.value(OVERFLOW) == 0
    assert tab.value(STICKS_OUT) == []


# how much of the table of labels is hidden before it is scrolled, and what is left of that after
LABELS_HIDDEN = """(() => {
    document.querySelectorAll('details').forEach(d => d.open = true);
    const cell = [...document.querySelectorAll('th')].find(t => t.textContent == 'epoch' &&
        t.parentNode.textContent.includes('silhouette'));
    const box = cell.closest('.scroll'), last = cell.parentNode.lastElementChild;
    const hidden = () =>
        last.getBoundingClientRect().right - box.getBoundingClientRect().right;
    const before = hidden();
    box.scrollLeft = 10000;
    return [before, hidden()];
})()"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_table_of_labels_is_whole_on_a_desk_and_scrolls_on_a_phone(tab, page, width):
    tab.open(page, width)
    before, after = tab.value(LABELS_HIDDEN)
    assert (before > 1) == (width == 390)
    assert after < 1


def test_it_can_be_seen_that_a_page_does_not_fit(tab, page, tmp_path):
    wide = tmp_path / "wide.html"
    told = page.read_text(encoding="utf-8").replace('class="scroll"', "")
    wide.write_text(told, encoding="utf-8")
    tab.open(wide, 390)
    assert tab.value(OVERFLOW) > 0 or tab.value(STICKS_OUT)


def test_every_picture_is_decoded(tab, page):
    tab.open(page, 390)
    assert tab.value(DECODED) == [500 + 100 * number for number in range(len(PICTURES))]


def test_it_asks_for_nothing_else(tab, page):
    tab.open(page, 390)
    assert tab.requested() == [page.resolve().as_uri()]


def test_texts_of_the_data_are_not_run(tab, page, tmp_path):
    tab.open(page, 390)
    assert tab.value("document.title") == f"O2CAP on {HOSTILE}"
    assert tab.value("document.querySelectorAll('script, img[src=x]').length") == 0
    # the texts alone do not run either: the same page without its policy
    bare = tmp_path / "bare.html"
    told = page.read_text(encoding="utf-8").replace("Content-Security-Policy", "Nothing")
    bare.write_text(told, encoding="utf-8")
    tab.open(bare, 390)
    assert tab.value("document.title") == f"O2CAP on {HOSTILE}"


def test_it_can_be_seen_that_texts_are_run(tab, page, tmp_path):
    careless = tmp_path / "careless.html"
    careless.write_text(f"<title>page</title>{HOSTILE}")
    tab.open(careless, 390)
    assert tab.value("new Promise(done => setTimeout(() => done(document.title), 200))") == "broken"


def test_dark_where_the_reader_wants_it(tab, page):
    background = "getComputedStyle(document.body).backgroundColor"
    tab.open(page, 390)
    light = tab.value(background)
    tab.open(page, 390, dark=True)
    assert tab.value(background) != light
