"""What is found in data sets with something wrong, and what is not found in sound ones."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

import lightning_reid
from lightning_reid import Market1501, ReIDModule
from lightning_reid.data import Sample
from lightning_reid.errors import InputError
from lightning_reid.inspection import inspect
from lightning_reid.inspection.counts import by_camera, by_split


def found(inspection, severity=None):
    return [
        finding.found for finding in inspection.findings if severity in (None, finding.severity)
    ]


def the_finding(inspection, words):
    """The only one with these words."""
    matching = [finding for finding in inspection.findings if words in finding.found]
    assert len(matching) == 1, found(inspection)
    return matching[0]


def test_nothing_is_wrong_with_a_sound_set(listed_images, sound):
    done = inspect(listed_images(sound), num_workers=0)
    assert done.works
    assert found(done) == []


def test_drawn_people_are_sound(persons):
    done = inspect(Market1501(persons, batch_size=16), num_workers=0)
    assert found(done, "error") == found(done, "warning") == []
    assert "published" in the_finding(done, "Market-1501").found


def test_counts_are_those_of_the_lists(listed_images, sound, draw):
    sound["train"].append(Sample(draw("further", (50, 20)), "c10", 3, "t1"))
    done = inspect(listed_images(sound), num_workers=0)
    train, query, gallery = by_split(done.data)
    assert (train.images, train.cameras, train.identities, train.tracklets) == (25, 3, 6, 1)
    assert (train.smallest, train.median, train.largest) == ((32, 16), (32, 16), (50, 20))
    assert (query.images, gallery.images, gallery.identities) == (6, 16, 4)
    cameras = {row.camera: row for row in by_camera(done.data)}
    assert list(cameras) == ["c1", "c2", "c10"]
    assert (cameras["c1"].train, cameras["c1"].query, cameras["c1"].gallery) == (12, 3, 8)
    assert (cameras["c1"].train_identities, cameras["c1"].test_identities) == (6, 4)
    assert (cameras["c10"].train, cameras["c10"].train_identities) == (1, 1)


def test_unreadable_images_stop_a_run_unless_they_are_skipped(listed_images, sound):
    broken = sound["train"][3].path
    Path(broken).write_bytes(Path(broken).read_bytes()[:60])
    finding = the_finding(inspect(listed_images(sound), num_workers=0), "cannot be read")
    assert finding.severity == "error"
    assert finding.found == "1 of 24 training images cannot be read."
    assert finding.details == (Path(broken).name,)
    assert "on_error skip" in finding.meaning
    skipping = inspect(listed_images(sound, on_error="skip"), num_workers=0)
    assert the_finding(skipping, "cannot be read").severity == "warning"
    assert skipping.works


def test_a_split_without_any_readable_image_is_an_error_even_if_skipped(listed_images, sound):
    for sample in sound["query"] + sound["gallery"]:
        Path(sample.path).unlink()
    done = inspect(listed_images(sound, on_error="skip"), num_workers=0)
    assert the_finding(done, "22 of 22 test images cannot be read").severity == "error"


def test_training_images_in_the_test_make_it_worthless(listed_images, sound):
    shutil.copy(sound["train"][0].path, sound["gallery"][5].path)
    shutil.copy(sound["train"][7].path, sound["query"][2].path)
    done = inspect(listed_images(sound), num_workers=0)
    finding = the_finding(done, "training images too")
    assert finding.severity == "error"
    assert finding.found.startswith("2 of 22 test images (9.1 %)")
    assert set(finding.details) == {
        "query_11_c1_0.png = train_1_c2_1.png",
        "gallery_11_c1_1.png = train_0_c1_0.png",
    }


def test_the_same_pixels_in_two_cameras_or_of_two_people(listed_images, sound):
    train, gallery = sound["train"], sound["gallery"]
    shutil.copy(train[0].path, train[2].path)  # person 0 in c1 and c2
    shutil.copy(gallery[0].path, gallery[4].path)  # persons 10 and 11 in c1
    done = inspect(listed_images(sound), num_workers=0)
    cameras = the_finding(done, "different cameras have the same pixels")
    assert cameras.severity == "warning"
    assert cameras.details == ("train_0_c1_0.png = train_0_c2_0.png",)
    people = the_finding(done, "test images of different identities have the same pixels")
    assert people.details == ("gallery_10_c1_0.png = gallery_11_c1_0.png",)
    assert not [told for told in found(done) if "training images of different" in told]
    assert the_finding(done, "1 train image is a copy").severity == "note"
    assert the_finding(done, "1 gallery image is a copy").severity == "note"


def test_a_query_that_is_in_the_gallery_too_is_no_copy(listed_images, sound):
    # as in MARS: the same camera and person, so it counts in no number
    sound["gallery"] += sound["query"]
    done = inspect(listed_images(sound), num_workers=0)
    assert found(done) == []
    assert done.data.copies.found.sum() == 12


def test_near_duplicates_in_train_and_test(listed_images, sound):
    original, copy = sound["train"][5], sound["query"][0]
    Image.open(original.path).resize((20, 40)).save(copy.path, quality=90)
    done = inspect(listed_images(sound), num_workers=0)
    finding = the_finding(done, "look nearly the same")
    assert finding.severity == "warning"
    assert finding.details == (f"{Path(copy.path).name} = {Path(original.path).name}",)
    assert the_finding(done, "4.2 % of the training images have a near duplicate")
    assert not [told for told in found(done) if "pixel" in told]
    assert found(inspect(listed_images(sound), near=0, num_workers=0)) == []


def test_images_of_one_colour_are_no_duplicates(listed_images, sound):
    black = [*sound["train"][:4], *sound["query"][:2]]
    for sample in black:
        Image.new("RGB", (16, 32)).save(sample.path)
    done = inspect(listed_images(sound), num_workers=0)
    assert found(done) == ["6 images are of one colour."]


def test_identities_on_both_sides(listed_images, sound, crowd):
    sound["train"] += crowd("again", [12])
    finding = the_finding(inspect(listed_images(sound), num_workers=0), "both in training and in")
    assert finding.severity == "warning"
    assert finding.found.startswith("1 identity is both in training and in test: 12")


def test_queries_without_a_match(listed_images, sound, crowd):
    sound["query"] += crowd("lost", [20], cameras=["c1"], images=1)
    sound["gallery"] += crowd("own", [20], cameras=["c1"])  # in its own camera only
    sound["query"] += crowd("nobody", [21], cameras=["c2"], images=1)
    done = inspect(listed_images(sound), num_workers=0)
    finding = the_finding(done, "no valid match")
    assert finding.severity == "warning"
    assert finding.found.startswith("2 of 8 queries")
    assert finding.details == ("lost_20_c1_0.png", "nobody_21_c2_0.png")
    assert "2 of 6 test identities are seen by one camera only" in finding.found


def test_no_query_with_a_match_is_an_error_that_fit_would_meet(listed_images, sound):
    sound["gallery"] = [sample._replace(identity=99) for sample in sound["gallery"]]
    datamodule = listed_images(sound)
    assert the_finding(inspect(datamodule, num_workers=0), "None of the").severity == "error"
    with pytest.raises(InputError, match="none of the 6 query images"):
        listed_images(sound).setup("test")


def test_test_images_without_identities_are_an_error(listed_images, sound):
    sound["gallery"][3] = sound["gallery"][3]._replace(identity=None)
    finding = the_finding(inspect(listed_images(sound), num_workers=0), "have no identity")
    assert finding.severity == "error"
    assert finding.found.startswith("1 of 22 test images")


def test_one_camera(listed_images, crowd):
    done = inspect(listed_images({"train": crowd("train", range(6), ["入口"])}), num_workers=0)
    assert the_finding(done, "one camera, 入口").severity == "warning"
    assert the_finding(done, "no test set").severity == "note"
    assert "6 of 6 training identities are seen by one camera" in the_finding(done, "6 of 6").found
    assert done.works


def test_few_images_and_rare_or_unseen_cameras(listed_images, sound, crowd):
    sound["train"] += crowd("rare", [3], ["c7"], images=1)
    sound["gallery"] += crowd("unseen", [13], ["c8"], images=1)
    done = inspect(listed_images(sound, batch_size=64), num_workers=0)
    assert "1 camera has hardly any training images: c7 (1)." in found(done, "warning")
    assert "There are 25 training images, fewer than the 64 of a batch." in found(done, "warning")
    assert "The test has cameras that no training image is from: c8." in found(done, "note")


@pytest.mark.parametrize(
    ("size", "drawn", "severity", "words"),
    [
        ((32, 16), (20, 40), "warning", "height over width is typically 0.5, and 2 after"),
        ((256, 128), (32, 16), "warning", "enlarged more than 4 times"),
        ((8, 4), (80, 40), "note", "typically 80 x 40, and resized to 8 x 4"),
    ],
)
def test_sizes_that_do_not_suit(listed_images, crowd, size, drawn, severity, words):
    data = listed_images({"train": crowd("train", range(6), size=drawn)}, size=size)
    assert the_finding(inspect(data, num_workers=0), words).severity == severity


def test_another_shape_is_proposed_for_wide_images(listed_images, crowd):
    data = listed_images({"train": crowd("train", range(6), size=(20, 40))}, size=(256, 128))
    finding = the_finding(inspect(data, num_workers=0), "do not have the shape")
    assert "--data.size '[128,256]'" in finding.meaning


def test_a_few_images_of_another_shape_are_named(listed_images, sound, draw):
    draw("train_2_c1_1", (16, 32))
    finding = the_finding(inspect(listed_images(sound), num_workers=0), "change their shape")
    assert finding.severity == "note"
    assert finding.details == ("train_2_c1_1.png",)


def test_missing_training_images_are_an_error(listed_images, sound):
    del sound["train"]
    done = inspect(listed_images(sound), num_workers=0)
    assert "nothing to train on" in the_finding(done, "no list of train images").meaning
    assert done.methods == []
    assert not done.works


def test_an_image_without_a_camera_is_an_error(listed_images, sound):
    sound["train"][3] = sound["train"][3]._replace(camera=None)
    done = inspect(listed_images(sound), num_workers=0)
    assert not done.works
    the_finding(done, f"the train image {sound['train'][3].path} has no camera; every image")


def test_a_query_split_without_a_gallery_is_an_error(listed_images, sound):
    del sound["gallery"]
    done = inspect(listed_images(sound), num_workers=0)
    assert "--evaluate false" in the_finding(done, "no list of gallery images").meaning
    assert [method.runs for method in done.methods]


def test_settings_that_fit_refuses_are_an_error(listed_images, sound):
    done = inspect(listed_images(sound, batch_size=30), num_workers=0)
    assert the_finding(done, "batch_size=30 is not a multiple").severity == "error"


def test_every_method_is_asked(listed_images, sound):
    done = inspect(listed_images(sound), num_workers=0)
    exported = [getattr(lightning_reid, name) for name in lightning_reid.__all__]
    methods = {
        value.__name__
        for value in exported
        if isinstance(value, type) and issubclass(value, ReIDModule) and value is not ReIDModule
    }
    assert {answer.method for answer in done.methods} == methods
    assert all(answer.runs for answer in done.methods)
    remarks = {answer.method: answer.remark for answer in done.methods if answer.remark}
    assert list(remarks) == ["ReliableSoftLabels"]
    assert "--model.weights" in remarks["ReliableSoftLabels"]


def test_methods_that_lack_labels_say_so(listed_images, crowd):
    unknown = {"train": crowd("train", range(6), known=False)}
    answers = {a.method: a for a in inspect(listed_images(unknown), num_workers=0).methods}
    assert [name for name, answer in answers.items() if not answer.runs] == ["PCSL", "Supervised"]
    assert "no identities or tracklets" in answers["PCSL"].remark
    assert "no identities" in answers["Supervised"].remark


def test_one_person_is_nothing_to_supervise(listed_images, crowd):
    one = {"train": crowd("train", [0], images=8)}
    answers = {a.method: a for a in inspect(listed_images(one), num_workers=0).methods}
    assert answers["Supervised"].remark == "all training images have the same label"
    assert not answers["PCSL"].runs
    assert answers["CAP"].runs


def test_tracklets_are_counted_within_cameras(listed_images, crowd):
    tracked = [sample._replace(tracklet="t") for sample in crowd("train", range(3))]
    (train,) = by_split(inspect(listed_images({"train": tracked}), num_workers=0).data)
    assert train.tracklets == 2  # one in each camera


def test_tracklets_will_do_for_labels_within_cameras(listed_images, crowd):
    tracked = [
        sample._replace(tracklet=Path(sample.path).stem[:-2])
        for sample in crowd("train", range(6), known=False)
    ]
    answers = {a.method: a for a in inspect(listed_images({"train": tracked})).methods}
    assert answers["PCSL"].runs
    assert not answers["Supervised"].runs


def test_limits_out_of_range_are_refused(listed_images, sound):
    with pytest.raises(InputError, match="near must be"):
        inspect(listed_images(sound), near=9)
    with pytest.raises(InputError, match="num_workers must be"):
        inspect(listed_images(sound), num_workers=-1)
