"""Detection of a flat rectangular object, such as a card, in a photo, and its rectification.

Edges of a small copy of the photo are joined to outlines, and an outline with four corners, the right proportions and
sides that are edges is a detection. Nothing is trained: OpenCV does the work, in milliseconds on a small device.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SIDE = 320
"""Longer side in pixels of the copy in which outlines are sought."""
LEAST_AREA = 0.04
"""Smallest share of the photo that a detection covers."""
LEAST_SCORE = 0.15
"""Score below which a quadrilateral has hardly an edge, and is dropped."""
TOLERANCE = 0.45
"""Largest natural logarithm of the ratio between a detection's proportions and those sought: what a tilt explains."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A quadrilateral in a photo.

    ``corners`` is float32 4×2, (x, y) in pixels: those of the upright rectangle from the upper left on, up to a half
    turn, which an outline does not tell. ``score`` is in [0, 1]; a higher one is more certain.
    """

    corners: "np.ndarray"
    score: float


def detect(image: "np.ndarray", aspect: float, count: int = 2) -> list[Detection]:
    """Return the clearest detections in a photo, best first, none of which mostly overlaps a better one.

    Args:
        image: The photo, uint8 H×W×3 RGB.
        aspect: Width of the object sought as a share of its height, below 1.
        count: Largest number of detections.

    """
    import cv2
    import numpy as np

    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    channels = _channels(small)
    quads, penalties = [], []
    for quad in _all_quadrilaterals(channels):
        share = cv2.contourArea(quad) / (size[0] * size[1])
        corners, proportion = _upright(quad, aspect)
        if LEAST_AREA <= share <= 1.2 and proportion <= TOLERANCE:
            quads.append(corners)
            # Of a card and a frame printed on it, the larger one is the card.
            penalties.append((1 - proportion) * share**0.25)
    if not quads:
        return []
    scores = _support(_gradient(channels), np.stack(quads)) * penalties
    distinct: list[Detection] = []
    for row in np.argsort(-scores, kind="stable"):
        if len(distinct) == count or scores[row] < LEAST_SCORE:
            break
        if all(_overlap(quads[row], other.corners) < 0.8 for other in distinct):
            distinct.append(Detection(quads[row], float(scores[row])))
    ratio = np.array([image.shape[1] / size[0], image.shape[0] / size[1]], np.float32)
    return [Detection((each.corners + 0.5) * ratio - 0.5, each.score) for each in distinct]


def rectify(image: "np.ndarray", corners: "np.ndarray", size: tuple[int, int]) -> "np.ndarray":
    """Return what is inside four corners as an upright picture, uint8 height×width×3.

    Args:
        image: The photo, uint8 H×W×3.
        corners: Corners in the photo, float 4×2, from the upper left of the result on.
        size: Width and height of the result in pixels.

    """
    import cv2
    import numpy as np

    width, height = size
    # Averaging comes first if the result is smaller, because the look-up reads single pixels.
    longest = max(float(np.linalg.norm(corners[i] - corners[i - 1])) for i in range(4))
    if (ratio := 1.5 * max(size) / longest) < 0.75:
        smaller = (max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio)))
        corners = (corners + 0.5) * np.divide(smaller, image.shape[1::-1]) - 0.5
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    box = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), box)
    flat = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(flat, np.uint8)


def _channels(small: "np.ndarray") -> "list[np.ndarray]":
    """Return smoothed pictures in which an edge of the object may show: brightness and two colour differences."""
    import cv2

    smooth = cv2.bilateralFilter(small, 5, 40, 5)
    return list(cv2.split(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)))


def _gradient(channels: "list[np.ndarray]") -> "np.ndarray":
    """Return the strongest gradient of all channels, float32 H×W, 1 where it is as strong as that of a clear edge."""
    import cv2
    import numpy as np

    strongest = np.zeros(channels[0].shape, np.float32)
    for channel, gain in zip(channels, (1.0, 2.0, 2.0), strict=True):
        dx, dy = (cv2.Sobel(channel, cv2.CV_32F, *order, scale=gain / 4) for order in ((1, 0), (0, 1)))
        np.maximum(strongest, cv2.magnitude(dx, dy), out=strongest)
    return np.asarray(np.minimum(strongest / max(12.0, float(np.quantile(strongest, 0.9))), 1))


def _outlines(channels: "list[np.ndarray]") -> "Iterator[np.ndarray]":
    """Yield outlines: of edges at several thresholds, and of regions of similar brightness or colour."""
    import cv2
    import numpy as np

    kernel = np.ones((3, 3), np.uint8)
    for number, channel in enumerate(channels):
        spread = float(np.std(channel))
        for high in (0.7, 1.4, 2.6) if number == 0 else (1.2, 2.4):
            level = max(8.0, high * spread * (1 if number == 0 else 1.5))
            edges = cv2.dilate(cv2.Canny(channel, level / 2.5, level), kernel)
            yield from _contours(edges)
        _, region = cv2.threshold(channel, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        for each in (region, 255 - region):
            yield from _contours(cv2.morphologyEx(each, cv2.MORPH_OPEN, kernel, iterations=2))


def _contours(mask: "np.ndarray") -> "Sequence[np.ndarray]":
    import cv2

    return cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]


def _all_quadrilaterals(channels: "list[np.ndarray]") -> "Iterator[np.ndarray]":
    """Yield the quadrilaterals of all outlines; outlines that are nearly alike count once."""
    import cv2

    seen: set[tuple[int, ...]] = set()
    least = LEAST_AREA * channels[0].size
    for outline in _outlines(channels):
        _, _, width, height = cv2.boundingRect(outline)
        if width * height < least:
            continue
        hull = cv2.convexHull(outline)[:, 0]
        area = cv2.contourArea(hull)
        key = (*(value // 4 for value in cv2.boundingRect(hull)), round(20 * math.log(max(area, 1))))
        if area >= least and key not in seen:
            seen.add(key)
            yield from _quadrilaterals(hull, area)


def _quadrilaterals(hull: "np.ndarray", area: float) -> "Iterator[np.ndarray]":
    """Yield quadrilaterals, float32 4×2 clockwise, whose sides are long sides of an outline's hull.

    Where something covers a corner or the card's corners are round, the sides still cross where the corner would be.
    """
    import cv2
    import numpy as np

    length = cv2.arcLength(hull, True)
    dense = _dense(hull.astype(np.float32), length / 160)
    corners = 0
    for tolerance in (0.012, 0.03):
        polygon = cv2.approxPolyDP(hull, tolerance * length, True)[:, 0].astype(np.float32)
        if len(polygon) == corners:
            continue
        corners = len(polygon)
        sides = zip(polygon, np.roll(polygon, -1, 0), strict=True)
        long = [(start, end) for start, end in sides if math.dist(start, end) > 0.08 * length]
        lines = [line for start, end in long if (line := _fit_line(dense, start, end)) is not None]
        for chosen in combinations(lines[:7], 4):
            quad = _cross(chosen)
            if quad is not None and 0.9 * area <= cv2.contourArea(quad) <= 1.4 * area:
                yield quad


def _dense(hull: "np.ndarray", step: float) -> "np.ndarray":
    """Return points along a closed polygon, about ``step`` pixels apart, float32 M×2."""
    import numpy as np

    ends = np.roll(hull, -1, 0)
    counts = np.maximum(1, np.linalg.norm(ends - hull, axis=1) / step).astype(int)
    return np.vstack([a + np.arange(n)[:, None] / n * (b - a) for a, b, n in zip(hull, ends, counts, strict=True)])


def _fit_line(points: "np.ndarray", start: "np.ndarray", end: "np.ndarray") -> "np.ndarray | None":
    """Return the line (a, b, c) with a·x + b·y = c that fits the points near the middle of a side best."""
    import cv2
    import numpy as np

    side = end - start
    length = float(np.linalg.norm(side))
    along, aside = (points - start) @ side / length**2, (points - start) @ np.array([-side[1], side[0]]) / length
    near = points[(along > 0.08) & (along < 0.92) & (np.abs(aside) < 0.04 * length + 1.5)]
    if len(near) < 4:
        return None
    vx, vy, x, y = cv2.fitLine(near.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01).ravel()
    return np.array([vy, -vx, vy * x - vx * y])


def _cross(lines: "Sequence[np.ndarray]") -> "np.ndarray | None":
    """Return the four points where neighbouring lines cross, clockwise; None if they make no convex quadrilateral."""
    import cv2
    import numpy as np

    corners = []
    for before, after in zip((lines[-1], *lines[:-1]), lines, strict=True):
        determinant = before[0] * after[1] - before[1] * after[0]
        if abs(determinant) < 0.3:
            return None
        corners.append(((before[2] * after[1] - before[1] * after[2]) / determinant,
                        (before[0] * after[2] - before[2] * after[0]) / determinant))  # fmt: skip
    quad = np.asarray(corners, np.float32)
    if not cv2.isContourConvex(quad):
        return None
    return quad if cv2.contourArea(quad, True) > 0 else np.ascontiguousarray(quad[::-1])


def _upright(quad: "np.ndarray", aspect: float) -> tuple["np.ndarray", float]:
    """Return the corners so that the longer side is vertical, and how far the proportions are from those sought."""
    import numpy as np

    sides = np.linalg.norm(quad - np.roll(quad, -1, 0), axis=1)
    across, down = sides[0] + sides[2], sides[1] + sides[3]
    if across > down:
        quad, across, down = np.roll(quad, -1, 0), down, across
    # The half turn with the upper left corner first, in the picture.
    if quad[0, 1] + quad[1, 1] > quad[2, 1] + quad[3, 1]:
        quad = np.roll(quad, 2, 0)
    return np.ascontiguousarray(quad), float(abs(np.log(max(across, 1e-6) / max(down, 1e-6) / aspect)))


def _support(gradient: "np.ndarray", quads: "np.ndarray") -> "np.ndarray":
    """Return for each of Q quadrilaterals, Q×4×2, how much of its outline is an edge in the picture, 0 to 1."""
    import numpy as np

    share = np.linspace(0.06, 0.94, 24)[:, None]
    starts, ends = quads[:, :, None], np.roll(quads, -1, 1)[:, :, None]
    points = starts + share * (ends - starts)
    inward = quads.mean(1)[:, None, None] - (starts + ends) / 2
    inward /= np.maximum(np.linalg.norm(inward, axis=-1, keepdims=True), 1e-6)
    level = np.zeros(points.shape[:-1], np.float32)
    for step in (-1.5, 0.0, 1.5):
        x, y = np.moveaxis((points + inward * step).round().astype(int), -1, 0)
        inside = (x >= 0) & (y >= 0) & (x < gradient.shape[1]) & (y < gradient.shape[0])
        np.maximum(level, np.where(inside, gradient[y * inside, x * inside], 0), out=level)
    sides = level.mean(-1)
    # The weakest side counts most: three sides of a card and a line across it are not a card.
    return np.asarray(0.5 * sides.min(1) + 0.5 * sides.mean(1))


def _overlap(one: "np.ndarray", other: "np.ndarray") -> float:
    """Return the intersection of two convex quadrilaterals over their union."""
    import cv2

    shared, _ = cv2.intersectConvexConvex(one, other)
    return float(shared / max(cv2.contourArea(one) + cv2.contourArea(other) - shared, 1e-6))
