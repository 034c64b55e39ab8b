"""Cameras: the place each one looks at and how its pictures come out.

What differs most between two cameras is a global matter, as in the field: white balance,
exposure, gamma, saturation, haze, blur. The place behind the people and the side from which they
are mostly seen differ too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lightning_reid.data.figures import Array, Colour

Pixels: TypeAlias = NDArray[np.uint8]

PLACES = ("pavement", "grass", "corridor", "road", "bricks")


@dataclass(frozen=True)
class Camera:
    """What stays the same about a camera: its place, viewpoint, light and response.

    ``mix`` is a 3x3 colour matrix, row by row; ``blur`` is in image heights; the rest are shares of
    the full range. ``place_seed`` draws the objects of the place.
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
        exposure=float(np.exp(rng.uniform(-0.18, 0.12))),
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


def _backdrop(
    place: str, rng: np.random.Generator, size: tuple[int, int], line: int
) -> Image.Image:
    """The upper half of a place: buildings, trees, doors; ``line`` is where the ground begins."""
    height, width = size
    base: Colour = {
        "pavement": (172, 165, 155),
        "grass": (150, 178, 196),
        "corridor": (196, 194, 184),
        "road": (160, 172, 184),
        "bricks": (150, 104, 88),
    }[place]
    image = Image.new("RGB", (width, height), _shade(base, rng.uniform(0.85, 1.1)))
    draw = ImageDraw.Draw(image)
    if place in ("pavement", "corridor"):
        x = 0.0
        while x < width:
            wide = rng.uniform(0.15, 0.3) * height
            gap = rng.uniform(0.1, 0.25) * height
            top = rng.uniform(0.04, 0.12) * height
            low = line if place == "corridor" or rng.random() < 0.3 else 0.7 * line
            tone = (88, 96, 104) if place == "pavement" else (142, 112, 84)
            frame = (x, top, x + wide, max(low, top + 2))
            draw.rectangle(frame, _shade(tone, rng.uniform(0.7, 1.3)), _shade(base, 0.6), 2)
            x += wide + gap
    elif place == "bricks":
        row = max(3, height // 32)
        for index, y in enumerate(range(0, line, row)):
            draw.line((0, y, width, y), _shade(base, 0.8))
            for x in range((index % 2) * row, width, 2 * row):
                draw.line((x, y, x, y + row), _shade(base, 0.8))
    elif place == "grass":
        for _ in range(width * 3 // height):
            x, r = rng.uniform(0, width), rng.uniform(0.08, 0.2) * height
            y = line - rng.uniform(0.1, 0.35) * height
            draw.rectangle((x - 0.1 * r, y, x + 0.1 * r, line), (86, 66, 48))
            for _ in range(6):
                dx, dy = rng.normal(0, 0.5 * r, 2)
                tone = _shade((62, 112, 54), rng.uniform(0.7, 1.3))
                draw.ellipse((x + dx - r / 2, y + dy - r / 2, x + dx + r / 2, y + dy + r / 2), tone)
    else:
        draw.rectangle((0, line - 0.08 * height, width, line), (104, 108, 102))
        for x in np.arange(rng.uniform(0, 0.2) * height, width, 0.5 * height):
            tone = _shade((150, 150, 160), rng.uniform(0.5, 1.2))
            low, wide = line - 0.02 * height, 0.36 * height
            draw.rounded_rectangle((x, low - 0.14 * height, x + wide, low), 4, tone)
            draw.rectangle(
                (x + 0.2 * wide, low - 0.12 * height, x + 0.8 * wide, low - 0.07 * height),
                (50, 58, 66),
            )
    return image


def _ground(
    draw: ImageDraw.ImageDraw,
    place: str,
    rng: np.random.Generator,
    size: tuple[int, int],
    line: int,
) -> None:
    """The floor in perspective, lighter in the distance."""
    height, width = size
    base: Colour = {
        "pavement": (158, 154, 146),
        "grass": (104, 136, 74),
        "corridor": (168, 158, 140),
        "road": (96, 98, 102),
        "bricks": (140, 138, 136),
    }[place]
    base = _shade(base, rng.uniform(0.85, 1.1))
    for y in range(line, height):
        draw.line((0, y, width, y), _shade(base, 1.08 - 0.2 * (y - line) / (height - line)))
    if place in ("pavement", "corridor", "bricks"):
        depth = rng.uniform(1.5, 3.0)
        for index in range(1, 12):
            y = line + (height - line) * depth / (depth + 0.6 * index) * 1.2
            draw.line((0, y, width, y), _shade(base, 0.84), 2)
        for x in np.arange(-2 * width, 3 * width, 0.3 * height):
            draw.line((width / 2 + (x - width / 2) * 0.35, line, x, height), _shade(base, 0.84), 2)
    elif place == "road":
        kerb = line + 0.12 * (height - line)
        draw.rectangle((0, line, width, kerb), _shade((168, 166, 160), 1.0))
        for x in np.arange(0, width, 0.6 * height):
            y = line + 0.55 * (height - line)
            draw.rectangle((x, y, x + 0.3 * height, y + 0.03 * height), (214, 212, 204))
    else:
        for _ in range(width * 2):
            x, y = rng.uniform(0, width), rng.uniform(line, height)
            draw.line(
                (x, y, x + rng.normal(0, 2), y - 0.02 * height), _shade(base, rng.uniform(0.8, 1.2))
            )


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
    rng = np.random.default_rng(camera.place_seed)
    fine = (size[0] * 2, size[1] * 8)
    line = int(camera.horizon * fine[0])
    image = _backdrop(camera.place, rng, fine, line)
    _ground(ImageDraw.Draw(image), camera.place, rng, fine, line)
    soft = np.asarray(image.reduce(2), dtype=np.float64)
    mean = soft.mean(axis=(0, 1))  # people stand out from what is far away
    return Image.fromarray((mean + 0.55 * (soft - mean)).astype(np.uint8))


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
    gain = camera.exposure * math.exp(rng.normal(0.0, 0.02))
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
