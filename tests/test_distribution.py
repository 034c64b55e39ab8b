"""What is installed works away from its source."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ["--config", "o2cap", "--data", "SyntheticPersons"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the contents of the wheel, made from a copy of what git knows or would."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("the source is not in git")
    folder = tmp_path_factory.mktemp("wheel")
    for name in listed.stdout.splitlines():
        if name.startswith(("lightning_reid", "configs", "pyproject", "README", "LICENSE")):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            source = ROOT / name
            if source.is_symlink():
                target.symlink_to(source.readlink())
            elif source.exists():
                target.write_bytes(source.read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder]
    command = [sys.executable, "-m", "pip", "wheel", *options, folder / "source"]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_code_types_and_configs_and_nothing_else(installed):
    packed = {f.relative_to(installed) for f in installed.rglob("*") if f.is_file()}
    top = {path.parts[0] for path in packed}
    assert {name for name in top if not name.endswith(".dist-info")} == {"lightning_reid"}
    code = {path.relative_to(ROOT) for path in (ROOT / "lightning_reid").rglob("*.py")}
    configs = {path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")}
    expected = {*code, Path("lightning_reid/py.typed"), *("lightning_reid" / c for c in configs)}
    assert {path for path in packed if path.parts[0] == "lightning_reid"} == expected


def test_it_runs_anywhere_with_configs_by_name(installed, tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import lightning_reid\n"
        f"assert lightning_reid.__file__.startswith({str(installed)!r})\n"
        "from lightning_reid.cli import main\n"
        f"sys.argv[1:] = {['fit', *CONFIG, '--print_config']}\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "class_path: lightning_reid.O2CAP" in done.stdout
    assert "class_path: lightning_reid.SyntheticPersons" in done.stdout
