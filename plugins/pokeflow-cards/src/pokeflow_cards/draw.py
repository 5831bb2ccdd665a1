"""Drawing of a card from numbers: frame by type, art of seeded shapes, name, HP, attacks, set symbol, holo pattern."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

RGB = tuple[int, int, int]

TYPES: dict[str, RGB] = {
    "grass": (112, 178, 88),
    "fire": (226, 106, 66),
    "water": (92, 158, 214),
    "lightning": (240, 204, 76),
    "psychic": (160, 112, 178),
    "fighting": (190, 128, 88),
    "darkness": (72, 82, 98),
    "metal": (158, 170, 180),
    "fairy": (226, 138, 178),
    "colorless": (214, 208, 196),
}
BORDERS: tuple[RGB, ...] = ((246, 214, 92), (196, 202, 208), (58, 56, 66), (232, 230, 224))
HOLOS = ("none", "stripes", "dots", "rays", "rainbow")
SCALE = 2
"""Factor by which a card is drawn larger and then shrunk, because Pillow's shapes have hard edges."""


@dataclass(frozen=True, slots=True)
class Face:
    """Printed content of a card. Twins share ``name`` and art; ``border``, ``holo``, ``set`` and ``number`` vary."""

    name: str
    type: str
    hp: int
    set: str
    number: str
    border: int
    full_art: bool
    holo: str
    attacks: tuple[tuple[str, int, str], ...]


