"""Simulated photos of a card under named conditions of graded difficulty, for the benchmark of a whole recognizer.

``capture`` simulates photos that the card nearly fills. Here the card is anywhere in a larger frame, so that it must be
detected first. Photos are drawn with OpenCV; training views come from other code, so that a network is not measured on
the simulation that it was trained on.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pokeflow import PokeflowError
from pokeflow_cards.scans import ASPECT

Range = tuple[float, float]
NONE: Range = (0.0, 0.0)
FRAME = (480, 640)
"""Width and height of a photo in pixels."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Ranges of the effects in a photo; each value is drawn uniformly from its range.

    Attributes:
        height: Height of the card as a share of the frame's height, before it is turned and tilted.
        turn: Angle in the plane of the picture, in degrees, either way.
        quarters: Quarter turns to choose from.
        tilt: Angle out of the plane of the picture, in degrees, either way, around both axes.
        corners: Error of each corner of a tight crop, as a share of the card's size; None: the frame is not cropped.
        cover: Share of the card that something covers.
        glare: Brightness of a lamp's reflection, 0 to 1.
        foil: Strength of a rainbow sheen, 0 to 1.
        sleeve: Opacity of a sleeve around the card, 0 to 1.
        blur: Standard deviation of the blur in pixels of the photo.
        noise: Standard deviation of the sensor's noise, values in [0, 1].
        jpeg: Loss of quality, 100 minus JPEG's quality.
        cast: Strength of a colour cast and of wrong exposure, 0 to 1.
        shade: Strength of a slope of light, 0 to 1.

    """

    height: Range = (0.72, 0.85)
    turn: Range = NONE
    quarters: tuple[int, ...] = (0,)
    tilt: Range = NONE
    corners: Range | None = None
    cover: Range = NONE
    glare: Range = NONE
    foil: Range = NONE
    sleeve: Range = NONE
    blur: Range = (0.3, 0.6)
    noise: Range = (0.004, 0.01)
    jpeg: Range = (8.0, 15.0)
    cast: Range = (0.0, 0.1)
    shade: Range = (0.0, 0.15)


_MIXED = Condition(
    height=(0.5, 0.85), turn=(0, 12), tilt=(0, 15), cover=(0, 0.1), glare=(0, 0.5), foil=(0, 0.3), sleeve=(0, 0.3),
    blur=(0.4, 1.3), noise=(0.005, 0.02), jpeg=(10, 35), cast=(0, 0.4), shade=(0, 0.4),
)  # fmt: skip

CONDITIONS: Mapping[str, Condition] = {
    "crop_0": Condition(corners=(0, 0)),
    "crop_2": Condition(corners=(0, 0.02)),
    "crop_4": Condition(corners=(0, 0.04)),
    "crop_8": Condition(corners=(0, 0.08)),
    "loose": Condition(height=(0.45, 0.7), tilt=(0, 8)),
    "turned_15": Condition(turn=(0, 15)),
    "turned_90": Condition(quarters=(1, 3), height=(0.55, 0.7)),
    "turned_180": Condition(quarters=(2,)),
    "tilted_30": Condition(tilt=(15, 30), height=(0.6, 0.8)),
    "glare": Condition(glare=(0.5, 1)),
    "foil": Condition(foil=(0.4, 1)),
    "sleeve": Condition(sleeve=(0.2, 0.6), glare=(0.2, 0.6)),
    "blur": Condition(blur=(1.5, 3)),
    "noise": Condition(noise=(0.04, 0.1)),
    "jpeg": Condition(jpeg=(70, 90)),
    "cast": Condition(cast=(0.5, 1), shade=(0.2, 0.6)),
    "covered_10": Condition(cover=(0.1, 0.1)),
    "covered_20": Condition(cover=(0.2, 0.2)),
    "covered_40": Condition(cover=(0.4, 0.4)),
    "mixed": _MIXED,
    "hard": replace(
        _MIXED, height=(0.4, 0.8), turn=(0, 30), tilt=(5, 28), cover=(0, 0.3), glare=(0.1, 0.9), foil=(0, 0.7),
        sleeve=(0, 0.6), blur=(0.8, 2.4), noise=(0.01, 0.05), jpeg=(20, 65), cast=(0.1, 0.8), shade=(0.1, 0.7),
    ),
}  # fmt: skip
"""Conditions by name, single effects first, each alone; ``mixed`` is an ordinary photo, ``hard`` a bad one."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo as a JPEG, and the corners of its card: float 4×2 as (x, y) in pixels, from the card's upper left on."""

    jpeg: bytes
    corners: np.ndarray


