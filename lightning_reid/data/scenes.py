"""Cameras: the place each one looks at and how its pictures come out.

What differs most between two cameras is a global matter, as in the field: white balance,
exposure, gamma, saturation, haze, blur. The place behind the people and the side from which they
are mostly seen differ too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lightning_reid.data.people import Colour

Array: TypeAlias = NDArray[np.float64]
Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Camera:
    """What stays the same about a camera: its place, viewpoint, light and response.

    Attributes:
        place: One of ``PLACES``.
        place_seed: Draws what stands there.
        horizon: Where the ground begins, in image heights from the top.
        light: Where the light comes from: -1 the left, 1 the right.
        yaw: How people mostly face it; 0 looking into it.
        pitch: How far it looks down, in radians.
        mix: Colour matrix, 3x3 row by row.
        exposure: Gain.
        gamma: Exponent of the tone curve.
        saturation: Share of the colour that is kept.
        haze: Share of the light that is scattered.
        haze_colour: Colour of that light.
        blur: Radius in image heights.
        noise: Standard deviation, as a share of the full range.
        quality: Of the JPEG files.
    """

    place: str
    place_seed: int
    horizon: float
    light: float
    yaw: float
    pitch: float
    mix: tuple[float, ...]
    exposure: float
    gamma: float
    saturation: float
    haze: float
    haze_colour: tuple[float, ...]
    blur: float
    noise: float
    quality: int


def sample_camera(rng: np.random.Generator) -> Camera:
    """Draws a camera: where it looks, from which side, and how it renders colour and detail."""
    warmth, tint = rng.uniform(-0.17, 0.17), rng.uniform(-0.07, 0.07)
    gains = np.exp([warmth, tint, -warmth])
    leak = rng.uniform(0.0, 0.08, (3, 3))  # of the other channels into each
    mix = gains[:, None] * (np.eye(3) - np.diag(leak.sum(axis=1)) + leak)
    return Camera(
        place=str(rng.choice(PLACES)),
        place_seed=int(rng.integers(2**31)),
        horizon=float(rng.uniform(0.3, 0.62)),
        light=float(rng.uniform(-1.0, 1.0)),
        yaw=float(rng.uniform(-math.pi, math.pi)),
        pitch=float(rng.uniform(0.0, 0.3)),
        mix=tuple(mix.ravel().tolist()),
        exposure=float(np.exp(rng.uniform(-0.22, 0.15))),
        gamma=float(np.exp(rng.uniform(-0.2, 0.2))),
        saturation=float(rng.uniform(0.65, 1.15)),
        haze=float(rng.uniform(0.0, 0.25)),
        haze_colour=tuple(rng.uniform(0.35, 0.75, 3).tolist()),
        blur=float(rng.uniform(0.0, 0.008)),
        noise=float(rng.uniform(0.003, 0.015)),
        quality=int(rng.integers(55, 95)),
    )


def _shade(colour: Colour, gain: float) -> Colour:
    r, g, b = (int(min(255, max(0, channel * gain))) for channel in colour)
    return r, g, b


@dataclass(frozen=True)
class _Easel:
    """A place being painted: ``line`` is the height at which the ground begins."""

    draw: ImageDraw.ImageDraw
    rng: np.random.Generator
    width: int
    height: int
    line: int


Painter: TypeAlias = Callable[[_Easel, Colour], None]


@dataclass(frozen=True)
class _Place:
    """What a place is made of: what stands behind the people, what they stand on."""

    wall: Colour
    floor: Colour
    paint_wall: Painter
    paint_floor: Painter


def _paint_openings(easel: _Easel, wall: Colour, tone: Colour, down_to_floor: float) -> None:
    """Windows and doors: the latter, a share ``down_to_floor`` of them, reach the ground."""
    x = 0.0
    while x < easel.width:
        wide, gap = easel.rng.uniform((0.15, 0.1), (0.3, 0.25)) * easel.height
        top = easel.rng.uniform(0.04, 0.12) * easel.height
        low = easel.line * (1.0 if easel.rng.random() < down_to_floor else 0.7)
        fill = _shade(tone, easel.rng.uniform(0.7, 1.3))
        easel.draw.rectangle((x, top, x + wide, max(low, top + 2)), fill, _shade(wall, 0.6), 2)
        x += wide + gap


def _paint_windows(easel: _Easel, wall: Colour) -> None:
    _paint_openings(easel, wall, (88, 96, 104), 0.3)


def _paint_doors(easel: _Easel, wall: Colour) -> None:
    _paint_openings(easel, wall, (142, 112, 84), 1.0)


def _paint_bricks(easel: _Easel, wall: Colour) -> None:
    row = max(3, easel.height // 32)
    for index, y in enumerate(range(0, easel.line, row)):
        easel.draw.line((0, y, easel.width, y), _shade(wall, 0.8))
        for x in range((index % 2) * row, easel.width, 2 * row):
            easel.draw.line((x, y, x, y + row), _shade(wall, 0.8))


def _paint_trees(easel: _Easel, _: Colour) -> None:
    for _tree in range(3 * easel.width // easel.height):
        x = easel.rng.uniform(0.0, easel.width)
        r = easel.rng.uniform(0.04, 0.1) * easel.height
        y = easel.line - easel.rng.uniform(0.1, 0.35) * easel.height
        easel.draw.rectangle((x - 0.2 * r, y, x + 0.2 * r, easel.line), (86, 66, 48))
        for dx, dy in easel.rng.normal(0.0, r, (6, 2)):
            leaves = _shade((62, 112, 54), easel.rng.uniform(0.7, 1.3))
            easel.draw.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), leaves)


def _paint_parked_cars(easel: _Easel, wall: Colour) -> None:
    h, low = easel.height, easel.line - 0.02 * easel.height
    easel.draw.rectangle((0, easel.line - 0.08 * h, easel.width, easel.line), _shade(wall, 0.65))
    for x in np.arange(easel.rng.uniform(0.0, 0.2) * h, easel.width, 0.5 * h):
        paint = _shade((150, 150, 160), easel.rng.uniform(0.5, 1.2))
        easel.draw.rounded_rectangle((x, low - 0.14 * h, x + 0.36 * h, low), 4, paint)
        easel.draw.rectangle(
            (x + 0.07 * h, low - 0.12 * h, x + 0.29 * h, low - 0.07 * h), (50, 58, 66)
        )


def _paint_tiles(easel: _Easel, floor: Colour) -> None:
    joint, middle = _shade(floor, 0.84), 0.5 * easel.width
    for share in np.linspace(0.0, 1.0, 9) ** 2:
        y = easel.line + share * (easel.height - easel.line)
        easel.draw.line((0, y, easel.width, y), joint, 2)
    for x in np.arange(-2.0, 2.0, 0.3 * easel.height / easel.width) * easel.width:
        far = (middle + 0.35 * x, easel.line)
        easel.draw.line((*far, middle + x, easel.height), joint, 2)


def _paint_lanes(easel: _Easel, floor: Colour) -> None:
    depth = easel.height - easel.line
    kerb = _shade(floor, 1.7)
    easel.draw.rectangle((0, easel.line, easel.width, easel.line + 0.12 * depth), kerb)
    y = easel.line + 0.55 * depth
    for x in np.arange(0.0, easel.width, 0.6 * easel.height):
        mark = (x, y, x + 0.3 * easel.height, y + 0.03 * easel.height)
        easel.draw.rectangle(mark, _shade(floor, 2.2))


def _paint_blades(easel: _Easel, floor: Colour) -> None:
    for _ in range(2 * easel.width):
        x, y = easel.rng.uniform((0.0, easel.line), (easel.width, easel.height))
        tip = (x + easel.rng.normal(0.0, 2.0), y - 0.02 * easel.height)
        easel.draw.line((x, y, *tip), _shade(floor, easel.rng.uniform(0.8, 1.2)))


_PLACES = {
    "pavement": _Place((172, 165, 155), (158, 154, 146), _paint_windows, _paint_tiles),
    "grass": _Place((150, 178, 196), (104, 136, 74), _paint_trees, _paint_blades),
    "corridor": _Place((196, 194, 184), (168, 158, 140), _paint_doors, _paint_tiles),
    "road": _Place((160, 172, 184), (96, 98, 102), _paint_parked_cars, _paint_lanes),
    "bricks": _Place((150, 104, 88), (140, 138, 136), _paint_bricks, _paint_tiles),
}
PLACES = tuple(_PLACES)


@lru_cache(maxsize=64)
def draw_place(camera: Camera, size: tuple[int, int]) -> Image.Image:
    """Draws the place a camera looks at, four images wide so that people stand at many spots.

    Args:
        camera: The camera.
        size: Height and width of a person's image.

    Returns:
        An RGB picture of that height and four times that width. Kept per camera, as every image
        of the camera shows a piece of it; do not write to it.
    """
    place = _PLACES[camera.place]
    rng = np.random.default_rng(camera.place_seed)
    height, width = 2 * size[0], 8 * size[1]
    line = int(camera.horizon * height)
    wall, floor = (_shade(c, rng.uniform(0.85, 1.1)) for c in (place.wall, place.floor))
    image = Image.new("RGB", (width, height), wall)
    easel = _Easel(ImageDraw.Draw(image), rng, width, height, line)
    place.paint_wall(easel, wall)
    for y in range(line, height):  # lighter in the distance
        tone = _shade(floor, 1.08 - 0.2 * (y - line) / (height - line))
        easel.draw.line((0, y, width, y), tone)
    place.paint_floor(easel, floor)
    soft = np.asarray(image.reduce(2), dtype=np.float64)
    mean = soft.mean(axis=(0, 1))  # people stand out from what is far away
    return Image.fromarray((mean + 0.6 * (soft - mean)).astype(np.uint8))


def draw_occluder(image: Image.Image, rng: np.random.Generator) -> None:
    """Paints a pole, a bench or a bush into the foreground of an image, in place."""
    draw = ImageDraw.Draw(image)
    width, height = image.size
    kind = rng.choice(["pole", "bench", "bush"])
    tone = _shade((120, 118, 112), rng.uniform(0.4, 1.3))
    if kind == "pole":
        x, r = rng.uniform(0.1, 0.9) * width, rng.uniform(0.03, 0.07) * width
        draw.rectangle((x - r, 0, x + r, height), _shade(tone, 0.8))
        draw.rectangle((x - 0.5 * r, 0, x + 0.2 * r, height), tone)
    elif kind == "bench":
        y, wood = rng.uniform(0.68, 0.85) * height, _shade((134, 92, 54), rng.uniform(0.65, 1.15))
        start = rng.uniform(-0.6, 0.4) * width
        for offset in (0.0, 0.05, 0.1):
            top = y + offset * height
            draw.rectangle((start, top, start + 1.2 * width, top + 0.035 * height), wood)
        for x in (start + 0.1 * width, start + 1.05 * width):
            draw.rectangle((x, y, x + 0.05 * width, height), _shade(wood, 0.5))
    else:
        x, r = rng.choice([0.0, 1.0]) * width, rng.uniform(0.2, 0.4) * width
        for _ in range(24):
            dx, dy = rng.normal(0.0, 0.45 * r), rng.uniform(0.0, 0.42 * height)
            leaf, s = _shade((58, 104, 50), rng.uniform(0.6, 1.3)), 0.35 * r
            draw.ellipse((x + dx - s, height - dy - s, x + dx + s, height - dy + s), leaf)


def record(picture: Array, camera: Camera, rng: np.random.Generator) -> Pixels:
    """Renders a scene the way a camera records it, with a little exposure jitter.

    Args:
        picture: Colours of the scene ``(H, W, 3)`` from 0 to 1.
        camera: Whose response to apply.
        rng: Source of the jitter and the sensor noise.

    Returns:
        The recorded image ``(H, W, 3)``.
    """
    height, width, _ = picture.shape
    gain = camera.exposure * math.exp(rng.normal(0.0, 0.03))
    colour = picture @ np.reshape(camera.mix, (3, 3)).T * gain
    grey = colour @ np.array([0.3, 0.59, 0.11])
    colour = grey[..., None] + camera.saturation * (colour - grey[..., None])
    colour = colour * (1.0 - camera.haze) + camera.haze * np.array(camera.haze_colour)
    colour = np.clip(colour, 0.0, 1.0) ** camera.gamma
    radius = camera.blur * height * math.exp(rng.normal(0.0, 0.2))
    image = Image.fromarray((255.0 * colour).astype(np.uint8))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float64)
    noise = rng.standard_normal((height, width, 1), dtype=np.float32)
    return np.clip(blurred + 255.0 * camera.noise * noise, 0.0, 255.0).astype(np.uint8)