def draw(face: Face, art: np.random.Generator, height: int) -> np.ndarray:
    """Draw a card as uint8 height × round(height·63/88) × 3 RGB.

    Args:
        face: The printed content, everything but the picture.
        art: Random generator that decides the picture.
        height: Height in pixels.

    """
    h = height * SCALE
    w = round(height * 63 / 88) * SCALE
    card = Image.new("RGB", (w, h), BORDERS[face.border])
    brush = _Brush(card)
    tint = TYPES[face.type]
    brush.box((0.04, 0.03, 0.96, 0.97), _mix(tint, (255, 255, 255), 0.25), radius=0.02)
    window = (0.04, 0.03, 0.96, 0.97) if face.full_art else (0.09, 0.115, 0.91, 0.5)
    left, top, right, bottom = brush.pixels(window)
    picture = _art(art, right - left, bottom - top, tint)
    card.paste(picture, (left, top))
    if not face.full_art:
        brush.box(window, None, outline=_mix(tint, (40, 30, 10), 0.5), width=0.008)
    _print(brush, face, tint)
    if face.holo != "none":
        region = window if face.full_art or face.holo != "rainbow" else (0.0, 0.0, 1.0, 1.0)
        _foil(card, brush.pixels(region), face.holo)
    return np.asarray(card.resize((w // SCALE, h // SCALE), Image.Resampling.BOX))


class _Brush:
    """Brush with coordinates in fractions of a picture's width and height."""

    def __init__(self, image: Image.Image) -> None:
        self.image, self.draw = image, ImageDraw.Draw(image, "RGBA")
        self.w, self.h = image.size

    def pixels(self, box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        return round(box[0] * self.w), round(box[1] * self.h), round(box[2] * self.w), round(box[3] * self.h)

    def box(
        self,
        box: tuple[float, float, float, float],
        fill: Any,
        radius: float = 0.0,
        outline: RGB | None = None,
        width: float = 0.0,
    ) -> None:
        line = max(1, round(width * self.w)) if outline else 0
        self.draw.rounded_rectangle(self.pixels(box), radius * self.w, fill, outline, line)

    def disc(self, x: float, y: float, rx: float, ry: float, fill: Any) -> None:
        self.draw.ellipse(self.pixels((x - rx, y - ry, x + rx, y + ry)), fill)

    def polygon(self, points: list[tuple[float, float]], fill: Any) -> None:
        self.draw.polygon([(x * self.w, y * self.h) for x, y in points], fill)

    def text(self, x: float, y: float, text: str, size: float, fill: RGB = (24, 22, 26), anchor: str = "lm") -> None:
        font = _font(max(6, round(size * self.h)))
        self.draw.text((x * self.w, y * self.h), text, fill, font, anchor)


@lru_cache(maxsize=64)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _print(brush: _Brush, face: Face, tint: RGB) -> None:
    """Draw name bar, attacks, set symbol and number."""
    paper = (*_mix(tint, (255, 255, 255), 0.7), 190 if face.full_art else 255)
    brush.box((0.06, 0.04, 0.94, 0.105), paper, radius=0.02)
    brush.text(0.09, 0.073, face.name, 0.042)
    brush.text(0.84, 0.073, f"HP {face.hp}", 0.032, (170, 40, 40), anchor="rm")
    brush.disc(0.89, 0.073, 0.032, 0.023, tint)
    brush.box((0.07, 0.54, 0.93, 0.89), paper, radius=0.02)
    for row, (name, damage, words) in enumerate(face.attacks):
        y = 0.58 + row * 0.145
        for dot in range(1 + damage // 40):
            brush.disc(0.115 + dot * 0.055, y, 0.022, 0.016, tint)
        brush.text(0.34, y, name, 0.034)
        brush.text(0.9, y, str(damage), 0.036, anchor="rm")
        for line, part in enumerate(_lines(words, 38)):
            brush.text(0.1, y + 0.042 + line * 0.027, part, 0.021, (60, 58, 60))
    brush.text(0.07, 0.945, f"{face.set}  {face.number}", 0.024)
    _symbol(brush, face.set)


def _lines(words: str, width: int) -> list[str]:
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:3]


def _symbol(brush: _Brush, set: str) -> None:
    """Draw the star or polygon that belongs to the set."""
    code = sum(map(ord, set))
    points, inner = 3 + code % 5, 0.45 + 0.55 * (code % 2)
    radii = [0.028 * (inner if i % 2 else 1.0) for i in range(2 * points)]
    angles = [math.pi * i / points - math.pi / 2 for i in range(2 * points)]
    outline = [(0.89 + r * math.cos(a), 0.945 + r * math.sin(a) * 63 / 88) for r, a in zip(radii, angles, strict=True)]
    brush.polygon(outline, (30, 28, 34))


def _art(rng: np.random.Generator, w: int, h: int, tint: RGB) -> Image.Image:
    """Draw a scene with a creature, w × h pixels.

    Coordinates are fractions of the frame, so the scene is the same in any size.
    """
    image = _sky(rng, w, h, tint)
    brush = _Brush(image)
    scenes: tuple[Callable[[_Brush, np.random.Generator], None], ...] = (_hills, _bubbles, _rays, _blocks)
    for _ in range(2):
        scenes[rng.integers(len(scenes))](brush, rng)
    _creature(brush, rng)
    return image


def _color(rng: np.random.Generator, alpha: int = 255) -> tuple[int, int, int, int]:
    r, g, b = (int(v) for v in rng.integers(20, 236, 3))
    return r, g, b, alpha


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    r, g, v = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return r, g, v


def _sky(rng: np.random.Generator, w: int, h: int, tint: RGB) -> Image.Image:
    ends = np.asarray([_mix(tint, _color(rng)[:3], 0.6), _color(rng)[:3]], np.float32)
    down = np.linspace(0, 1, 64, dtype=np.float32)[:, None, None]
    across = np.linspace(-0.5, 0.5, 64, dtype=np.float32)[None, :, None] * np.float32(rng.uniform(-1, 1))
    share = (down + across).clip(0, 1)
    sky = Image.fromarray((ends[0] * (1 - share) + ends[1] * share).astype(np.uint8))
    return sky.resize((w, h), Image.Resampling.BILINEAR)


def _hills(brush: _Brush, rng: np.random.Generator) -> None:
    for level in np.linspace(0.45, 0.85, int(rng.integers(2, 4))):
        waves, shift, tall = rng.uniform(0.5, 2.5), rng.uniform(0, 6.3), rng.uniform(0.04, 0.16)
        ridge = [(x, level + tall * math.sin(waves * 6.3 * x + shift)) for x in np.linspace(0, 1, 40)]
        brush.polygon([(0.0, 1.0), *ridge, (1.0, 1.0)], _color(rng))


def _bubbles(brush: _Brush, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(6, 16))):
        x, y, r = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.02, 0.16)
        brush.disc(x, y, r, r * brush.w / brush.h, _color(rng, int(rng.integers(120, 256))))


def _rays(brush: _Brush, rng: np.random.Generator) -> None:
    x, y, count = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.7), int(rng.integers(5, 12))
    fill, turn = _color(rng, 170), rng.uniform(0, 6.3)
    for i in range(count):
        a, b = turn + 6.283 * i / count, turn + 6.283 * (i + 0.45) / count
        brush.polygon(
            [(x, y), (x + 2 * math.cos(a), y + 2 * math.sin(a)), (x + 2 * math.cos(b), y + 2 * math.sin(b))], fill
        )


def _blocks(brush: _Brush, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(4, 10))):
        x, y, w, h = rng.uniform(-0.1, 0.9), rng.uniform(0.2, 0.9), rng.uniform(0.05, 0.3), rng.uniform(0.1, 0.6)
        brush.polygon([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], _color(rng, int(rng.integers(150, 256))))


