"""The page of a run, read by a parser."""

import base64
import csv
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from run_folders import HISTORY, HOSTILE, PICTURES, SCRIPT, TABLES, TEST, full_run, record

from lightning_reid.errors import InputError
from lightning_reid.report.contents import CONTENTS
from lightning_reid.report.page import write_page
from lightning_reid.report.record import RunRecord
from lightning_reid.report.tables import (
    read_retrieval,
    read_table,
    write_epoch,
    write_labels,
    write_retrieval,
    write_table,
)

EMPTY = {"meta", "img", "wbr"}


class Read(HTMLParser):
    """What is on a page: elements that are properly closed, attributes, texts."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(page.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []
        self.text = "\n".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Read(write_page(full_run(tmp_path_factory.mktemp("runs") / "run")))


def test_every_item_is_there_in_order_with_its_meaning(page):
    titles = [i.title for s in CONTENTS for i in (*s.tables, *s.pictures)]
    places = [page.texts.index(section.title, 8) for section in CONTENTS]  # after the links
    assert places == sorted(places)
    shown = [text for text in page.texts if text in titles]
    assert shown == titles
    for item in (*TABLES, *PICTURES):
        assert item.meaning in page.texts
    assert [image["alt"] for image in page.all("img")] == [
        f"{item.title}: {item.meaning}" for item in PICTURES
    ]
    assert len(page.all("table")) == len(TABLES)


def test_it_needs_nothing_but_itself(page):
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in {"src", "href", "srcset", "action"} & {*attributes}:
            assert attributes[name].startswith("data:image/" if tag == "img" else "#")
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {link["href"][1:] for link in page.all("a")} == anchors
    policy = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_pictures_are_what_lies_in_the_folder(page):
    for number, image in enumerate(page.all("img")):
        content = base64.b64decode(image["src"].partition(",")[2])
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.size == (500 + 100 * number, 300 + 10 * number)
            assert (int(image["width"]), int(image["height"])) == picture.size
            assert picture.getpixel((3, 3)) == (40 + 20 * number,) * 3


def test_texts_of_the_data_stay_texts(page):
    assert f"O2CAP on {HOSTILE}" in page.texts
    assert page.texts.count(HOSTILE) == 2  # a column and a row
    assert SCRIPT in page.text


def test_numbers_are_there_as_people_read_them(page):
    for number in ("90.3 %", "88.1 to 92.0", "97.8 %", "untrained 8.3 %", "126", "25.0 %", "96"):
        assert number in page.texts
    assert "num_valid_queries" in page.texts
    assert "mAP_low" not in page.text
    assert "not tested" not in page.text


def test_it_gives_the_advice_of_the_method(tmp_path):
    record(coarser="lower num_clusters").write(tmp_path)
    write_labels(tmp_path, [{"epoch": 0.0, "labels/clusters": 9.0, "labels/outlier_share": 0.9}])
    assert (
        "Bad sign: 90 % of the images are outliers: lower num_clusters."
        in Read(write_page(tmp_path)).texts
    )


def test_it_tells_how_to_run_it_again(tmp_path):
    folder = tmp_path / "it's a run"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed_everything: 0\n")
    record().write(folder)
    command = f"lightning-reid fit --config '{tmp_path}/it'\"'\"'s a run/config.yaml'"
    told = Read(write_page(folder))
    assert command in told.texts
    assert {"torch", "Python", "lightning-reid"} <= {*told.texts}
    begun = RunRecord.read(folder)
    again = record(checkpoint="last.ckpt").begin(begun)
    again.write(folder)
    assert f"{command} --ckpt_path null" in Read(write_page(folder)).texts
    assert again.begun == begun.begun
    assert len(again.continued) == 1
    record(command="test", checkpoint="a b.ckpt").write(folder)
    assert "--ckpt_path 'a b.ckpt'" in Read(write_page(folder)).text


def test_it_tells_what_the_labels_are_like(page):
    bad = [text for text in page.texts if text.startswith("Bad sign: ")]
    assert [text.split(": ")[1] for text in bad] == [
        "1 % of the clusters span cameras",
        "the silhouette fell from 0.33 to 0.06",
    ]
    good = "Good signs: 25 % outliers; 51 % of the images have reliable labels."
    assert good in page.texts
    table = page.texts.index("clusters that span cameras, share")
    assert page.texts.index(bad[0]) < page.texts.index(good) < table
    assert "size_median" not in page.text


def test_every_title_is_there_once_and_shares_are_percent(page):
    titles = [item.title for item in (*TABLES, *PICTURES)]
    assert len({*titles}) == len(titles)
    assert "12 %" in page.texts
    assert "0.123" not in page.texts


def test_cameras_that_are_called_by_numbers_keep_them(tmp_path):
    write_table(tmp_path, "camera_pairs", ["query", "0", "1"], [["0", None, 1], ["1", 1e-05, 0.5]])
    cells = Read(write_page(tmp_path)).texts
    start = cells.index("query")
    assert cells[start : start + 8] == ["query", "0", "1", "0", "100 %", "1", "0 %", "50 %"]


def test_an_epoch_that_is_trained_again_replaces_what_came_of_it(tmp_path):
    for epoch, loss in [(0, 3.0), (1, 2.0), (2, 1.5), (1, 2.5), (2, None)]:
        write_epoch(tmp_path, epoch, loss, 1.0)
    written = (tmp_path / "tables" / "epochs.csv").read_text().splitlines()
    assert written == ["epoch,loss,seconds", "0,3,1", "1,2.5,1", "2,,1"]


def test_an_empty_folder_has_a_page_that_says_so(tmp_path):
    told = Read(write_page(tmp_path))
    assert tmp_path.name in told.texts
    assert "This run has no test results" in told.text
    assert told.all("img") == []
    assert told.all("table") == []


def test_a_network_in_training_is_not_yet_tested(tmp_path):
    record(epochs_done=3).write(tmp_path)
    write_retrieval(tmp_path, {"test/mAP": 0.0831}, "untrained")
    told = Read(write_page(tmp_path))
    assert "The trained network has not been tested yet." in told.texts
    assert "mAP, untrained" in told.texts
    assert "3 of 16 epochs are done" in told.text


def test_what_cannot_be_read_is_told(tmp_path):
    full_run(tmp_path / "run")
    (tmp_path / "run" / "pictures" / "cmc.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    whole = (tmp_path / "run" / "pictures" / "clusters.png").read_bytes()
    (tmp_path / "run" / "pictures" / "clusters.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "run" / "tables" / "retrieval.csv").write_text("measure,value\nmAP,much\n")
    told = Read(write_page(tmp_path / "run"))
    for name in ("pictures/cmc.png", "pictures/clusters.png", "tables/retrieval.csv"):
        assert f"{name} cannot be read" in told.text
    assert len(told.all("img")) == len(PICTURES) - 2


def test_a_record_that_is_none_is_named(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"run.json is no record of a run: .*delete it"):
        write_page(tmp_path)


def test_large_pictures_are_embedded_smaller(tmp_path):
    (tmp_path / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (1500, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "pictures" / "clusters.png")
    image = Read(write_page(tmp_path)).all("img")[0]
    kind, _, content = image["src"].partition(",")
    assert kind == "data:image/jpeg;base64"
    width, height = int(image["width"]), int(image["height"])
    assert width * height <= 3_000_000
    assert width / height == pytest.approx(2, rel=0.01)
    assert len(content) < (tmp_path / "pictures" / "clusters.png").stat().st_size / 2


def test_a_picture_that_was_drawn_anew_is_shown(tmp_path):
    full_run(tmp_path / "run")
    first = Read(write_page(tmp_path / "run")).all("img")[0]["src"]
    Image.new("RGB", (30, 40), "red").save(tmp_path / "run" / "pictures" / "cmc.png")
    assert Read(write_page(tmp_path / "run")).all("img")[0]["src"] != first


def test_many_rows_are_cut(tmp_path):
    write_table(tmp_path, "camera_pairs", ["query", "mAP"], ([f"c{i}", 0.5] for i in range(5000)))
    told = Read(write_page(tmp_path))
    assert len(told.all("tr")) == 401
    assert "all are in tables/camera_pairs.csv" in told.text


def test_names_that_are_no_utf8(tmp_path):
    write_table(tmp_path, "camera_pairs", ["query", "mAP"], [["gate\udce4", 0.5]])
    assert r"gate\xe4" in Read(write_page(tmp_path)).texts


def test_tables_are_whole_numbers_of_the_run(tmp_path):
    full_run(tmp_path / "run")
    folder = tmp_path / "run"
    assert read_retrieval(folder)["trained"] == TEST
    assert list(read_table(folder, "retrieval").header) == ["measure", "untrained", "trained"]
    with (folder / "tables" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == [
        "epoch",
        *(
            f"labels/{name}"
            for name in (
                "clusters", "outlier_share", "cross_camera_share", "silhouette", "stability",
            )
        ),
    ]  # fmt: skip
    assert list(rows[0])[-1] == "labels/seconds/extraction"
    assert {*rows[0]} == {*HISTORY[0]}
    assert [float(row["labels/silhouette"]) for row in rows] == [
        statistics["labels/silhouette"] for statistics in HISTORY
    ]
    assert rows[0]["labels/stability"] == ""
    write_retrieval(folder, {"test/mAP": 0.5})
    assert read_retrieval(folder) == {"value": {"mAP": 0.5}}
