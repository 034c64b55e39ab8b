"""Who a person is and how they stand: drawn from random numbers, not yet painted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Colour: TypeAlias = tuple[int, int, int]

SKIN = ((236, 200, 174), (222, 178, 146), (205, 155, 120), (160, 110, 80), (105, 70, 50))
HAIR = ((25, 20, 18), (60, 38, 25), (105, 68, 38), (200, 165, 95), (150, 150, 150), (150, 70, 35))
CLOTH = (
    (240, 240, 236),  # white
    (165, 168, 170),  # grey
    (30, 30, 34),  # black
    (200, 30, 38),  # red
    (240, 125, 30),  # orange
    (242, 205, 40),  # yellow
    (70, 165, 60),  # green
    (25, 85, 55),  # dark green
    (30, 160, 170),  # teal
    (95, 165, 230),  # sky blue
    (35, 70, 190),  # blue
    (130, 60, 170),  # purple
    (238, 130, 175),  # pink
    (125, 75, 40),  # brown
    (215, 190, 145),  # beige
)
PATTERNS = ("plain", "across", "along", "checks", "halves", "logo")
PATTERN_ODDS = (0.44, 0.16, 0.10, 0.10, 0.10, 0.10)


@dataclass(frozen=True)
class Garment:
    """A piece of clothing: two colours, one of ``PATTERNS``, its pitch in body heights."""

    colour: Colour
    accent: Colour
    pattern: str = "plain"
    pitch: float = 0.07


@dataclass(frozen=True)
class Person:
    """What stays the same about a person in every image.

    Attributes:
        height: Share of the usual height.
        build: Share of the usual width.
        skin: Colour of face, arms and legs.
        hair: ``short``, ``long``, ``bun``, ``bald`` or ``afro``.
        hair_colour: Colour of the hair.
        hat: ``none``, ``cap`` or ``beanie``.
        hat_colour: Colour of the hat.
        top: Shirt, jacket or upper part of a dress.
        hem: Where the top ends, in body heights above the ground.
        sleeve: Covered share of the arm; 1 to the wrist.
        sleeve_colour: Colour of sleeves unlike the top.
        inner: Colour of the shirt under an open jacket.
        bottom: What the legs wear.
        bottom_kind: ``trousers``, ``shorts``, ``skirt`` or ``dress``.
        leg: Covered share of the leg; 1 to the ankle.
        shoes: Colour of the shoes.
        bag: ``none``, ``backpack``, ``shoulder`` or ``handbag``.
        bag_colour: Colour of the bag.
        bag_side: -1 on the right, 1 on the left.
    """

    height: float
    build: float
    skin: Colour
    hair: str
    hair_colour: Colour
    hat: str
    hat_colour: Colour
    top: Garment
    hem: float
    sleeve: float
    sleeve_colour: Colour | None
    inner: Colour | None
    bottom: Garment
    bottom_kind: str
    leg: float
    shoes: Colour
    bag: str
    bag_colour: Colour
    bag_side: float


@dataclass(frozen=True)
class Pose:
    """What changes from image to image; angles in radians.

    Attributes:
        yaw: Turn about the vertical; 0 faces the camera.
        pitch: How far the camera looks down.
        stride: Widest angle of the legs.
        swing: Widest angle of the arms.
        phase: Where in a step the person is.
        lean: Sideways slant.
    """

    yaw: float
    pitch: float
    stride: float
    swing: float
    phase: float
    lean: float


def sample_person(rng: np.random.Generator) -> Person:
    """Draws the appearance of a person: build, hair, clothes, bag."""

    def pick(colours: tuple[Colour, ...], jitter: float = 10.0) -> Colour:
        colour = np.array(colours[rng.integers(len(colours))]) + rng.normal(0.0, jitter, 3)
        r, g, b = np.clip(colour, 0, 255).astype(int).tolist()
        return r, g, b

    def garment(odds: tuple[float, ...]) -> Garment:
        pattern = PATTERNS[rng.choice(len(PATTERNS), p=odds)]
        return Garment(pick(CLOTH), pick(CLOTH), pattern, float(rng.uniform(0.05, 0.1)))

    bottom_kind = str(
        rng.choice(["trousers", "shorts", "skirt", "dress"], p=[0.55, 0.2, 0.15, 0.1])
    )
    top = garment(PATTERN_ODDS)
    bottom = garment((0.88, 0.06, 0.06, 0.0, 0.0, 0.0)) if bottom_kind != "dress" else top
    leg = {"trousers": 1.0, "shorts": 0.45, "skirt": 0.42, "dress": 0.5}[bottom_kind]
    return Person(
        height=float(rng.uniform(0.9, 1.06)),
        build=float(rng.uniform(0.85, 1.3)),
        skin=pick(SKIN, 4.0),
        hair=str(
            rng.choice(["short", "long", "bun", "bald", "afro"], p=[0.4, 0.3, 0.12, 0.08, 0.1])
        ),
        hair_colour=pick(HAIR, 6.0),
        hat=str(rng.choice(["none", "cap", "beanie"], p=[0.76, 0.14, 0.1])),
        hat_colour=pick(CLOTH),
        top=top,
        hem=float(rng.choice([0.52, 0.48, 0.38, 0.3], p=[0.3, 0.45, 0.15, 0.1])),
        sleeve=float(rng.choice([0.0, 0.42, 1.0], p=[0.08, 0.4, 0.52])),
        sleeve_colour=pick(CLOTH) if rng.random() < 0.15 else None,
        inner=pick(CLOTH) if rng.random() < 0.3 else None,
        bottom=bottom,
        bottom_kind=bottom_kind,
        leg=leg * float(rng.uniform(0.92, 1.08)) if leg < 1.0 else 1.0,
        shoes=pick(CLOTH),
        bag=str(rng.choice(["none", "backpack", "shoulder", "handbag"], p=[0.4, 0.3, 0.18, 0.12])),
        bag_colour=pick(CLOTH),
        bag_side=float(rng.choice([-1.0, 1.0])),
    )


def sample_pose(rng: np.random.Generator, yaw: float, pitch: float) -> Pose:
    """Draws a walking pose about a typical ``yaw``; some people turn, some walk back."""
    turn = rng.choice([0.0, math.pi, rng.uniform(-math.pi, math.pi)], p=[0.74, 0.14, 0.12])
    return Pose(
        yaw=float(yaw + turn + rng.normal(0.0, 0.4)),
        pitch=float(pitch + rng.normal(0.0, 0.02)),
        stride=float(rng.uniform(0.05, 0.5)),
        swing=float(rng.uniform(0.05, 0.55)),
        phase=float(rng.uniform(-math.pi, math.pi)),
        lean=float(rng.normal(0.0, 0.015)),
    )
