"""Names that would act on a terminal, a spreadsheet or a browser, through every command."""

import csv
import html.parser
import json
import re
import sys
import unicodedata

import pytest
import yaml
from command_line import EASY_CLUSTERS, SMALL
from PIL import Image

from lightning_reid.cli import main

NAMES = [
    "=HYPERLINK(1)",
    "@\x1b]8;;http:\x07click\x1b[2J",
    "\u202egpj.<script>alert(1)<",
]
FILES = ["-1+1\x1b[31m.png", "+\u202e\u2028.png", "'\"><img src=x onerror=alert(1)>\r\n.png"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight people, each in three cameras, in folders and files with hostile names."""
    root = tmp_path_factory.mktemp("data") / "\x1b[31mred"
    for person in range(8):
        for camera, name in enumerate(NAMES):
            folder = root / name / f"person{person}"
            folder.mkdir(parents=True)
            for number, file in enumerate(FILES):
                shade = (30 * person + 7 * number, 255 - 30 * person, 60 + 60 * camera)
                Image.new("RGB", (16, 32), shade).save(folder / file)
    return root


@pytest.fixture(scope="module")
def options(data):
    pattern = "{camera}/person{identity}/*.png"
    return [
        "--model=O2CAP",
        "--data=ManifestData",
        f"--data.root={data}",
        f"--data.pattern={pattern}",
        "--data.test=identity",
        "--data.test_share=0.4",
        *SMALL[1:],
        *EASY_CLUSTERS,
    ]


def tame(text):
    """No character controls a terminal or turns the direction of writing."""
    return not [
        c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"
    ]


class Elements(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.handlers = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        self.handlers |= {name for name, _ in attributes if name.startswith("on")}


def require_harmless(folder):
    """Every file with text in a run folder."""
    for file in folder.rglob("*"):
        if file.suffix == ".csv":
            with file.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
                cells = {cell for row in csv.reader(opened) for cell in row}
            texts = {cell for cell in cells if not re.fullmatch(r"-?[\d.]+(e[-+]\d+)?", cell)}
            assert not [t for t in texts if t.lstrip().startswith(tuple("=+-@"))], file
        elif file.suffix == ".html":
            page = file.read_text(encoding="utf-8")
            assert tame(page), file
            elements = Elements(page)
            assert "script" not in elements.found
            assert not elements.handlers
        elif file.suffix in (".json", ".yaml"):
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            assert tame(text), file
            assert (json.loads if file.suffix == ".json" else yaml.safe_load)(text)


def test_every_command(data, options, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run\x1b[2J\u202e"

    def command(*words, refused=False):
        monkeypatch.setattr(sys, "argv", ["lightning-reid", *map(str, words)])
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        status = None
        try:
            main()
        except SystemExit as stop:
            status = stop.code
        said = "".join(capfd.readouterr())
        assert bool(status) == refused, (status, said)
        said += status if isinstance(status, str) else ""
        assert tame(said), repr(said)
        return said

    checkpoint = f"--ckpt_path={run}"
    command("check", *options[1:7], f"--output={tmp_path / 'check'}", "--num_workers=0")
    command("fit", *options, "--trainer.max_epochs=1", f"--run_dir={run}")
    command("validate", *options, checkpoint)
    command("test", *options, checkpoint)
    command("predict", *options, checkpoint)
    gallery = f"--gallery={data}"
    query = data / NAMES[1] / "person0" / FILES[0]
    pattern = "--pattern={camera}/*/*.png"
    search = ["search", checkpoint, gallery, pattern, "--num_workers=0"]
    found = command(*search, f"--query={query}", f"--index={tmp_path / 'index'}")
    assert r"\x1b[31m.png" in found
    # what is refused names the file
    broken = tmp_path / "=\x1bbroken\n.png"
    broken.write_bytes(b"no image")
    message = command(*search, f"--query={broken}", refused=True)
    assert r"=\x1bbroken\n.png" in message
    message = command(*search, f"--query={query}", f"--exclude_camera={NAMES[0]}x", refused=True)
    assert r"\u202egpj" in message
    message = command("fit", *options, f"--data.root={data}\x07nowhere", refused=True)
    assert r"\x07nowhere" in message
    for folder in (run, tmp_path / "check", tmp_path / "index"):
        require_harmless(folder)
    assert (run / "pictures" / "clusters.png").is_file()
