"""Simulated phone photo of a card: the effects of a table, a lamp, a hand and a small camera on a clean scan."""

import io
import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pokeflow_cards.scans import ASPECT

RIM = 2

Corners = np.ndarray
"""Corners as float 4×2, (x, y) in pixels: upper left, upper right, lower right, lower left."""


def capture(image: np.ndarray, rng: np.random.Generator, strength: float, height: int) -> np.ndarray:
    """Simulate one photo of a card.

    The card is tilted on a background and spans 75 to 100 per cent of the frame, wholly inside it. Half of the photos
    leave less than 7 per cent free, as people do when they are to fill the frame.

    Args:
        image: The clean card, uint8 H×W×3 RGB.
        rng: Random generator that decides everything but the strength.
        strength: Scale of every distortion: 0 returns the clean card, 1 is an ordinary, loosely cropped phone photo.
        height: Height of the photo in pixels.

    Returns:
        Uint8 height × round(height·63/88) × 3 RGB.

    """
    width = round(height * ASPECT)
    card = Image.fromarray(image)
    if card.size != (width, height):
        card = card.resize((width, height), Image.Resampling.BICUBIC)
    if strength == 0:
        return np.asarray(card)
    scene = _Scene(rng, strength, width, height)
    picture, mask = _compose(card, scene)
    picture = _foil(picture, mask, scene)
    picture = _light(picture, scene)
    picture = _glare(picture, mask, scene)
    picture = _hand(picture, scene)
    picture = _camera(picture, scene)
    return _jpeg(picture, scene)


class _Scene:
    """Frame of one photo: its size in pixels, the coordinates of its pixels, and the random generator."""

    def __init__(self, rng: np.random.Generator, strength: float, width: int, height: int) -> None:
        self.rng, self.strength, self.width, self.height = rng, strength, width, height
        self.y, self.x = np.meshgrid(
            np.linspace(-1, 1, height, dtype=np.float32),
            np.linspace(-ASPECT, ASPECT, width, dtype=np.float32),
            indexing="ij",
        )

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def scaled(self, low: float, high: float) -> float:
        """Return a uniform random number times the strength."""
        return self.strength * self.uniform(low, high)

    def normal(self, deviation: float) -> float:
        """Return a normal random number times the strength, clipped at two and a half deviations."""
        return self.strength * deviation * float(np.clip(self.rng.normal(), -2.5, 2.5))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def along(self, angle: float) -> np.ndarray:
        """Return each pixel's coordinate in a direction, float32 H×W; the frame's top is at −1, its bottom at 1."""
        return math.cos(angle) * self.x + math.sin(angle) * self.y

    def spot(self, long: float, wide: float) -> np.ndarray:
        """Return a soft ellipse at a random position in the frame, float32 H×W, 1 in its middle."""
        cx, cy, angle = self.uniform(-0.7, 0.7), self.uniform(-1, 1), self.uniform(0, math.pi)
        x, y = self.x - np.float32(cx), self.y - np.float32(cy)
        u = (x * math.cos(angle) + y * math.sin(angle)) / long
        v = (y * math.cos(angle) - x * math.sin(angle)) / wide
        return np.asarray(np.exp(-(u * u + v * v)), np.float32)

    def clouds(self, rows: int, columns: int) -> np.ndarray:
        """Return smooth noise with ``rows`` bumps down and ``columns`` across, float32 H×W, 0 to 1."""
        coarse = Image.fromarray(self.rng.random((rows, columns), np.float32))
        return np.asarray(coarse.resize((self.width, self.height), Image.Resampling.BICUBIC)).clip(0, 1)


