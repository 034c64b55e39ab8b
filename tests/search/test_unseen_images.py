"""Images whose files cannot be seen stay in an index; those that are gone do not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from forked_commands import run_python
from PIL import Image

from lightning_reid.data import Sample, Samples
from lightning_reid.errors import InputError
from lightning_reid.models import EmbeddingNetwork
from lightning_reid.search import Embedder, Gallery, TrainedModel
from lightning_reid.search.listing import Listing

CANNOT = r"images of the index cannot be seen, such as {}.*Nothing was removed.*mounted"


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5), weights=None).eval()
    model = TrainedModel(network, (32, 16), Path("drawn"), {})
    return Embedder(model, device="cpu", num_workers=0, on_error="skip")


@pytest.fixture
def crops(tmp_path):
    """Three folders of three images each."""
    rng = np.random.default_rng(0)
    for number in range(9):
        file = tmp_path / "crops" / f"c{number // 3}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(file)
    return tmp_path / "crops"


@pytest.fixture
def held(embedder, tmp_path):
    """Opens the index again."""
    return lambda: Gallery(embedder, tmp_path / "index")


def listed(crops, folder):
    """A list of the images."""
    file = folder / "list.csv"
    rows = [f"{path},{path.parent.name}" for path in sorted(crops.glob("*/*.png"))]
    file.write_text("\n".join(["path,camera", *rows]))
    return file


def refused(gallery, source, name, **kwargs):
    before = (gallery.folder / "index.npz").read_bytes()
    with pytest.raises(InputError, match=CANNOT.format(name)) as error:
        gallery.hold(source, **kwargs)
    assert "\n" not in str(error.value)
    assert (gallery.folder / "index.npz").read_bytes() == before


def test_what_was_deleted_goes(held, crops):
    held().hold(crops)
    (crops / "c0" / "0.png").unlink()
    assert held().hold(crops) == (0, 1, 0)
    shutil.rmtree(crops / "c1")
    assert held().hold(crops) == (0, 3, 0)
    for file in (crops / "c2").iterdir():  # it may be filled again
        file.unlink()
    assert held().hold(crops) == (0, 3, 0)
    assert len(held()) == 2


def test_a_folder_that_is_empty_or_not_there(held, crops, tmp_path):
    held().hold(crops)
    crops.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="there is no image, list or folder"):
        held().hold(crops)
    crops.mkdir()
    with pytest.raises(InputError, match="no images"):
        held().hold(crops)
    assert len(held()) == 9


def test_a_list_whose_folder_is_not_there(held, crops, tmp_path):
    file = listed(crops, tmp_path)
    held().hold(file)
    (crops / "c1" / "3.png").unlink()
    assert held().hold(file) == (0, 0, 1)  # left out with a warning, as any that cannot be read
    (crops / "c1").rename(tmp_path / "unmounted")
    refused(held(), file, f"{crops}/c1/4.png")
    (crops / "c1").mkdir()  # where it is usually mounted
    refused(held(), file, f"{crops}/c1/4.png")
    rows = [row for row in file.read_text().splitlines() if "/c1/" not in row]
    file.write_text("\n".join(rows))
    assert held().hold(file) == (0, 2, 0)


def test_links_that_lead_nowhere(held, crops, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "folder").symlink_to(crops / "c0")
    (linked / "image.png").symlink_to(crops / "c1" / "3.png")
    shutil.copy(crops / "c2" / "6.png", linked)
    held().hold(linked)
    assert len(held()) == 5
    (crops / "c0").rename(tmp_path / "unmounted")
    refused(held(), linked, f"{linked}/folder/0.png")
    refused(held(), linked, f"{linked}/folder/0.png", pattern="{camera}.png")
    (linked / "folder").unlink()
    assert held().hold(linked) == (0, 3, 0)
    (crops / "c1").rename(tmp_path / "unmounted too")
    refused(held(), linked, f"{linked}/image.png")


def test_add_keeps_what_cannot_be_seen(held, crops, tmp_path):
    held().add([crops / "c0", *sorted((crops / "c1").iterdir())])
    (crops / "c1" / "3.png").unlink()
    (crops / "c0").rename(tmp_path / "unmounted")
    with pytest.warns(UserWarning, match=f"kept 3 images .* such as {crops}/c0/0.png: .*mounted"):
        assert held().add(crops / "c2") == (3, 1, 0)
    (crops / "c0").mkdir()
    with pytest.warns(UserWarning, match="kept 3 images"):
        assert held().add(crops / "c2") == (0, 0, 0)
    assert len(held()) == 8
    assert held().hold(crops) == (0, 3, 0)


def test_another_gallery_in_the_same_index_is_asked_for(held, crops, tmp_path):
    held().hold(crops / "c0")
    (crops / "c0").rename(tmp_path / "unmounted")
    assert held().hold(crops / "c1") == (3, 3, 0)


def test_a_path_that_no_file_can_have():
    assert Listing.of(Samples.of([Sample("/a\0b.png", "gate")])).missing.all()


WITHOUT_PRIVILEGES = """
import ctypes, sys
from pathlib import Path
import torch
from lightning_reid.errors import InputError
from lightning_reid.models import EmbeddingNetwork
from lightning_reid.search import Embedder, Gallery, TrainedModel
# root may read everything: give that up
ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
crops, index, locked = map(Path, sys.argv[1:])
network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5), weights=None).eval()
model = TrainedModel(network, (32, 16), Path("drawn"), {})
embedder = Embedder(model, device="cpu", num_workers=0, on_error="skip")
Gallery(embedder, index).hold(crops)
for mode in (0o000, 0o444):  # not even listed; listed, but no file in it can be looked at
    locked.chmod(mode)
    try:
        Gallery(embedder, index).hold(crops)
    except InputError as error:
        print(error)
    locked.chmod(0o755)
    print(len(Gallery(embedder, index)))
"""


def test_folders_that_must_not_be_read(crops, tmp_path):
    given = [str(path) for path in (crops, tmp_path / "index", crops / "c1")]
    ended = run_python("-c", WITHOUT_PRIVILEGES, *given)
    assert ended.status == 0, ended.errors
    listing, first, looking, second = ended.output.splitlines()
    assert listing == f"cannot list the folder {crops}/c1: Permission denied"
    assert f"3 images of the index cannot be seen, such as {crops}/c1/3.png" in looking
    assert first == second == "9"