def render(card: np.ndarray, condition: Condition, rng: np.random.Generator) -> Photo:
    """Render one photo of a card.

    Args:
        card: The clean card, uint8 H×W×3 RGB, upright.
        condition: Ranges of its effects.
        rng: Random generator that decides everything else.

    """
    import cv2

    draw = _Draw(rng)
    picture = _finish(card, condition, draw)
    scene = background(rng)
    corners = _corners(condition, draw)
    if condition.sleeve != NONE:
        _lay_sleeve(scene, corners, draw.within(condition.sleeve))
    height, width = card.shape[:2]
    size = float(np.linalg.norm(corners[3] - corners[0]))
    if (ratio := size / height) < 1:
        # Averaged first: a bilinear look-up would skip pixels of a card that is drawn smaller.
        shape = (max(8, round(width * ratio)), max(8, round(height * ratio)))
        picture = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)
    exposed = _expose(_composite(scene, picture, corners, draw), condition, draw)
    if condition.corners is not None:
        exposed, corners = _crop(exposed, corners, draw.within(condition.corners), draw)
    return Photo(_encode(exposed, draw.within(condition.jpeg)), corners)


def render_empty(condition: Condition, rng: np.random.Generator) -> bytes:
    """Render a photo without a card, as a JPEG: the table, and things that may be on it."""
    draw = _Draw(rng)
    return _encode(_expose(background(rng).astype(np.float32), condition, draw), draw.within(condition.jpeg))


