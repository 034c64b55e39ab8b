"""What the README shows can be typed: its commands, made small, and its Python are run.

Installing, pytest, ruff and mypy are left to ``.ci/run``.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import pytest
import torch
from command_line import EASY_CLUSTERS
from forked_commands import run_forked
from PIL import Image
from programs import run_fresh, run_program
from small_methods import camera_folders

from lightning_reid import ManifestData

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
TABLES = run_path(str(ROOT / "benchmarks" / "readme_tables.py"))
EXAMPLES = sorted((ROOT / "tests" / "examples").glob("*.py"))

QUICK = [
    "--model.backbone=shufflenet_v2_x0_5",
    "--data.size=[32,16]",
    "--data.batch_size=8",
    "--data.images_per_group=4",
    "--data.batches_per_epoch=2",
    "--data.num_workers=0",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
]
FEW_PERSONS = [
    "--data.num_train_identities=6",
    "--data.num_test_identities=4",
    "--data.num_cameras=3",
    "--data.num_distractors=3",
]


def blocks(language):
    """Contents of all blocks of a language."""
    # all of them, one after the other: the end of one looks like the beginning of the next
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [content for name, content in found if name == language]


def commands():
    """Everything after ``lightning-reid`` in the order in which it is shown."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    shown = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part)[1:] for part in shown if part.startswith("lightning-reid ")]


def made_quick(command):
    """The same command with a small network, small images and few of them."""
    text = " ".join(command)
    if command[0] not in ("fit", "test", "validate", "predict") or "runs/mine/config" in text:
        return command
    further = list(QUICK)
    if "--model.weights" not in text:
        further.append("--model.weights=null")
    if "demo" in text or "synthetic_persons" in text:
        further += FEW_PERSONS
    if "reliable_soft" in text:
        further += ["--model.num_clusters=4", "--model.threshold=0"]
    elif "supervised" not in text:
        further += EASY_CLUSTERS
    return [*command, *further]


@pytest.fixture(scope="module")
def workplace(persons, tmp_path_factory):
    """A folder with what the commands name."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "path" / "to").mkdir(parents=True)
    camera_folders(persons, folder / "path" / "to" / "crops")
    (folder / "path" / "to" / "your").mkdir()
    for name in ("market1501", "your/folder"):
        (folder / "path" / "to" / name).symlink_to(persons)
    crop = next((folder / "path" / "to" / "crops").glob("*/*.jpg"))
    Image.open(crop).save(folder / "person.jpg")
    return folder


@pytest.fixture(scope="module")
def ran(workplace):
    """Folder of the commands, after all of them."""
    before = Path.cwd()
    os.chdir(workplace)
    try:
        for number, command in enumerate(commands()):
            ended = run_forked(made_quick(command), workplace / f"{number}.log")
            assert ended.status == 0, f"{' '.join(command)}\n{ended.output}"
    finally:
        os.chdir(before)
    return workplace


def test_commands_leave_what_is_said(ran):
    for named in ("report.html", "config.yaml", "checkpoints/last.ckpt", "metrics.csv", "run.json"):
        assert f"`{named}`" in README
        assert (ran / "runs" / "demo" / named).is_file()
    for folder in ("pictures", "tables"):
        assert f"`{folder}/`" in README
        assert any((ran / "runs" / "demo" / folder).iterdir())
    assert (ran / "runs" / "mine" / "predict" / "embeddings.npz").is_file()
    assert (ran / "runs" / "mine" / "export" / "model.onnx").is_file()
    assert list((ran / "runs" / "mine" / "search").glob("*/results.png"))


def shown(containing):
    """The README's block of Python with these words."""
    (found,) = (block for block in blocks("python") if containing in block)
    return found


def test_search_from_python(ran):
    lines = run_program(shown("Gallery.open"), ran).strip().splitlines()
    assert len(lines) == 10
    assert float(lines[0].split()[0]) == pytest.approx(1, abs=0.02)  # the same image, saved anew


def test_embedding_without_torch(ran):
    pytest.importorskip("onnxruntime")
    program = shown("InferenceSession").replace("(128, 256)", "(16, 32)")
    program += "import sys\nprint(embeddings.shape, (embeddings**2).sum(), 'torch' in sys.modules)"
    done = run_fresh("-c", program, folder=ran)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("False\n")
    assert done.stdout.startswith(("(1, 1024) 1.0", "(1, 1024) 0.9999"))


def test_a_data_set(tmp_path):
    names = {}
    exec(shown("class Office"), names)
    for split in ("train", "query", "gallery"):
        (tmp_path / split).mkdir()
        for camera in ("hall", "gate"):
            (tmp_path / split / f"{camera}_7_{split}.jpg").touch()
    office = names["Office"](tmp_path)
    office.setup()
    assert office.camera_names == ["gate", "hall"]
    assert office.train_identities.tolist() == [7, 7]
    assert len(office.paths("test")) == 4


