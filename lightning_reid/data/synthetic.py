"""Synthetic persons: a small re-identification set, drawn from a seed in the Market-1501 layout.

It comes with the package, so that everything can be tried at once and without a download. Every
image is a function of the seed, the identity, the camera and the image's number alone: any one
can be drawn by itself, and more identities leave the others as they were.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from lightning_reid.data.figures import View, draw_figure
from lightning_reid.data.people import Garment, Person, Pose, sample_person, sample_pose
from lightning_reid.data.scenes import (
    PLACES,
    Array,
    Camera,
    Pixels,
    draw_occluder,
    draw_place,
    record,
    sample_camera,
)
from lightning_reid.errors import InputError
from lightning_reid.local_paths import local_path
from lightning_reid.whole_files import unwritable

__all__ = [
    "Camera",
    "Garment",
    "Person",
    "Pose",
    "SyntheticSettings",
    "draw_person",
    "draw_synthetic_persons",
    "sample_camera",
    "sample_person",
    "sample_pose",
]

# what a stream of random numbers is for; part of every seed
_PERSON, _CAMERA, _PRESENCE, _IMAGE = range(4)
_DISTRACTORS = 10_000  # distractor people are drawn as the identities from here on


@dataclass(frozen=True)
class SyntheticSettings:
    """Everything that decides the content of a drawn set."""

    num_train_identities: int
    num_test_identities: int
    num_cameras: int
    images_per_camera: int
    num_distractors: int
    size: tuple[int, int]
    seed: int
    version: int = 1  # raise it whenever the drawing changes

    def __post_init__(self) -> None:
        if self.num_cameras < 2 or self.images_per_camera < 1:
            raise ValueError(
                "people are matched between cameras: num_cameras must be at least 2 and "
                f"images_per_camera at least 1, not {self.num_cameras} and "
                f"{self.images_per_camera}"
            )
        if self.num_train_identities + self.num_test_identities >= _DISTRACTORS:
            raise ValueError(
                f"there must be fewer than {_DISTRACTORS} identities: names have four digits"
            )


@dataclass(frozen=True)
class _Shot:
    """One image to draw: who, seen by which camera, which of the images, and its place."""

    person: int
    camera: int
    number: int
    path: str


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0.0:.0f} images/s")


def draw_person(
    person: Person, camera: Camera, rng: np.random.Generator, size: tuple[int, int] = (128, 64)
) -> Pixels:
    """Draws one image of a person.

    Args:
        person: Who to draw.
        camera: Which camera sees the person: decides place, viewpoint, light and response.
        rng: Source of everything that varies from image to image: pose, crop, occlusion, noise.
        size: Height and width of the image.

    Returns:
        The image ``(H, W, 3)``.
    """
    height, width = size
    place = draw_place(camera, size)
    left = int(rng.integers(place.width - width))
    picture = np.asarray(place.crop((left, 0, left + width, height)), dtype=np.float64) / 255.0
    sink = rng.uniform(0.04, 0.2) if rng.random() < 0.06 else 0.0  # legs cut off
    view = View(
        pose=sample_pose(rng, camera.yaw, camera.pitch),
        unit=0.89 * height * person.height * rng.uniform(0.94, 1.06),
        centre=width * (0.5 + rng.normal(0.0, 0.035)),
        ground=height * (0.955 + rng.normal(0.0, 0.015) + sink),
    )
    picture = _drop_shadow(picture, view, camera.light)
    if rng.random() < 0.05:  # somebody else walks into the edge of the crop
        other = View(
            pose=sample_pose(rng, camera.yaw, camera.pitch),
            unit=view.unit,
            centre=width * float(rng.choice([rng.uniform(-0.12, 0.02), rng.uniform(0.98, 1.12)])),
            ground=view.ground + 0.02 * height,
        )
        passer = sample_person(rng)
        picture = _lay(picture, *draw_figure(passer, other, size, camera.light))
    picture = _lay(picture, *draw_figure(person, view, size, camera.light))
    if rng.random() < 0.1:
        front = Image.fromarray((255.0 * picture).astype(np.uint8))
        draw_occluder(front, rng)
        picture = np.asarray(front, dtype=np.float64) / 255.0
    return record(picture, camera, rng)


def _lay(picture: Array, colours: Array, cover: Array) -> Array:
    """Lays a painted figure over a picture."""
    share = cover[..., None]
    return picture * (1.0 - share) + colours * share


def _drop_shadow(picture: Array, view: View, light: float) -> Array:
    """Darkens the ground under the feet, away from the light."""
    height, width, _ = picture.shape
    y, x = np.mgrid[:height, :width]
    dx = (x - view.centre + 0.12 * light * view.unit) / (0.2 * view.unit)
    dy = (y - view.ground) / (0.045 * view.unit)
    dark: Array = 1.0 - 0.5 * np.exp(-(dx**2) - dy**2)
    return picture * dark[..., None]


@lru_cache(maxsize=4096)
def _person(seed: int, person: int) -> Person:
    return sample_person(np.random.default_rng([seed, _PERSON, person]))


@lru_cache(maxsize=64)
def _camera(seed: int, camera: int) -> Camera:
    drawn = sample_camera(np.random.default_rng([seed, _CAMERA, camera]))
    return replace(drawn, place=PLACES[camera % len(PLACES)])  # neighbours look at other places


def _shots(settings: SyntheticSettings) -> Iterator[_Shot]:
    """Lists every image of the set."""
    trained = settings.num_train_identities
    for person in range(1, trained + settings.num_test_identities + 1):
        for camera, count in _appearances(settings, person):
            for number in range(count):
                frame = person * 100 + number
                name = f"{person:04d}_c{camera}s1_{frame:06d}_00.jpg"
                folder = "bounding_box_train"
                if person > trained:
                    folder = "bounding_box_test" if number else "query"
                yield _Shot(person, camera, number, f"{folder}/{name}")
    for index in range(settings.num_distractors):
        person = _DISTRACTORS + index
        camera = 1 + index % settings.num_cameras
        yield _Shot(person, camera, 0, f"bounding_box_test/0000_c{camera}s1_{index + 1:06d}_00.jpg")


def _appearances(settings: SyntheticSettings, person: int) -> list[tuple[int, int]]:
    """Returns the cameras that see a person, at least two of them, with their image counts."""
    rng = np.random.default_rng([settings.seed, _PRESENCE, person])
    order = 1 + rng.permutation(settings.num_cameras)
    seen = 2 + int(rng.binomial(max(0, settings.num_cameras - 2), 0.85))
    fewest = max(2, settings.images_per_camera - 1)
    counts = rng.integers(fewest, settings.images_per_camera + 2, settings.num_cameras)
    return sorted(zip(order[:seen].tolist(), counts.tolist(), strict=False))


def _draw_shot(shot: _Shot, settings: SyntheticSettings, root: Path) -> None:
    seed = settings.seed
    rng = np.random.default_rng([seed, _IMAGE, shot.person, shot.camera, shot.number])
    person, camera = _person(seed, shot.person), _camera(seed, shot.camera)
    image = Image.fromarray(draw_person(person, camera, rng, settings.size))
    image.save(root / shot.path, quality=camera.quality)


def _as_json(settings: SyntheticSettings) -> str:
    return json.dumps(asdict(settings), indent=2) + "\n"


def _holds(root: Path, settings: SyntheticSettings) -> bool:
    """Says whether a folder holds the finished set; other content is an error."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record_file = root / "settings.json"
    if record_file.is_file() and record_file.read_text() == _as_json(settings):
        return True
    raise InputError(
        f"{root} does not hold the synthetic persons asked for: its settings.json is missing or "
        "differs. Remove the folder or draw into another one."
    )


