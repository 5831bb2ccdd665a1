"""Augmentation that simulates phone photos of cards, batched on tensors with independent draws per sample."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def views(cards: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Render one random view of each card.

    The effects follow the path of the light: foil, shade, glare and what covers the card; the card turned, tilted
    and shifted in front of a background; the camera's colours, blur, loss of detail and noise. All draws come from
    ``generator``, so the same generator state gives the same views.

    Args:
        cards: Images [B, 3, S, S], float on [0, 1].
        generator: A CPU generator, also if the images are on another device.
        strength: Factor of every range; 0 returns the cards unchanged.

    Returns:
        Views [B, 3, S, S], float on [0, 1].

    """
    if strength == 0:
        return cards
    draw = _Draw(generator, len(cards), cards.device)
    images = _light(_foil(cards, draw, strength), draw, strength)
    images = _cover(images, draw, strength)
    images = _in_front(images, _background(cards, draw), _corners(draw, strength))
    images = _color(images, draw, strength)
    images = _blur(images, draw, strength)
    images = _resample(images, draw, strength)
    images = images + draw.normal(*images.shape[1:]) * (0.03 * strength) * draw.uniform(1, 1, 1)
    return images.clamp(0, 1)


class _Draw:
    """Random tensors with a leading batch dimension, from one generator."""

    def __init__(self, generator: torch.Generator, batch: int, device: torch.device) -> None:
        self.generator, self.batch, self.device = generator, batch, device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(self.batch, *shape, generator=self.generator).to(self.device) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.batch, *shape, generator=self.generator).to(self.device)

    def chance(self, probability: float, *shape: int) -> Tensor:
        return (self.uniform(*shape) < probability).float()

    def order(self) -> Tensor:
        return torch.randperm(self.batch, generator=self.generator).to(self.device)


def _grid(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixel centres on [-1, 1]: x [1, 1, S], y [1, S, 1], on the device of ``like``."""
    line = (torch.arange(size, device=like.device) * 2 + 1) / size - 1
    return line.view(1, 1, size), line.view(1, size, 1)


def _light(images: Tensor, draw: _Draw, strength: float) -> Tensor:
    """Apply a slope of light to images [B, 3, S, S], and to some a soft white glare, as of a lamp on a sleeve."""
    x, y = _grid(images.shape[-1], images)
    angle = draw.uniform(1, 1, high=2 * math.pi)
    along = x * angle.cos() + y * angle.sin()
    slope = 1 + along * draw.uniform(1, 1, low=-0.25, high=0.25) * strength
    # A long thin ellipse is a streak, a round one a spot.
    turn = draw.uniform(1, 1, high=2 * math.pi)
    dx, dy = x - draw.uniform(1, 1, low=-1), y - draw.uniform(1, 1, low=-1)
    wide, high = draw.uniform(1, 1, low=0.2, high=1.5), draw.uniform(1, 1, low=0.08, high=0.5)
    u, v = (dx * turn.cos() + dy * turn.sin()) / wide, (dy * turn.cos() - dx * turn.sin()) / high
    spot = torch.exp(-(u * u + v * v)) * draw.uniform(1, 1, low=0.2, high=0.9) * draw.chance(0.4 * strength, 1, 1)
    lit = images * slope[:, None]
    return lit + (1 - lit) * spot[:, None].clamp(0, 1)


def _foil(images: Tensor, draw: _Draw, strength: float) -> Tensor:
    """Add a rainbow sheen to a part of some images [B, 3, S, S], as foil shows under a lamp."""
    x, y = _grid(images.shape[-1], images)
    angle = draw.uniform(1, 1, high=2 * math.pi)
    phase = (x * angle.cos() + y * angle.sin()) * draw.uniform(1, 1, low=0.5, high=3) + draw.uniform(1, 1)
    shifts = torch.tensor([0, 1 / 3, 2 / 3], device=images.device).view(1, 3, 1, 1)
    hue = 0.5 + 0.5 * torch.cos(2 * math.pi * (phase[:, None] + shifts))
    cx, cy = draw.uniform(1, 1, low=-1), draw.uniform(1, 1, low=-1)
    spot = torch.exp(-((x - cx).square() + (y - cy).square()) / draw.uniform(1, 1, low=0.1, high=1.5))
    share = spot * draw.uniform(1, 1, high=0.6) * draw.chance(0.25 * strength, 1, 1)
    return images + (hue - images) * share[:, None]


def _cover(images: Tensor, draw: _Draw, strength: float) -> Tensor:
    """Cover a part of some images [B, 3, S, S]: with a block, or from one side up to half, as a hand or a card does."""
    x, y = _grid(images.shape[-1], images)
    cx, cy = draw.uniform(1, 1, low=-1.1, high=1.1), draw.uniform(1, 1, low=-1.1, high=1.1)
    half_x, half_y = draw.uniform(1, 1, low=0.05, high=0.3), draw.uniform(1, 1, low=0.05, high=0.3)
    block = ((x - cx).abs() < half_x) & ((y - cy).abs() < half_y)
    angle = draw.uniform(1, 1, high=2 * math.pi)
    across = y * angle.cos() - x * angle.sin()
    wave = 0.12 * torch.sin(across * draw.uniform(1, 1, low=1, high=6) + draw.uniform(1, 1, high=6))
    side = x * angle.cos() + y * angle.sin() + wave < draw.uniform(1, 1, low=-1.2, high=0.05)
    layers = (
        (block, draw.chance(0.3 * strength, 1, 1), draw.uniform(3, 1, 1).expand_as(images)),
        (side, draw.chance(0.35 * strength, 1, 1), _background(images, draw)),
    )
    for inside, chance, layer in layers:
        mask = (inside.float() * chance)[:, None]
        images = images * (1 - mask) + layer * mask
    return images


def _background(cards: Tensor, draw: _Draw) -> Tensor:
    """Draw backgrounds [B, 3, S, S]: a surface with blotches and fine grain, or for some another card of the batch."""
    size = cards.shape[-1]
    base = draw.uniform(3, 1, 1)
    blotches = F.interpolate(draw.normal(3, 5, 5), size=(size, size), mode="bilinear", align_corners=False)
    fine = F.interpolate(draw.normal(1, size // 3, size // 3), size=(size, size))
    surface = base + blotches * draw.uniform(1, 1, 1, high=0.3) + fine * draw.uniform(1, 1, 1, high=0.1)
    other_cards = cards[draw.order()].flip(-1) * draw.uniform(1, 1, 1, low=0.3, high=1.0)
    backgrounds = torch.where(draw.uniform(1, 1, 1) < 0.25, other_cards, surface)
    return backgrounds.clamp(0, 1)


def _corners(draw: _Draw, strength: float) -> Tensor:
    """Draw the corners of each card [B, 4, 2] (1 is the image's border): scaled, turned, shifted and jittered."""
    square = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], device=draw.device)
    scale = 1 + draw.uniform(1, 1, low=-0.25, high=0.12) * strength
    scale = scale * (1 + draw.uniform(1, 2, low=-0.06, high=0.06) * strength)
    # Most cards are held about straight; the cube keeps large turns rare.
    angle = draw.uniform(1, low=-1, high=1).pow(3) * 0.35 * strength
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)], 1)
    shift = draw.uniform(1, 2, low=-0.12, high=0.12) * strength
    jitter = draw.uniform(4, 2, low=-0.09, high=0.09) * strength
    return (square * scale) @ turn + shift + jitter


