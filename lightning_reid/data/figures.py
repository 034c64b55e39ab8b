"""People drawn as jointed figures.

A person is a small skeleton in three dimensions (x to the person's left, y up, z forwards, in
units of a body height) that is turned, projected and painted part by part, the furthest first.
Colour and relief are painted on two layers at twice the final size and reduced together,
so that edges come out smooth and shading costs next to nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lightning_reid.data.people import Colour, Garment, Person, Pose

Array: TypeAlias = NDArray[np.float64]

SUPERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """Where the figure stands on the canvas: pixels per body height, middle and ground line."""

    pose: Pose
    unit: float
    centre: float
    ground: float

    def project(self, x: float, y: float, z: float) -> tuple[Array, float]:
        """Returns the canvas position of a body point and how near it is to the camera."""
        cos, sin = math.cos(self.pose.yaw), math.sin(self.pose.yaw)
        near = z * cos - x * sin
        across = x * cos + z * sin + self.pose.lean * y
        up = y * math.cos(self.pose.pitch) - near * math.sin(self.pose.pitch)
        return np.array([self.centre + self.unit * across, self.ground - self.unit * up]), near

    def girth(self, lateral: Array, depth: Array) -> Array:
        """Returns the half widths in pixels of elliptic cross-sections seen under the yaw."""
        cos, sin = math.cos(self.pose.yaw), math.sin(self.pose.yaw)
        half: Array = self.unit * np.hypot(lateral * cos, depth * sin)
        return half


@dataclass(frozen=True)
class Part:
    """A painted stroke: a spine ``(n, 2)``, half widths ``(n,)``, and how near it is."""

    near: float
    spine: Array
    half: Array
    paint: Garment | Colour
    relief: bool = True

    @cached_property
    def _rim(self) -> Array:
        """From the spine to one side of the outline, across the spine's direction."""
        ends = np.concatenate([self.spine[:1], self.spine, self.spine[-1:]])
        along = ends[2:] - ends[:-2]
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)
        rim: Array = along[:, ::-1] * [-1.0, 1.0] * (self.half / length)[:, None]
        return rim

    def outline(self, share: float = 1.0, shift: float = 0.0) -> list[float]:
        """Returns the outline ``x0, y0, x1, ...``, its width scaled and moved by shares of it."""
        spine, rim = self.spine.copy(), share * self._rim
        spine[:, 0] += shift * self.half
        points: list[float] = np.concatenate([spine + rim, (spine - rim)[::-1]]).ravel().tolist()
        return points


_CAP = np.array([1.0, 0.87, 0.5, 0.0])


def limb(
    start: Array, end: Array, r0: float, r1: float, near: float, paint: Garment | Colour
) -> Part:
    """Returns a tapered limb with round ends."""
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    spine = np.concatenate(
        [start - np.outer(_CAP * r0, along), end + np.outer(_CAP[::-1] * r1, along)]
    )
    half = np.concatenate([r0 * np.sqrt(1 - _CAP**2), r1 * np.sqrt(1 - _CAP[::-1] ** 2)])
    return Part(near, spine, half, paint)


def blob(
    centre: Array, rx: float, ry: float, near: float, paint: Garment | Colour, relief: bool = True
) -> Part:
    """Returns an upright ellipse."""
    angle = np.linspace(0.0, math.pi, 13)
    spine = np.stack([np.full(13, centre[0]), centre[1] - ry * np.cos(angle)], axis=1)
    return Part(near, spine, rx * np.sin(angle), paint, relief)


def pouch(centre: Array, rx: float, ry: float, near: float, paint: Colour) -> Part:
    """Returns an upright bag with rounded corners."""
    levels = np.array([-1.0, -0.9, 0.5, 0.9, 1.0])
    spine = np.stack([np.full(5, centre[0]), centre[1] + ry * levels], axis=1)
    return Part(near, spine, rx * np.array([0.7, 0.85, 1.0, 0.95, 0.8]), paint)


def trunk(
    view: View,
    levels: list[tuple[float, float, float]],
    near: float,
    paint: Garment | Colour,
    front: float = 0.0,
) -> Part:
    """Returns an upright body from ``(y, lateral, depth)`` half widths, smoothed in between."""
    y, lateral, depth = np.array(levels).T
    share = np.linspace(0.0, 1.0, 4 * len(y))
    at = (y[0] - y) / (y[0] - y[-1])
    half = view.girth(np.interp(share, at, lateral), np.interp(share, at, depth))
    start, end = view.project(0.0, y[0], front)[0], view.project(0.0, y[-1], front)[0]
    return Part(near, start + share[:, None] * (end - start), half, paint)