def _compose(card: Image.Image, scene: _Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the card in its scene, float32 H×W×3 in [0, 1], and the card's mask, float32 H×W×1 in [0, 1]."""
    size = (scene.width, scene.height)
    # With a rim of copied pixels around the card, its edge is interpolated smoothly and not jagged.
    padded = Image.fromarray(np.pad(np.asarray(card), ((RIM, RIM), (RIM, RIM), (0, 0)), mode="edge"))
    mask = Image.new("L", padded.size, 0)
    box = (RIM, RIM, RIM + scene.width - 1, RIM + scene.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, 0.045 * scene.width, 255)
    coefficients = _homography(pose(scene), size)
    warped = padded.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    warped_mask = mask.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    shift = 0.02 * scene.height
    shadow = warped_mask.transform(
        size, Image.Transform.AFFINE, (1, 0, scene.uniform(-shift, shift), 0, 1, scene.uniform(-shift, 0))
    ).filter(ImageFilter.GaussianBlur(0.015 * scene.height))
    behind = _background(scene) * (1 - 0.5 * _channel(shadow))
    inside = _channel(warped_mask)
    return behind + (np.asarray(warped, np.float32) / 255 - behind) * inside, inside


def pose(scene: _Scene) -> Corners:
    """Return the card's corners in the frame: tilted in space, seen through a pinhole, fitted into the frame."""
    yaw, pitch, roll = (scene.normal(math.radians(deviation)) for deviation in (6, 6, 2))
    flat = np.asarray([[-ASPECT, -1, 0], [ASPECT, -1, 0], [ASPECT, 1, 0], [-ASPECT, 1, 0]]) / 2
    solid = flat @ (_turn(yaw, 0, 2) @ _turn(pitch, 1, 2) @ _turn(roll, 0, 1)).T
    distance = scene.uniform(2.0, 4.0)
    corners = solid[:, :2] * (distance / (distance + solid[:, 2:]))
    corners -= corners.min(axis=0)
    frame = np.asarray([scene.width, scene.height], float)
    free = min(0.5, 0.25 * scene.strength * scene.uniform(0, 1) ** 2)
    corners *= (1 - free) * (frame / corners.max(axis=0)).min()
    # The mean of two random numbers favours the middle of the free space over its borders.
    return np.asarray(corners + scene.rng.random((2, 2)).mean(axis=0) * (frame - corners.max(axis=0)))


def _turn(angle: float, a: int, b: int) -> np.ndarray:
    """Return the 3×3 matrix of a rotation by ``angle``, in radians, in the plane of axes ``a`` and ``b``."""
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = math.cos(angle)
    matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix


def _homography(corners: Corners, size: tuple[int, int]) -> tuple[float, ...]:
    """Return Pillow's eight perspective coefficients, which map a pixel of the frame to the rimmed card."""
    w, h = size
    rows, targets = [], []
    for (x, y), (u, v) in zip(corners, RIM + np.asarray([(0, 0), (w, 0), (w, h), (0, h)]), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        targets += [u, v]
    return tuple(np.linalg.solve(np.asarray(rows, float), np.asarray(targets, float)).tolist())


def _background(scene: _Scene) -> np.ndarray:
    """Draw a table, float32 H×W×3 in [0, 1]: two colours mixed by noise or grain, on some tables with objects."""
    rng = scene.rng
    base = rng.uniform(0.05, 0.85) + rng.normal(0, 0.06, 3)
    second = base + rng.uniform(-0.3, 0.3) + rng.normal(0, 0.05, 3)
    bumps = (
        (int(rng.integers(2, 8)), int(rng.integers(24, 64))) if scene.chance(0.4) else (int(rng.integers(2, 30)),) * 2
    )
    grain = scene.clouds(*(bumps if scene.chance(0.5) else bumps[::-1]))[..., None]
    table = base.astype(np.float32) * (1 - grain) + second.astype(np.float32) * grain
    for _ in range(int(rng.integers(1, 3)) if scene.chance(0.4) else 0):
        edge = scene.along(scene.uniform(0, 2 * math.pi)) > scene.uniform(0.5, 0.95)
        table[edge] = (rng.uniform(0.05, 0.9) + rng.normal(0, 0.12, 3)).astype(np.float32)
    return np.asarray(table.clip(0, 1), np.float32)


def _foil(picture: np.ndarray, mask: np.ndarray, scene: _Scene) -> np.ndarray:
    """Add a rainbow band to some cards, as foil shows under a lamp."""
    if not scene.chance(0.3):
        return picture
    phase = scene.along(scene.uniform(0, math.pi)) * scene.uniform(1, 4)
    hue = np.stack([0.5 + 0.5 * np.cos(2 * math.pi * (phase + shift)) for shift in (0, 1 / 3, 2 / 3)], axis=-1)
    share = scene.scaled(0.1, 0.4) * scene.spot(scene.uniform(0.6, 1.5), scene.uniform(0.2, 0.7))[..., None] * mask
    return np.asarray(picture + (1 - picture) * hue * share.clip(0, 1), np.float32)


def _light(picture: np.ndarray, scene: _Scene) -> np.ndarray:
    """Apply exposure, a falloff of the light to one side, in some photos a shadow's edge, and the light's colour."""
    slope = scene.scaled(0, 0.5) * scene.along(scene.uniform(0, 2 * math.pi))
    level = np.exp(slope + scene.normal(0.18)) * (1 - scene.scaled(0, 0.12) * (scene.x**2 + scene.y**2))
    if scene.chance(0.3):
        distance = scene.along(scene.uniform(0, 2 * math.pi)) - scene.uniform(-0.6, 0.6)
        edge = np.clip(distance / scene.uniform(0.03, 0.4), -8, 8)
        level *= 1 - min(0.8, scene.scaled(0.1, 0.45)) / (1 + np.exp(-edge))
    warmth, tint = scene.normal(0.09), scene.normal(0.04)
    color = np.exp(np.asarray([warmth, tint, -warmth], np.float32))
    return np.asarray(picture * level[..., None].clip(0.05, 4) * color, np.float32)


def _glare(picture: np.ndarray, mask: np.ndarray, scene: _Scene) -> np.ndarray:
    """Add a lamp's reflection in the card or its sleeve: up to three white spots or streaks, and a grey veil."""
    veil = min(0.5, scene.scaled(0, 0.12)) * mask
    picture = picture * (1 - veil) + 0.8 * veil
    for _ in range(int(scene.rng.integers(1, 4)) if scene.chance(0.6) else 0):
        spot = scene.spot(scene.uniform(0.1, 0.6), scene.uniform(0.04, 0.18))[..., None]
        picture = picture + (1.05 - picture) * (scene.scaled(0.2, 0.9) * spot).clip(0, 1) * (0.15 + 0.85 * mask)
    return picture


def _hand(picture: np.ndarray, scene: _Scene) -> np.ndarray:
    """Add a thumb that holds the card, in some photos."""
    if not scene.chance(0.15 * min(1.0, scene.strength)):
        return picture
    side = 1 if scene.chance(0.5) else -1
    x = scene.x - np.float32(side * (ASPECT + scene.uniform(-0.04, 0.12)))
    y = scene.y - np.float32(scene.uniform(-0.3, 0.95))
    lean = scene.uniform(-0.5, 0.5)
    reach = ((x + lean * y) / scene.uniform(0.18, 0.32)) ** 2 + (y / scene.uniform(0.1, 0.17)) ** 2
    inside = np.clip((1 - reach) * 8, 0, 1)[..., None]
    skin = np.asarray([0.85, 0.62, 0.5], np.float32) * np.float32(scene.uniform(0.35, 1.05))
    return np.asarray(picture + (skin * (1 - 0.25 * reach[..., None].clip(0, 1)) - picture) * inside, np.float32)


def _camera(picture: np.ndarray, scene: _Scene) -> np.ndarray:
    """Apply saturation, tone curve, lens blur, shake and the sensor's noise."""
    grey = (0.299 * picture[..., 0] + 0.587 * picture[..., 1] + 0.114 * picture[..., 2])[..., None]
    picture = grey + (picture - grey) * np.float32(math.exp(scene.normal(0.15)))
    gamma = math.exp(scene.normal(0.12))
    curve = [round(255 * (level / 255) ** gamma) for level in range(256)]
    soft = scene.strength * scene.uniform(0, 1) ** 2 * 0.005 * scene.height
    toned = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8)).point(curve * 3)
    blurred = toned.filter(ImageFilter.GaussianBlur(soft))
    picture = np.asarray(blurred, np.float32) / 255
    if scene.chance(0.25):
        picture = _shake(picture, scene)
    # Shot noise grows with the square root of the light, read noise does not.
    amount = scene.scaled(0.005, 0.045) * np.sqrt(0.15 + 0.85 * grey.clip(0, 1))
    return np.asarray(picture + amount * scene.rng.standard_normal(picture.shape, np.float32), np.float32)


def _shake(picture: np.ndarray, scene: _Scene) -> np.ndarray:
    length, angle = scene.scaled(0, 0.009) * scene.height, scene.uniform(0, math.pi)
    pad = math.ceil(length) + 1
    wide = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    total = np.zeros_like(picture)
    for step in np.linspace(-0.5, 0.5, 5):
        dy, dx = pad + round(step * length * math.sin(angle)), pad + round(step * length * math.cos(angle))
        total += wide[dy : dy + scene.height, dx : dx + scene.width]
    return total / 5


def _jpeg(picture: np.ndarray, scene: _Scene) -> np.ndarray:
    quality = max(20, round(95 - scene.scaled(0, 50)))
    file = io.BytesIO()
    Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as stored:
        return np.asarray(stored.convert("RGB"))


def _channel(image: Any) -> np.ndarray:
    """Return a grey picture as float32 H×W×1 in [0, 1]."""
    return (np.asarray(image, np.float32) / 255)[..., None]