def _in_front(images: Tensor, background: Tensor, corners: Tensor) -> Tensor:
    """Draw each image [B, 3, S, S] into the quadrilateral ``corners`` [B, 4, 2] in front of its background."""
    size = images.shape[-1]
    x, y = _grid(size, images)
    flat = torch.stack([x.expand(1, size, size), y.expand(1, size, size), torch.ones_like(x * y)], -1).view(1, -1, 3)
    source = flat @ homography(corners).transpose(1, 2)
    # Points behind the camera are invisible; the clamp moves them far outside the card.
    grid = source[..., :2] / source[..., 2:].clamp(min=1e-3)
    grid = grid.view(len(images), size, size, 2)
    card = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # One pixel of soft edge, in the card's own coordinates.
    mask = ((1 - grid.abs().amax(-1)) * size / 2 + 0.5).clamp(0, 1)[:, None]
    return card * mask + background * (1 - mask)


def homography(corners: Tensor) -> Tensor:
    """Compute the homographies that map each quadrilateral to the square [-1, 1]², corner by corner.

    The direct linear transform: eight equations for eight unknowns, the ninth entry is 1 (Hartley and Zisserman,
    Multiple View Geometry, 4.1).

    Args:
        corners: Corners [B, 4, 2] as (x, y), clockwise in the image from the top left.

    Returns:
        Matrices [B, 3, 3].

    """
    square = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], device=corners.device)
    u, v = square.expand(len(corners), 4, 2).unbind(-1)
    x, y = corners.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    solution = torch.linalg.solve(torch.cat([rows_u, rows_v], 1), torch.cat([u, v], 1))
    return torch.cat([solution, torch.ones_like(solution[:, :1])], 1).view(-1, 3, 3)


def _color(images: Tensor, draw: _Draw, strength: float) -> Tensor:
    """Change white balance, exposure, gamma, contrast and saturation of images [B, 3, S, S]."""
    cast = 1 + draw.uniform(3, 1, 1, low=-0.15, high=0.15) * strength
    exposure = torch.exp(draw.uniform(1, 1, 1, low=-0.45, high=0.35) * strength)
    gamma = torch.exp(draw.uniform(1, 1, 1, low=-0.3, high=0.3) * strength)
    images = (images * cast * exposure).clamp(1e-4, 1).pow(gamma)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (1 + draw.uniform(1, 1, 1, low=-0.4, high=0.2) * strength)
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * (1 + draw.uniform(1, 1, 1, low=-0.5, high=0.4) * strength)
    return images.clamp(0, 1)


def _blur(images: Tensor, draw: _Draw, strength: float) -> Tensor:
    """Blur images [B, 3, S, S] as if out of focus or moved, with an independent Gaussian along each axis.

    The standard deviation is at most 1.3 % of the side at strength 1; the kernel has seven taps.
    """
    batch, channels, size, _ = images.shape
    for axis in (2, 3):
        sigma = draw.uniform(1, high=0.013 * size).square() / (0.013 * size) * strength + 1e-3
        taps = torch.arange(-3, 4, device=images.device)
        kernel = torch.exp(-(taps**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
        shape = (-1, 1, 7, 1) if axis == 2 else (-1, 1, 1, 7)
        pad = (0, 0, 3, 3) if axis == 2 else (3, 3, 0, 0)
        flat = F.pad(images.reshape(1, batch * channels, size, size), pad, mode="replicate")
        images = F.conv2d(flat, kernel.view(shape), groups=batch * channels).view(batch, channels, size, size)
    return images


def _resample(images: Tensor, draw: _Draw, strength: float) -> Tensor:
    """Remove detail from some images [B, 3, S, S] by halving and enlarging, as in small or compressed pictures."""
    size = images.shape[-1]
    coarse = F.interpolate(F.avg_pool2d(images, 2), size=(size, size), mode="bilinear", align_corners=False)
    amount = draw.uniform(1, 1, 1) * draw.chance(0.3 * strength, 1, 1, 1)
    return images + (coarse - images) * amount
