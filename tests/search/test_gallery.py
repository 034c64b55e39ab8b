"""Galleries: what is embedded when, what is found, and what damage does."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_images import png_with_damaged_pixels, tagged
from PIL import Image

from lightning_reid import O2CAP
from lightning_reid.data import UnreadableImageError, read_image
from lightning_reid.data import test_transform as plain_transform
from lightning_reid.errors import InputError
from lightning_reid.search import Embedder, Gallery, TrainedModel
from lightning_reid.search import gallery as gallery_module
from lightning_reid.search.listing import list_images
from lightning_reid.search.table import Table


def opened(model, **kwargs):
    return Gallery.open(model, num_workers=0, device="cpu", **kwargs)


@pytest.fixture
def embedded(monkeypatch):
    """Names of the images that are embedded, as they are."""
    names, batches = [], Embedder.batches

    def counted(self, paths):
        for batch in batches(self, paths):
            names.extend(Path(paths[i]).name for i in batch.places.tolist())
            yield batch

    monkeypatch.setattr(Embedder, "batches", counted)
    return names


def names_in(gallery):
    return sorted(Path(path).name for path in gallery._index.listing.images.paths)


def consistent(gallery):
    """Whether every row of the index is the embedding of its image."""
    paths = list(gallery._index.listing.images.paths)
    vectors = np.concatenate([block.copy() for block in gallery._index.embeddings.blocks()])
    expected = gallery.embedder.all(paths).vectors
    return np.abs(vectors - expected).max() < 1e-5


def test_embeddings_are_those_of_the_method(model, query):
    method = O2CAP.load_from_checkpoint(model, map_location="cpu").eval()
    with torch.no_grad():
        expected = method.embed(plain_transform((32, 16))(read_image(str(query)))[None])[0]
    found = Embedder(TrainedModel.load(model), num_workers=0).all([str(query)]).vectors[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_nearest_are_those_of_all_comparisons(model, crops, query):
    gallery = opened(model)
    gallery.add(crops)
    paths = sorted(str(file) for file in crops.glob("*.jpg"))
    similarities = gallery.embedder.all(paths).vectors.astype(np.float64) @ gallery.embedder.all(
        [str(query)]
    ).vectors[0].astype(np.float64)
    assert similarities.std() > 0.01  # the model tells images apart
    order = np.argsort(-similarities)
    for k in (1, 5, 1000):
        found = gallery.search(query, k)
        assert [match.path for match in found] == [paths[i] for i in order[:k]]
        np.testing.assert_allclose(
            [match.similarity for match in found], similarities[order[:k]], atol=1e-6
        )
        assert {match.camera for match in found} == {""}


def test_images_in_memory_are_found_as_their_files_are(model, crops, query):
    gallery = opened(model, batch_size=2)
    gallery.add(crops, pattern="{identity}_c{camera}s1_*.jpg")
    pixels = read_image(str(query)).permute(1, 2, 0).numpy()
    expected = gallery.search(query, 1000, exclude_camera="2")
    for picture in (pixels, Image.fromarray(pixels), Image.fromarray(pixels).convert("RGBA")):
        found = gallery.search(picture, 1000, exclude_camera="2")
        assert [match.path for match in found] == [match.path for match in expected]
        np.testing.assert_allclose(
            [match.similarity for match in found], [m.similarity for m in expected], atol=1e-5
        )
    other = sorted(crops.glob("*.jpg"))[0]
    together = gallery.search_all([pixels, other, pixels[:, ::-1], pixels[::-1]], k=1000)
    assert list(together) == ["image 0", str(other), "image 2", "image 3"]
    assert together[str(other)][0].path == str(other)
    for name, picture in [("image 0", pixels), ("image 3", pixels[::-1].copy())]:
        alone = gallery.search(picture, 1000)
        np.testing.assert_allclose(
            [match.similarity for match in together[name]],
            [match.similarity for match in alone],
            atol=1e-5,
        )
    with pytest.raises(InputError, match="does not tell the camera of the query image 0"):
        gallery.search(pixels, exclude_camera="own")


def test_what_is_no_query_is_told(model, crops, query):
    gallery = opened(model)
    gallery.add(query)
    with pytest.raises(InputError, match="not list; search_all takes several"):
        gallery.search([query, query])
    with pytest.raises(InputError, match="search_all takes several queries; search takes one"):
        gallery.search_all(query)
    for wrong in (np.zeros((8, 4), np.uint8), np.zeros((8, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InputError, match=r"must be an \(H, W, 3\) uint8 array .* of shape"):
            gallery.search(wrong)


def test_a_list_may_call_its_columns_otherwise(model, crops, tmp_path):
    files = sorted(crops.glob("*.jpg"))[:3]
    listed = tmp_path / "odd.csv"
    listed.write_text("\n".join(["file,where", *(f"crops/{file.name},gate" for file in files)]))
    gallery, columns = opened(model), {"path": "file", "camera": "where"}
    with pytest.raises(InputError, match="no column 'path'"):
        gallery.add(listed)
    assert gallery.add(listed, columns=columns).embedded == 3
    assert gallery.hold(listed, columns=columns) == (0, 0, 0)
    assert gallery.search(files[0], k=1)[0].camera == "gate"


def test_an_image_finds_itself(model, crops):
    gallery = opened(model)
    gallery.add(crops)
    one = sorted(crops.glob("*.jpg"))[7]
    (best,) = gallery.search(one, k=1)
    assert best.path == str(one)
    assert best.similarity == pytest.approx(1, abs=1e-6)


def test_only_what_is_new_or_changed_is_embedded(model, crops, query, embedded):
    files = sorted(crops.glob("*.jpg"))
    first = opened(model)
    assert first.hold(crops) == (len(files), 0, 0)
    assert len(embedded) == len(files)
    embedded.clear()

    unchanged = opened(model)
    assert unchanged.hold(crops) == (0, 0, 0)
    assert embedded == []
    assert len(unchanged) == len(files)

    files[0].unlink()
    Image.open(files[1]).rotate(90).save(files[1])
    os.utime(files[2], ns=(1, 1))
    shutil.copy(query, crops / "added.jpg")
    again = opened(model)
    assert again.hold(crops) == (3, 1, 0)
    assert sorted(embedded) == sorted([files[1].name, files[2].name, "added.jpg"])
    assert names_in(again) == sorted(file.name for file in crops.glob("*.jpg"))
    assert consistent(again)
    assert consistent(opened(model))
    (best,) = opened(model).search(query, k=1)
    assert best.path == str(crops / "added.jpg")


def test_add_keeps_others_and_hold_does_not(model, persons, crops):
    gallery = opened(model)
    gallery.add(crops)
    of_crops, of_query = len(gallery), len(list((persons / "query").glob("*.jpg")))
    sorted(crops.glob("*.jpg"))[3].unlink()
    assert gallery.add(persons / "query") == (of_query, 1, 0)
    assert len(gallery) == of_crops - 1 + of_query
    assert consistent(opened(model))
    assert gallery.hold(persons / "query") == (0, of_crops - 1, 0)
    assert len(opened(model)) == of_query
    assert consistent(opened(model))


def test_files_lists_and_folders_together(model, persons, crops, tmp_path):
    files = sorted(crops.glob("*.jpg"))
    listed = tmp_path / "list.csv"
    rows = [f"crops/{file.name},{file.name.split('_')[1][:2]}" for file in files[:4]]
    listed.write_text("\n".join(["path,camera", *rows]))
    gallery = opened(model)
    gallery.add([listed, files[0], files[10], persons / "query"])
    assert len(gallery) == 5 + len(list((persons / "query").glob("*.jpg")))
    cameras = {Path(m.path).name: m.camera for m in gallery.search(files[0], k=100)}
    assert cameras[files[0].name] == files[0].name.split("_")[1][:2]
    assert cameras[files[10].name] == ""


def test_a_corrected_camera_needs_no_embedding(model, crops, tmp_path, embedded):
    files = sorted(crops.glob("*.jpg"))[:5]
    listed = tmp_path / "list.csv"
    for camera in ("gate", "hall"):
        rows = [f"crops/{file.name},{camera}" for file in files]
        listed.write_text("\n".join(["path,camera", *rows]))
        opened(model).hold(listed)
    assert len(embedded) == 5
    assert {match.camera for match in opened(model).search(files[0])} == {"hall"}


def test_cameras_can_be_left_out(model, crops):
    gallery = opened(model)
    gallery.add(crops, pattern="{identity}_c{camera}s1_*.jpg")
    query = sorted(crops.glob("*_c2s1_*.jpg"))[0]
    everything = gallery.search(query, k=1000)
    assert {match.camera for match in everything} == {"1", "2", "3"}
    for exclude in ("2", "own"):
        others = gallery.search(query, k=1000, exclude_camera=exclude)
        assert [(m.path, m.camera) for m in others] == [
            (m.path, m.camera) for m in everything if m.camera != "2"
        ]
        assert gallery.search(query, k=3, exclude_camera=exclude) == others[:3]
    other = sorted(crops.glob("*_c3s1_*.jpg"))[0]
    both = gallery.search_all([query, other], k=1000, exclude_camera="own")
    assert list(both) == [str(query), str(other)]
    assert {match.camera for match in both[str(other)]} == {"1", "2"}
    with pytest.raises(InputError, match="no image of the gallery is from the camera '9'"):
        gallery.search(query, exclude_camera="9")


def test_unknown_cameras_cannot_be_left_out(model, crops, query):
    gallery = opened(model)
    gallery.add(crops)
    with pytest.raises(InputError, match="cameras of the gallery in .* are not known"):
        gallery.search(query, exclude_camera="own")
    known = opened(model, folder=crops.parent / "known")
    known.add(crops, pattern="{identity}_c{camera}s1_*.jpg")
    with pytest.raises(InputError, match=f"does not tell the camera of the query {query}"):
        known.search(query, exclude_camera="own")


def test_a_gallery_of_one_image(model, crops, query):
    gallery = opened(model)
    only = sorted(crops.glob("*.jpg"))[0]
    gallery.add(only)
    assert [match.path for match in gallery.search(query, k=10)] == [str(only)]


def test_an_empty_gallery_cannot_be_searched(model, query, tmp_path):
    gallery = opened(model)
    with pytest.raises(InputError, match="holds no images"):
        gallery.search(query)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images .* in .*empty or below it"):
        gallery.add(tmp_path / "empty")
    with pytest.raises(InputError, match="no image, list or folder .*nowhere"):
        gallery.add(tmp_path / "nowhere")
    assert not (model.parents[1] / "search").exists()


def test_a_broken_image_stops_and_what_was_done_is_kept(model, crops, query, embedded):
    files = sorted(crops.glob("*.jpg"))
    broken = files[20]
    broken.write_bytes(broken.read_bytes()[:200])
    gallery = opened(model, batch_size=8)
    with pytest.raises(InputError, match=f"cannot read image {broken}"):
        gallery.add(crops)
    assert names_in(opened(model)) == [file.name for file in files[:16]]
    assert consistent(opened(model))
    embedded.clear()
    with pytest.warns(UserWarning, match=f"could not be read: 1 images: {broken}"):
        change = opened(model, on_error="skip").add(crops)
    assert change == (len(files) - 17, 0, 1)
    assert len(embedded) == len(files) - 17
    assert len(opened(model).search(query, k=1000)) == len(files) - 1
    assert consistent(opened(model))


def test_a_rebuild_that_embeds_nothing_loses_nothing(model, crops):
    opened(model).add(crops)
    files = sorted(crops.glob("*.jpg"))
    files[0].write_bytes(b"broken")
    with pytest.raises(InputError, match=f"cannot read image {files[0]}"):
        opened(model, rebuild=True).add(crops)
    assert names_in(opened(model)) == [file.name for file in files]


def test_a_long_build_is_saved_in_between(model, crops, monkeypatch):
    monkeypatch.setattr(gallery_module, "_SAVED_EVERY", 0.0)
    monkeypatch.setattr(gallery_module, "_SHARE", 0.0)
    seen, batches = [], Embedder.batches

    def watched(self, paths):
        for batch in batches(self, paths):
            yield batch
            seen.append(len(opened(model)))

    monkeypatch.setattr(Embedder, "batches", watched)
    gallery = opened(model, batch_size=16)
    gallery.add(crops)
    assert seen[:2] == [16, 32]
    assert consistent(opened(model))
    assert len(list(gallery.folder.glob("*.npy"))) == 1


def test_a_kill_between_the_two_files_leaves_the_state_before(model, crops, query, monkeypatch):
    gallery = opened(model)
    gallery.add(crops)
    before = names_in(gallery)

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Table, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(model).add(query)
    again = opened(model)
    assert names_in(again) == before
    assert again.add(query).embedded == 1
    assert len(list(gallery.folder.glob("*.npy"))) == 1
    assert consistent(opened(model))


def three_parts(crops):
    files = sorted(crops.glob("*.jpg"))
    return files[:2], files[2:4], files[4:6]


def test_what_another_gallery_added_is_not_lost(model, crops, embedded):
    first, second, third = three_parts(crops)
    ours = opened(model)
    ours.add(first)
    opened(model).add(second)
    embedded.clear()
    assert ours.add(third) == (2, 0, 0)
    assert sorted(embedded) == [path.name for path in third]
    assert (
        names_in(ours)
        == names_in(opened(model))
        == sorted(path.name for path in (*first, *second, *third))
    )
    assert consistent(ours)


def test_two_galleries_that_begin_together_do_not_overwrite_each_other(model, crops):
    first, second, _ = three_parts(crops)
    ours, theirs = opened(model), opened(model)
    ours.add(first)
    theirs.add(second)
    assert len(opened(model)) == 4
    ours, theirs = opened(model, rebuild=True), opened(model, rebuild=True)
    ours.add(second)
    ours.add(first)
    with pytest.raises(InputError, match="another process has changed the index"):
        theirs.add(first)
    assert len(opened(model)) == 4
    assert theirs.hold(first) == (2, 0, 0)  # nothing else was to be kept
    assert len(opened(model)) == 2


def test_what_is_written_while_images_are_embedded_is_not_lost(model, crops, monkeypatch, tmp_path):
    """By a process that does not see the lock, as on another machine."""
    first, second, third = three_parts(crops)
    ours, theirs, batches = opened(model), opened(model), Embedder.batches
    ours.add(first)
    theirs = opened(model)

    def meanwhile(self, paths):
        yield from batches(self, paths)
        if self is ours.embedder:
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
            theirs.add(second)

    monkeypatch.setattr(Embedder, "batches", meanwhile)
    with pytest.raises(InputError, match="another process has changed the index"):
        ours.add(third)
    assert names_in(opened(model)) == sorted(path.name for path in (*first, *second))


def test_it_is_opened_while_another_process_changes_it(model, crops, monkeypatch):
    first, second, third = three_parts(crops)
    writer = opened(model)
    writer.add(first)
    read_table, parts = Table.read, [second, third]

    def overtaken(folder):
        table = read_table(folder)
        if parts:
            writer.add(parts.pop())
        return table

    monkeypatch.setattr(Table, "read", overtaken)
    assert len(opened(model)) == 6
    (vectors,) = writer.folder.glob("*.npy")
    vectors.unlink()
    with pytest.raises(InputError, match="cannot be read .No such file.*: build .* --rebuild"):
        opened(model)


def test_an_index_that_never_rests_is_told(model, crops, monkeypatch):
    first, second, _ = three_parts(crops)
    writer = opened(model)
    writer.add(first)
    read_table = Table.read

    def overtaken(folder):
        table = read_table(folder)
        with monkeypatch.context() as patch:
            patch.setattr(Table, "read", read_table)
            first_again = names_in(writer)[0] != first[0].name
            writer.hold(first if first_again else second)
        return table

    monkeypatch.setattr(Table, "read", overtaken)
    with pytest.raises(InputError, match="keeps changing the index in .* try again later"):
        opened(model)


def test_images_of_a_folder_by_their_endings(tmp_path):
    names = ("1.jpg", "2.JPEG", "3.WebP", "4.avif", "5.TIF", os.fsdecode(b"caf\xe9\n.bmp"))
    for name in (*names, "6.heic", "7.txt", "._1.jpg", "Thumbs.db", "@eaDir/1.jpg/thumb.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(list_images(tmp_path).images.paths) == [f"{tmp_path}/{name}" for name in names]


def test_linked_folders_are_followed_but_not_in_circles(model, crops, tmp_path):
    linked = tmp_path / "linked"
    (linked / "own").mkdir(parents=True)
    files = sorted(crops.glob("*.jpg"))
    shutil.copy(files[0], linked / "own" / "inside.jpg")
    (linked / "a").symlink_to(crops)
    (linked / "b").symlink_to(crops)  # the same again
    (linked / "an_own").symlink_to(linked / "own")
    (linked / "own" / "up").symlink_to(linked)
    listed = list(list_images(linked).images.paths)
    expected = [linked / "own" / "inside.jpg", *(linked / "a" / file.name for file in files)]
    assert sorted(listed) == sorted(map(str, expected))


def test_an_index_of_another_model_is_refused_and_can_be_rebuilt(model, crops, query):
    opened(model).add(crops)
    content = torch.load(model, weights_only=True)
    content["state_dict"]["network.neck.weight"] += 0.1
    torch.save(content, model)
    with pytest.raises(InputError, match=r"built by another model .* --rebuild"):
        opened(model)
    with pytest.raises(InputError, match="another model"):  # preprocessing counts as well
        opened(model, size=(64, 32))
    rebuilt = opened(model, rebuild=True)
    rebuilt.add(crops)
    assert consistent(opened(model))
    assert len(list(rebuilt.folder.glob("*.npy"))) == 1
    assert opened(model).search(query, k=1)


def spoil(kind, folder):
    vectors, table = next(folder.glob("*.npy")), folder / "index.npz"
    if kind == "vectors gone":
        vectors.unlink()
    elif kind == "vectors garbled":
        vectors.write_bytes(b"x" * vectors.stat().st_size)
    elif kind == "table garbled":
        table.write_bytes(b"not a table")
    else:
        file = vectors if kind == "vectors short" else table
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    "kind", ["vectors short", "vectors gone", "vectors garbled", "table short", "table garbled"]
)
def test_a_damaged_index_is_told_and_can_be_rebuilt(model, crops, query, kind):
    gallery = opened(model)
    gallery.add(crops)
    spoil(kind, gallery.folder)
    with pytest.raises(InputError, match=f"{gallery.folder}.*rebuild") as told:
        opened(model)
    assert "\n" not in str(told.value)
    opened(model, rebuild=True).add(crops)
    assert consistent(opened(model))
    assert len(opened(model).search(query, k=3)) == 3


def test_the_embeddings_are_an_array_of_unit_rows(model, crops):
    gallery = opened(model)
    gallery.add(crops)
    (file,) = gallery.folder.glob("*.npy")
    embeddings = np.load(file, mmap_mode="r")
    assert embeddings.dtype == np.float32
    assert len(embeddings) == len(gallery) == len(list(crops.glob("*.jpg")))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_names_in_any_script(model, crops, query):
    odd = crops / "grün 入口.jpg"
    shutil.copy(query, odd)
    opened(model).add(crops)
    (best,) = opened(model).search(query, k=1)
    assert best.path == str(odd)


def test_settings_that_mean_nothing(model, crops, query):
    with pytest.raises(InputError, match="on_error"):
        opened(model, on_error="ignore")
    with pytest.raises(InputError, match="device 'mps:x'"):
        Gallery.open(model, device="mps:x")
    gallery = opened(model)
    gallery.add(query)
    with pytest.raises(InputError, match="k must be at least 1, not 0"):
        gallery.search(query, k=0)


def test_five_lines(model, crops, query):
    from lightning_reid.search import Gallery

    gallery = Gallery.open(model)
    gallery.add(crops)
    for match in gallery.search(query, k=10):
        print(f"{match.similarity:.3f} {match.path}")
    assert gallery.folder == model.parents[1] / "search" / "gallery"


def test_lying_images_are_found_upright(model, crops, tmp_path):
    gallery = opened(model)
    gallery.add(crops)
    upright = Image.open(sorted(crops.iterdir())[4])
    for orientation, turn in ((3, "ROTATE_180"), (6, "ROTATE_90"), (8, "ROTATE_270")):
        lying = upright.transpose(Image.Transpose[turn])
        file = tmp_path / f"{orientation}.png"
        lying.save(file, exif=tagged(orientation))
        with Image.open(file) as picture:
            for query in (file, picture):
                best = gallery.search(query)[0]
                assert best.path == upright.filename
                assert best.similarity > 0.999
        assert gallery.search(np.asarray(lying))[0].similarity < 0.999  # arrays are as they are


def test_a_png_with_damaged_pixels_is_named_or_left_out(model, crops, tmp_path):
    damaged = sorted(crops.iterdir())[4]
    damaged.write_bytes(png_with_damaged_pixels(damaged))
    with pytest.raises(UnreadableImageError, match=damaged.name):
        opened(model).add(crops)
    gallery = opened(model, on_error="skip")
    with pytest.warns(UserWarning, match=damaged.name):
        change = gallery.hold(crops)
    assert (len(gallery), change.unreadable) == (len([*crops.iterdir()]) - 1, 1)
    with pytest.raises(UnreadableImageError, match=damaged.name):
        opened(model).search(damaged)
    cut = tmp_path / "cut.bmp"
    Image.new("RGB", (20, 40)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-500])
    with Image.open(cut) as picture, pytest.raises(InputError, match="cannot be decoded: .*trunc"):
        gallery.search(picture)


def test_the_limit_of_pixels_of_a_gallery(model, crops):
    with pytest.raises(UnreadableImageError, match="more than max_pixels=100 allows"):
        opened(model, max_pixels=100).add(crops)
    with pytest.raises(InputError, match="max_pixels must be at least 1, not 0"):
        opened(model, max_pixels=0)