def draw_synthetic_persons(
    root: str | Path,
    *,
    num_train_identities: int = 100,
    num_test_identities: int = 50,
    num_cameras: int = 5,
    images_per_camera: int = 5,
    num_distractors: int = 60,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Draws the synthetic persons into a folder, once.

    The folder then holds ``bounding_box_train``, ``query`` and ``bounding_box_test`` with names
    like ``0007_c3s1_000701_00.jpg``. A folder that already holds the set is left as it is.

    Args:
        root: The folder to draw into; it appears when the set is complete.
        num_train_identities: People in the training images.
        num_test_identities: Other people, in the query and gallery images.
        num_cameras: Cameras; each person is seen by at least two and by most of them.
        images_per_camera: Images of a person under one camera, one more or less; at least two.
        num_distractors: Gallery images of further people that no query asks for, identity 0000.
        size: Height and width of the images.
        seed: What everything is drawn from.
        progress: Whether to show a progress bar.

    Returns:
        The folder.

    Raises:
        InputError: If the folder holds something else, or cannot be written.
        ValueError: If there are fewer than two cameras.
    """
    root = local_path(root)
    settings = SyntheticSettings(
        num_train_identities,
        num_test_identities,
        num_cameras,
        images_per_camera,
        num_distractors,
        (size[0], size[1]),
        seed,
    )
    if _holds(root, settings):
        return root
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    except OSError as error:
        raise unwritable(root, error) from error
    try:
        for folder in ("bounding_box_train", "query", "bounding_box_test"):
            (draft / folder).mkdir()
        shots = list(_shots(settings))
        for shot in _shown(shots) if progress else shots:
            _draw_shot(shot, settings, draft)
        (draft / "settings.json").write_text(_as_json(settings))
        draft.chmod(0o755)  # temporary folders are private
        try:
            draft.rename(root)
        except OSError:
            if not _holds(root, settings):  # another process was quicker: use its set
                raise
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise unwritable(root, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return root


def _shown(shots: list[_Shot]) -> Iterator[_Shot]:
    """With a bar that tells how many are drawn in a second."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TimeRemainingColumn()) as bar:
        yield from bar.track(shots, description="Drawing synthetic persons")