def test_a_clusterer(monkeypatch):
    def offline(*_, **__):
        raise OSError("no network in tests")

    corners = torch.eye(40).repeat_interleave(3, dim=0)[:, :40]
    names = {"features": corners, "cameras": torch.arange(120) % 3}
    program = shown("DensityClusterer(k1=30").replace("O2CAP(", "O2CAP(weights=None, ")
    exec(program, names)
    assert len(names["labels"]) == 120
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    with pytest.raises(RuntimeError, match=r"pytorch.org.*resnet50.*TORCH_HOME"):
        exec(shown("trainer.test(model, datamodule)"), {})  # runs until weights are needed


def test_settings_of_a_clusterer(tmp_path):
    (block,) = blocks("yaml")
    (tmp_path / "mine.yaml").write_text(block)
    given = ["fit", "--config", "o2cap", "--config", "market1501", "--data.root=x"]
    ended = run_forked(
        [*given, "--config", str(tmp_path / "mine.yaml"), "--print_config"], tmp_path / "log"
    )
    assert ended.status == 0, ended.output
    assert "k1: 30" in ended.output


def test_every_block_of_python_is_run():
    examples = [file.read_text() for file in EXAMPLES]
    run_here = ("Gallery.open", "InferenceSession", "class Office", "DensityClusterer(k1=30")
    run_here += ("trainer.test(model, datamodule)",)
    for block in blocks("python"):
        is_example = any(example.endswith(block) for example in examples)
        assert is_example or any(words in block for words in run_here), block


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_it_shows_the_examples(file):
    code = file.read_text().partition('"""\n\n')[2]  # less its first line, which the README says
    assert f"```python\n{code}```" in README


def test_tables_are_what_was_measured():
    assert (ROOT / "benchmarks" / "README.md").read_text() == TABLES["page"]()
    assert f"<!-- measured -->\n{TABLES['in_short']()}<!-- end of measured -->" in README


def test_every_result_is_shown_with_a_command_that_exists():
    results = (ROOT / "benchmarks" / "results").glob("*.json")
    shown = [name for section in TABLES["SECTIONS"] for name in section.results]
    assert sorted(shown) == sorted(file.stem for file in results)
    for section in TABLES["SECTIONS"]:
        for command in section.commands:
            assert (ROOT / "benchmarks" / command.split()[0]).is_file()


def test_generator_writes_and_checks_both_files(tmp_path):
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    summary, tables = tmp_path / "README.md", tmp_path / "benchmarks" / "README.md"
    script = tmp_path / "benchmarks" / "readme_tables.py"

    def run(*options):
        command = [sys.executable, "-S", script, *options]
        return subprocess.run(command, capture_output=True, text=True)

    for changed, others in ((summary, tables), (tables, summary)):
        summary.write_text(README)
        run()
        assert run("--check").returncode == 0
        assert (summary.read_text(), tables.read_text()) == (README, TABLES["page"]())
        changed.write_text(changed.read_text().replace("66.9", "99.9"))
        before = changed.read_text(), others.read_text()
        checked = run("--check")
        assert checked.returncode == 1
        assert str(changed.relative_to(tmp_path)) in checked.stderr
        assert (changed.read_text(), others.read_text()) == before


def test_links_lead_to_files_and_headings():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        file, _, anchor = target.partition("#")
        if file.startswith("https:"):
            continue
        assert (ROOT / file).exists(), target
        if anchor:
            text = (ROOT / (file or "README.md")).read_text()
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in anchors, target


def test_it_names_all_configs_and_folders():
    for config in sorted((ROOT / "configs").rglob("*.yaml")):
        assert config.name.removesuffix(".yaml") in README
    for folder in (ROOT / "lightning_reid").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"{folder.name}/" in README


def test_ci_runs_the_test_command():
    command = 'pip install -e ".[test]" && pytest'
    assert command in README.splitlines()
    assert command in (ROOT / ".ci" / "run").read_text()


def test_a_list(tmp_path):
    (listed,) = (block for block in blocks("") if "path,camera" in block)
    (tmp_path / "crops.csv").write_text(listed)
    for row in listed.splitlines()[1:]:
        file = tmp_path / row.split(",")[0]
        file.parent.mkdir()
        file.touch()
    data = ManifestData(tmp_path / "crops.csv")
    data.setup("fit")
    assert data.camera_names == ["gate", "hall"]
    assert [sample.tracklet for sample in data.train_samples] == ["17", "3"]