class _Draw:
    """Random values from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def within(self, bounds: Range) -> float:
        return float(self.rng.uniform(*bounds))

    def either_way(self, bounds: Range) -> float:
        return self.within(bounds) * float(self.rng.choice((-1.0, 1.0)))


def _corners(condition: Condition, draw: _Draw) -> np.ndarray:
    """Return the corners of the card in the frame: turned, tilted in space, seen through a pinhole, wholly inside."""
    width, height = FRAME
    tall = draw.within(condition.height) * height
    flat = np.array([[-ASPECT, -1, 0], [ASPECT, -1, 0], [ASPECT, 1, 0], [-ASPECT, 1, 0]]) / 2 * tall
    yaw, pitch = (math.radians(draw.either_way(condition.tilt)) for _ in range(2))
    roll = math.radians(draw.either_way(condition.turn) + 90 * int(draw.rng.choice(condition.quarters)))
    solid = flat @ _rotation(roll, 0, 1).T @ _rotation(yaw, 0, 2).T @ _rotation(pitch, 1, 2).T
    distance = 2.2 * height
    corners = solid[:, :2] * (distance / (distance + solid[:, 2:]))
    low, high = corners.min(0), corners.max(0)
    shrink = min(1.0, *(0.96 * np.array([width, height]) / (high - low)))
    corners, low, high = corners * shrink, low * shrink, high * shrink
    free = np.array([width, height]) - (high - low)
    # The mean of two draws: people hold the card near the middle.
    return np.asarray(corners - low + draw.rng.random((2, 2)).mean(0) * free, np.float32)


def _rotation(angle: float, a: int, b: int) -> np.ndarray:
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = math.cos(angle)
    matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix


def background(rng: np.random.Generator) -> np.ndarray:
    """Draw a table, uint8 H×W×3: plain, clouded or grained, on some tables with things whose edges look like cards."""
    import cv2

    width, height = FRAME
    base = rng.uniform(20, 225) + rng.normal(0, 18, 3)
    other = base + rng.uniform(-80, 80) + rng.normal(0, 15, 3)
    kind = rng.integers(3)
    rows, columns = [(2, 2), (int(rng.integers(3, 40)),) * 2, (int(rng.integers(2, 6)), int(rng.integers(30, 90)))][
        kind
    ]
    if rng.random() < 0.5:
        rows, columns = columns, rows
    grain = cv2.resize(rng.random((rows, columns), np.float32), FRAME, interpolation=cv2.INTER_CUBIC)[..., None]
    table = base * (1 - grain) + other * grain
    table += cv2.resize(rng.normal(0, rng.uniform(0, 12), (height // 2, width // 2)).astype(np.float32), FRAME)[
        ..., None
    ]
    table = np.ascontiguousarray(table.clip(0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.5 else 0):
        center, size = rng.uniform((0, 0), FRAME), rng.uniform(60, 420, 2)
        box = cv2.boxPoints((tuple(center.tolist()), tuple(size.tolist()), float(rng.uniform(0, 180))))
        cv2.fillPoly(table, [box.astype(np.int32)], tuple(rng.uniform(0, 255, 3).tolist()), cv2.LINE_AA)
    return table


def _finish(card: np.ndarray, condition: Condition, draw: _Draw) -> np.ndarray:
    """Return the card with foil, glare and what covers it, uint8 of the same shape."""
    height, width = card.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    picture = card.astype(np.float32)
    if (foil := draw.within(condition.foil)) > 0:
        angle, waves = draw.within((0, math.pi)), draw.within((1, 5))
        phase = (x * math.cos(angle) + y * math.sin(angle)) * waves
        hue = np.stack([127 + 127 * np.cos(2 * math.pi * (phase + shift)) for shift in (0, 1 / 3, 2 / 3)], -1)
        share = (0.6 * foil * _spot(x, y, draw, (0.3, 1.0), (0.15, 0.6)))[..., None]
        picture += (hue - picture) * share
    if (glare := draw.within(condition.glare)) > 0:
        for _ in range(int(draw.rng.integers(1, 4))):
            picture += (255 - picture) * (glare * _spot(x, y, draw, (0.08, 0.5), (0.04, 0.2)))[..., None]
    picture = picture.clip(0, 255).astype(np.uint8)
    if (cover := draw.within(condition.cover)) > 0:
        picture = _cover(picture, cover, draw)
    return picture


def _spot(x: np.ndarray, y: np.ndarray, draw: _Draw, long: Range, wide: Range) -> np.ndarray:
    """Return a soft ellipse somewhere on the card, float32 H×W, 1 in its middle."""
    angle, cx, cy = draw.within((0, math.pi)), draw.within((0, ASPECT)), draw.within((0, 1))
    u = ((x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)) / draw.within(long)
    v = ((y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)) / draw.within(wide)
    return np.asarray(np.exp(-(u * u + v * v)), np.float32)


def _cover(card: np.ndarray, share: float, draw: _Draw) -> np.ndarray:
    """Return the card with so large a share of it covered from one side: by a hand's colour, paper or a pattern."""
    height, width = card.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    angle = draw.within((0, 2 * math.pi))
    along = x * math.cos(angle) + y * math.sin(angle)
    # A wavy edge, whose place makes the covered share exact.
    along += 0.06 * np.sin((y * math.cos(angle) - x * math.sin(angle)) * draw.within((3, 12)) + draw.within((0, 6)))
    covered = along <= np.quantile(along, share)
    color = np.array([draw.within((20, 235)) for _ in range(3)])
    if draw.rng.random() < 0.4:
        color = np.array([215, 160, 130]) * draw.within((0.35, 1.1))
    shade = 1 + 0.15 * np.sin(along * draw.within((4, 30)))[..., None]
    return np.where(covered[..., None], (color * shade).clip(0, 255), card).astype(np.uint8)