def _creature(brush: _Brush, rng: np.random.Generator) -> None:
    """Draw body, head, ears, limbs and a face, mirrored about the middle."""
    skin, belly, mark = _color(rng), _color(rng), _color(rng)
    x, y = rng.uniform(0.35, 0.65), rng.uniform(0.5, 0.62)
    bw, bh = rng.uniform(0.12, 0.24), rng.uniform(0.16, 0.26)
    hw, hh = rng.uniform(0.1, 0.2), rng.uniform(0.1, 0.17)
    ear, spread, lean = rng.uniform(0.08, 0.28), rng.uniform(0.2, 0.9), rng.uniform(-0.06, 0.14)
    reach, drop = rng.uniform(0.05, 0.2), rng.uniform(-0.12, 0.16)
    head = y - bh * 0.85
    for side in (-1, 1):
        tip = (x + side * (hw * spread + lean), head - hh - ear)
        brush.polygon([(x + side * hw * 0.15, head - hh * 0.5), tip, (x + side * hw * 0.95, head)], skin)
        brush.disc(x + side * (bw + reach * 0.4), y + drop, reach * 0.6, 0.06, skin)
        brush.disc(x + side * bw * 0.6, y + bh, bw * 0.45, bh * 0.22, mark)
    brush.disc(x, y, bw, bh, skin)
    brush.disc(x, y + bh * 0.2, bw * 0.6, bh * 0.65, belly)
    brush.disc(x, head, hw, hh, skin)
    apart, eye = rng.uniform(0.3, 0.6) * hw, rng.uniform(0.012, 0.04)
    for side in (-1, 1):
        brush.disc(x + side * apart, head, eye, eye * 1.6, (250, 250, 250))
        brush.disc(x + side * apart, head + eye * 0.3, eye * 0.5, eye * 0.9, (20, 20, 24))
        brush.disc(x + side * hw * 0.7, head + hh * 0.4, hw * 0.18, hh * 0.16, mark)
    brush.disc(x, head + hh * 0.5, hw * 0.2, hh * 0.12, mark)


def _foil(card: Image.Image, box: tuple[int, int, int, int], holo: str) -> None:
    """Lighten part of the card with a printed pattern."""
    region = card.crop(box)
    w, h = region.size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / np.float32(h)
    pattern = {
        "stripes": lambda: 0.5 + 0.5 * np.sin((x + y) * 60),
        "dots": lambda: (np.sin(x * 70) * np.sin(y * 70) > 0.55).astype(np.float32),
        "rays": lambda: 0.5 + 0.5 * np.sin(np.arctan2(y - 0.5, x - 0.4) * 24),
        "rainbow": lambda: np.ones_like(x),
    }[holo]()
    hue = np.stack([0.5 + 0.5 * np.cos(6.283 * (x + y + shift)) for shift in (0, 1 / 3, 2 / 3)], axis=-1)
    share = 0.35 * pattern[..., None]
    pixels = np.asarray(region, np.float32)
    card.paste(Image.fromarray((pixels * (1 - share) + 255 * hue * share).astype(np.uint8)), box[:2])