def _shadow(colour: Colour) -> Colour:
    """A dark version of a colour: eyes in a face."""
    r, g, b = (2 * channel // 5 for channel in colour)
    return r, g, b


def _legs(person: Person, view: View) -> list[Part]:
    """Both legs: bare skin and shoe first, then cloth as far as it reaches."""
    parts = []
    pose, wide = view.pose, 0.5 + 0.5 * person.build
    u = view.unit * wide
    for side in (-1.0, 1.0):
        step = pose.stride * math.sin(pose.phase) * side
        low = step - 0.05 - 1.3 * pose.stride * max(0.0, math.cos(pose.phase) * side)
        x = side * 0.048 * wide
        knee_y, knee_z = 0.5 - 0.235 * math.cos(step), 0.235 * math.sin(step)
        foot_y, foot_z = knee_y - 0.225 * math.cos(low), knee_z + 0.225 * math.sin(low)
        hip, hip_near = view.project(x, 0.5, 0.0)
        knee, _ = view.project(x, knee_y, knee_z)
        ankle, ankle_near = view.project(x * 0.9, foot_y, foot_z)
        heel, _ = view.project(x * 0.9, foot_y - 0.012, foot_z - 0.01)
        toe, _ = view.project(x * 1.2, foot_y - 0.018, foot_z + 0.085)
        near = 0.5 * (hip_near + ankle_near) - 0.3  # behind the torso's hem whatever the stride
        parts += [
            limb(hip, knee, 0.052 * u, 0.036 * u, near, person.skin),
            limb(knee, ankle, 0.035 * u, 0.022 * u, near, person.skin),
            limb(heel, toe, 0.027 * u, 0.021 * u, near + 1e-3, person.shoes),
        ]
        if person.bottom_kind == "trousers":
            parts.append(limb(knee, ankle, 0.043 * u, 0.034 * u, near, person.bottom))
        if person.bottom_kind in ("trousers", "shorts"):
            end = hip + (knee - hip) * min(1.0, 2.0 * person.leg)
            parts.append(limb(hip, end, 0.062 * u, 0.045 * u, near, person.bottom))
    return parts


def _torso(person: Person, view: View) -> list[Part]:
    """The trunk from neck to hem over waist or skirt, and what the front shows."""
    b, hem, facing = person.build, person.hem, math.cos(view.pose.yaw)
    below = [(0.54, 0.088 * b, 0.065 * b), (0.48, 0.098 * b, 0.075 * b)]
    if person.bottom_kind in ("skirt", "dress"):
        below = [(0.54, 0.085 * b, 0.065 * b), (0.5 - 0.5 * person.leg, 0.135 * b, 0.115 * b)]
    flare = 0.05 * (0.53 - hem)
    above = [
        (0.845, 0.03, 0.03),
        (0.835, 0.06 * b, 0.045 * b),
        (0.822, 0.1 * b, 0.055 * b),
        (0.79, 0.122 * b, 0.066 * b),
        (0.72, 0.11 * b, 0.08 * b),
        (0.62, 0.095 * b, 0.07 * b),
        (0.54, 0.098 * b, 0.074 * b),
        (hem, 0.104 * b + flare, 0.082 * b + flare),
    ]
    parts = [trunk(view, below, -0.12, person.bottom), trunk(view, above, 0.0, person.top)]
    if person.inner is not None and facing > 0.15:  # an open jacket
        band = [(0.83, 0.03 * facing, 0.0), (0.7, 0.042 * facing, 0.0), (hem, 0.05 * facing, 0.0)]
        parts.append(trunk(view, band, 0.0, person.inner, front=0.07 * b))
    elif person.top.pattern == "logo" and abs(facing) > 0.25:
        centre, _ = view.project(0.0, 0.7, math.copysign(0.07 * b, facing))
        rx, ry = 0.055 * view.unit * abs(facing), 0.05 * view.unit
        parts.append(blob(centre, rx, ry, 0.0, person.top.accent))
    return parts


def _arms(person: Person, view: View) -> list[Part]:
    """Both arms, swinging against the legs, with their sleeves."""
    parts = []
    u = view.unit * (0.6 + 0.4 * person.build)
    sleeve: Garment | Colour = person.sleeve_colour or person.top
    for side in (-1.0, 1.0):
        swing = -view.pose.swing * math.sin(view.pose.phase) * side
        x = side * 0.098 * person.build
        shoulder, near = view.project(x, 0.782, 0.0)
        elbow_y, elbow_z = 0.785 - 0.165 * math.cos(swing), 0.165 * math.sin(swing)
        elbow, _ = view.project(x + side * 0.03, elbow_y, elbow_z)
        bend = swing + 0.25 + 0.4 * max(0.0, swing)
        hand, far = view.project(
            x + side * 0.032, elbow_y - 0.15 * math.cos(bend), elbow_z + 0.15 * math.sin(bend)
        )
        near = 0.5 * (near + far) + 0.02
        parts += [
            limb(shoulder, elbow, 0.036 * u, 0.028 * u, near, person.skin),
            limb(elbow, hand, 0.027 * u, 0.02 * u, near, person.skin),
            blob(hand, 0.024 * u, 0.028 * u, near, person.skin),
        ]
        if person.sleeve >= 1.0:
            cuff = elbow + (hand - elbow) * 0.9
            parts.append(limb(elbow, cuff, 0.034 * u, 0.03 * u, near, sleeve))
        if person.sleeve > 0.0:
            end = shoulder + (elbow - shoulder) * min(1.0, 2.0 * person.sleeve)
            parts.append(limb(shoulder, end, 0.04 * u, 0.036 * u, near, sleeve))
    return parts


def _head(person: Person, view: View) -> list[Part]:
    """Neck, hair, face and hat; the face slides round the head with the yaw."""
    u = view.unit
    facing, side = math.cos(view.pose.yaw), math.sin(view.pose.yaw)
    neck, _ = view.project(0.0, 0.83, 0.0)
    centre, _ = view.project(0.0, 0.92, 0.012)
    chin, _ = view.project(0.0, 0.87, 0.012)
    rx, ry = 0.055 * u, 0.07 * u
    near = 0.3
    parts = [limb(neck, chin, 0.032 * u, 0.03 * u, near, person.skin)]
    mane = person.hair_colour
    if person.hair == "long":
        ends, _ = view.project(0.0, 0.8, -0.035)
        top, _ = view.project(0.0, 0.92, -0.02)
        behind = -0.03 if facing > 0 else near  # the torso, that is, or in front of the neck
        parts.append(limb(top, ends, 0.062 * u, 0.055 * u, behind, mane))
    if person.hair == "bun":
        knot, _ = view.project(0.0, 0.965, -0.06)
        parts.insert(0 if facing > 0 else len(parts), blob(knot, 0.03 * u, 0.03 * u, near, mane))
    swell = {"afro": 1.32, "bald": 0.0}.get(person.hair, 1.08)
    if swell > 0.0:
        crown = centre - np.array([0.0, 0.012 * u])
        parts.append(blob(crown, swell * rx, swell * ry, near, mane))
    else:
        parts.append(blob(centre, rx, ry, near, person.skin))
    if facing > -0.45:
        show = min(1.0, 0.55 + 0.45 * facing)
        face = centre + np.array([side * rx * 0.38, 0.016 * u])
        parts.append(blob(face, rx * 0.88 * show, ry * 0.84, near, person.skin))
        for eye in (-0.45, 0.45):
            at = view.pose.yaw + eye
            if math.cos(at) > 0.25:
                spot = centre + np.array([math.sin(at) * rx * 0.85, 0.008 * u])
                parts.append(blob(spot, 0.007 * u, 0.006 * u, near, _shadow(person.skin), False))
    if person.hat != "none":
        lid = centre - np.array([0.0, 0.04 * u])
        parts.append(blob(lid, rx * 1.14, ry * 0.66, near, person.hat_colour))
        if person.hat == "cap" and facing > -0.6:
            brim = centre + np.array([side * rx * 1.1, -0.018 * u])
            parts.append(
                blob(brim, rx * (0.6 + 0.35 * abs(facing)), 0.013 * u, near, person.hat_colour)
            )
    return parts


def _bag(person: Person, view: View) -> list[Part]:
    """The bag with its straps: a backpack shows from behind, its straps from the front."""
    u, b, paint = view.unit, person.build, person.bag_colour
    facing, side = math.cos(view.pose.yaw), math.sin(view.pose.yaw)
    if person.bag == "backpack":
        levels = [(0.82, 0.06, 0.03), (0.79, 0.085, 0.05), (0.6, 0.09, 0.06), (0.56, 0.07, 0.05)]
        parts = [trunk(view, levels, -0.14 * facing, paint, front=-0.1 * b)]
        for x in (-1.0, 1.0) if facing > 0.1 else ():
            high, _ = view.project(x * 0.065 * b, 0.83, 0.04)
            low, _ = view.project(x * 0.08 * b, 0.64, 0.07 * b)
            parts.append(limb(high, low, 0.013 * u, 0.013 * u, 0.015, paint))
        return parts
    if person.bag == "shoulder":
        high, _ = view.project(-person.bag_side * 0.07 * b, 0.83, 0.0)
        chest, _ = view.project(0.0, 0.68, math.copysign(0.07 * b, facing))
        low, near = view.project(person.bag_side * 0.11 * b, 0.52, 0.0)
        wide = u * (0.02 + math.hypot(0.035 * facing, 0.085 * side))
        return [
            limb(high, chest, 0.01 * u, 0.01 * u, 0.015, paint),
            limb(chest, low, 0.01 * u, 0.01 * u, 0.015, paint),
            pouch(low, wide, 0.06 * u, near + 0.03, paint),
        ]
    if person.bag == "handbag":
        grip, _ = view.project(person.bag_side * 0.14 * b, 0.5, 0.02)
        low, near = view.project(person.bag_side * 0.15 * b, 0.41, 0.02)
        wide = u * (0.015 + math.hypot(0.04 * facing, 0.09 * side))
        return [
            limb(grip, low, 0.012 * u, 0.02 * u, near + 0.05, paint),
            pouch(low, wide, 0.055 * u, near + 0.05, paint),
        ]
    return []


def _texture(garment: Garment, view: View, size: tuple[int, int]) -> Image.Image:
    """The cloth of a garment over the whole canvas, fixed to the body's chest."""
    texture = Image.new("RGB", size, garment.colour)
    draw = ImageDraw.Draw(texture)
    width, height = size
    step = garment.pitch * view.unit
    chest, _ = view.project(0.0, 0.8, 0.0)
    if garment.pattern in ("across", "checks"):
        for y in np.arange(chest[1] % (2 * step) - 2 * step, height, 2 * step):
            draw.rectangle((0, y, width, y + step), garment.accent)
    if garment.pattern in ("along", "checks"):
        turn = view.pose.yaw * 0.1 * view.unit
        share = 0.8 if garment.pattern == "along" else 0.5
        for x in np.arange((chest[0] + turn) % (2 * step) - 2 * step, width, 2 * step * share):
            draw.rectangle((x, 0, x + step * share * 0.9, height), garment.accent)
    if garment.pattern == "halves":
        middle, _ = view.project(0.0, 0.68, 0.0)
        draw.rectangle((0, middle[1], width, height), garment.accent)
    return texture


def figure_parts(person: Person, view: View) -> list[Part]:
    """Returns all parts of a figure, the furthest first."""
    parts = [
        *_legs(person, view),
        *_torso(person, view),
        *_arms(person, view),
        *_bag(person, view),
        *_head(person, view),
    ]
    return sorted(parts, key=lambda part: part.near)


def draw_figure(
    person: Person, view: View, size: tuple[int, int], light: float = 0.0
) -> tuple[Array, Array]:
    """Paints a person on an empty canvas.

    Args:
        person: Who to paint.
        view: The pose, and where on the image the figure stands, in pixels of the final image.
        size: Height and width of the image.
        light: Where the light comes from: -1 the left, 1 the right.

    Returns:
        Colours ``(H, W, 3)`` and cover ``(H, W)``, both from 0 to 1.
    """
    scale = SUPERSAMPLING
    fine = View(view.pose, view.unit * scale, view.centre * scale, view.ground * scale)
    canvas = (size[1] * scale, size[0] * scale)
    colour = Image.new("RGBA", canvas)
    relief = Image.new("L", canvas, 128)
    paint, shade = ImageDraw.Draw(colour), ImageDraw.Draw(relief)
    textures: dict[Garment, Image.Image] = {}
    for part in figure_parts(person, fine):
        outline = part.outline()
        if isinstance(part.paint, Garment) and part.paint.pattern not in ("plain", "logo"):
            if part.paint not in textures:
                textures[part.paint] = _texture(part.paint, fine, canvas)
            mask = Image.new("L", canvas)
            ImageDraw.Draw(mask).polygon(outline, 255)
            colour.paste(textures[part.paint], mask=mask)
        else:
            flat = part.paint.colour if isinstance(part.paint, Garment) else part.paint
            paint.polygon(outline, (*flat, 255))
        if part.relief:
            shade.polygon(outline, 84)
            shade.polygon(part.outline(0.78, 0.12 * light), 116)
            shade.polygon(part.outline(0.45, 0.3 * light), 140)
    small = np.asarray(colour.reduce(scale), dtype=np.float64) / 255.0
    soft = relief.reduce(scale).filter(ImageFilter.GaussianBlur(0.8))
    lit = np.asarray(soft, dtype=np.float64)[..., None] / 128.0
    return np.clip(small[..., :3] * lit, 0.0, 1.0), small[..., 3]