def _lay_sleeve(scene: np.ndarray, corners: np.ndarray, opacity: float) -> None:
    """Draw a sleeve, a little larger than the card, onto the table."""
    import cv2

    middle = corners.mean(0)
    outline = (middle + (corners - middle) * 1.05).round().astype(np.int32)
    layer = scene.copy()
    cv2.fillPoly(layer, [outline], (225, 228, 232), cv2.LINE_AA)
    cv2.polylines(layer, [outline], True, (250, 250, 250), 1, cv2.LINE_AA)
    cv2.addWeighted(layer, opacity, scene, 1 - opacity, 0, dst=scene)


def _composite(scene: np.ndarray, picture: np.ndarray, corners: np.ndarray, draw: _Draw) -> np.ndarray:
    """Return the scene with the card in it, its corners rounded, and its shadow, float32 H×W×3."""
    import cv2

    height, width = picture.shape[:2]
    box = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(box, corners)
    mask = np.zeros((height, width), np.uint8)
    radius = round(0.045 * width)
    cv2.rectangle(mask, (radius, 0), (width - 1 - radius, height - 1), 255, -1)
    cv2.rectangle(mask, (0, radius), (width - 1, height - 1 - radius), 255, -1)
    for cx in (radius, width - 1 - radius):
        for cy in (radius, height - 1 - radius):
            cv2.circle(mask, (cx, cy), radius, 255, -1)
    warped = cv2.warpPerspective(picture, matrix, FRAME, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpPerspective(mask, matrix, FRAME, flags=cv2.INTER_LINEAR)[..., None].astype(np.float32) / 255
    move = np.array([[1, 0, draw.within((-8, 8))], [0, 1, draw.within((0, 8))]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(inside, move, FRAME), (0, 0), draw.within((2, 8)))[..., None]
    ground = scene.astype(np.float32) * (1 - draw.within((0.1, 0.5)) * shadow)
    return np.asarray(ground + (warped.astype(np.float32) - ground) * inside, np.float32)


def _expose(scene: np.ndarray, condition: Condition, draw: _Draw) -> np.ndarray:
    """Return the scene as a camera's sensor sees it: light, colour, blur and noise, uint8 H×W×3."""
    import cv2

    width, height = FRAME
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    angle, slope = draw.within((0, 2 * math.pi)), draw.within(condition.shade)
    scene = scene * np.exp(slope * (x * math.cos(angle) + y * math.sin(angle)))[..., None]
    cast = draw.within(condition.cast)
    gains = np.exp(cast * draw.rng.normal(0, 0.22, 3) + cast * draw.rng.normal(0, 0.35)).astype(np.float32)
    scene = 255 * (scene * gains / 255).clip(0, 1) ** math.exp(cast * float(draw.rng.normal(0, 0.25)))
    scene = cv2.GaussianBlur(scene, (0, 0), max(0.05, draw.within(condition.blur)))
    noise = draw.rng.standard_normal(scene.shape, np.float32) * (255 * draw.within(condition.noise))
    return np.asarray((scene + noise).clip(0, 255), np.uint8)


def _encode(picture: np.ndarray, loss: float) -> bytes:
    """Return a picture, uint8 H×W×3 RGB, as a JPEG of quality 100 minus ``loss``."""
    import cv2

    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, round(100 - loss)])
    if not done:
        raise PokeflowError("OpenCV cannot write JPEG. Install another build of opencv-python-headless.")
    return bytes(data)


def _crop(photo: np.ndarray, corners: np.ndarray, error: float, draw: _Draw) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo cropped to its card, each corner with an error as a share of the card's size; and its corners."""
    import cv2

    size = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    width, height = (round(float(side)) for side in size)
    moved = corners + draw.rng.uniform(-1, 1, (4, 2)) * error * np.array([width, height])
    box = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(moved.astype(np.float32), box)
    cropped = cv2.warpPerspective(photo, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cropped, np.uint8), cv2.perspectiveTransform(corners[None], matrix)[0]
