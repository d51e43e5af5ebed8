"""What a picture of plain shapes shows, measured: no network, nothing learned.

Where a `data.World` has no patterns, each pixel is a mixture of the ground g and a colour c,

    x(p) = g + a(p) (c − g),

and a is known for each shape: a(p) = clip(1/2 − r·d(R(−θ)(p − m)/r), 0, 1), d its `outlines`.  So
g is the median of all pixels, the colours are where the other pixels crowd, a follows for each
pixel, and a connected part where a ≥ 1/2 is a thing.  Its name is that of the shape whose a fits
best, m being its centre and r what gives it its area: analysis by synthesis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from tinydiff.data.captions import Thing, parse, relation
from tinydiff.data.colours import COLOURS
from tinydiff.data.outlines import OUTLINES
from tinydiff.data.world import World
from tinydiff.metrics import Estimate, share

APART = 42.0  # half of the least distance between a thing's colour and the ground's
CROWD = 40.0  # shades so near each other are one colour
SMALLEST = 20  # pixels of a thing
MOST = 8  # colours that are looked for
MISFIT = 0.12  # of its area: above that, something is no shape
_FINE = 200  # points a side, to measure the outlines
_TURNS = 48  # in a whole one


@dataclass(frozen=True)
class Reading:
    """The things in one picture, of size "", shape "" where none fits; and boxes (n, 4) around."""

    things: tuple[Thing, ...]
    boxes: np.ndarray


class Reader:
    """Called as reader(image): uint8 (H, W, 3) → Reading, of the shapes and colours of a world."""

    def __init__(self, world: World):
        self.colours = world.colours
        self._segments = np.array([COLOURS[name] for name in world.colours], float)
        self._models = [_Model(name) for name in world.shapes]

    def __call__(self, image: np.ndarray) -> Reading:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"image: expected uint8 (H, W, 3), got {image.dtype} of shape {image.shape}"
            )
        x = image.astype(float)
        ground = np.median(x.reshape(-1, 3), axis=0)
        things, boxes = [], []
        for colour, opacity in self._layers(x, ground):
            for part in _parts(opacity >= 0.5):
                things.append(Thing("", self._name(colour), self._shape(opacity, part)))
                rows, columns = np.nonzero(part)
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        return Reading(tuple(things), np.array(boxes, np.float32).reshape(-1, 4))

    def _layers(self, x: np.ndarray, ground: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each colour (3,) that things have here, and its opacity (H, W)."""
        colours, left = [], np.linalg.norm(x - ground, axis=2) > APART
        while np.count_nonzero(left) >= SMALLEST and len(colours) < MOST:
            pixels = x[left]
            size = (pixels**2).sum(axis=1)
            near = size[:, None] - 2 * pixels @ pixels.T + size < CROWD**2
            crowd = near[near.sum(axis=1).argmax()]
            if np.count_nonzero(crowd) < SMALLEST // 2:
                break
            colours.append(np.median(pixels[crowd], axis=0))
            left = left & (_off_segment(x, ground, colours[-1])[0] > CROWD)
        if not colours:
            return
        off, along = map(np.array, zip(*(_off_segment(x, ground, c) for c in colours), strict=True))
        nearest = off.argmin(axis=0)
        for k, colour in enumerate(colours):
            yield colour, np.where(nearest == k, along[k], 0)

    def _name(self, colour: np.ndarray) -> str:
        off = [_off_segment(colour, dark, light)[0] for dark, light in self._segments]
        return self.colours[int(np.argmin(off))]

    def _shape(self, opacity: np.ndarray, part: np.ndarray) -> str:
        around = _grown(part)
        rows, columns = (np.flatnonzero(around.any(axis=axis)) for axis in (1, 0))
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        opacity = np.pad(np.where(around, opacity, 0)[window], 1)
        misfits = [model.misfit(opacity) for model in self._models]
        best = int(np.argmin(misfits))
        return self._models[best].name if misfits[best] <= MISFIT else ""


class _Model:
    """A shape's area and centre, if its radius is 1, and how well it fits."""

    def __init__(self, name: str):
        self.name, self.distance = name, OUTLINES[name]
        ends = (np.arange(_FINE) + 0.5) / _FINE * 2 - 1
        y, x = np.meshgrid(ends, ends, indexing="ij")
        inside = self.distance(x, y) <= 0
        self.area = inside.mean() * 4
        self.centre = np.array([x[inside].mean(), y[inside].mean()])

    def misfit(self, opacity: np.ndarray) -> float:
        """The least Σ(a − â)² of all turns, as a share of the area Σa."""
        area = opacity.sum()
        radius = np.sqrt(area / self.area)
        rows, columns = np.indices(opacity.shape) + 0.5
        x, y = ((opacity * places).sum() / area for places in (columns, rows))
        turns = 2 * np.pi * np.arange(_TURNS) / _TURNS
        cos, sin = np.cos(turns)[:, None, None], np.sin(turns)[:, None, None]
        across, down = (columns - x) / radius, (rows - y) / radius
        u = cos * across + sin * down + self.centre[0]
        v = cos * down - sin * across + self.centre[1]
        expected = np.clip(0.5 - radius * self.distance(u, v), 0, 1)
        return float(((opacity - expected) ** 2).sum(axis=(1, 2)).min() / area)


@dataclass(frozen=True)
class Told:
    """What of each caption is so in its picture: booleans (N,).

    colours, shapes  as many things as there are to be, of these colours, or shapes
    things           and each of both: "a red circle", not a red square and a blue circle
    relations        and they lie as was said, if anything was said of it
    """

    colours: np.ndarray
    shapes: np.ndarray
    things: np.ndarray
    relations: np.ndarray

    def shares(self) -> dict[str, Estimate]:
        """How often each is so, by its name, and the standard error."""
        return {field.name: share(getattr(self, field.name)) for field in fields(self)}

    def __str__(self) -> str:
        return ", ".join(f"{name} {found:.1%}" for name, found in self.shares().items())


def what_is_so(images: np.ndarray, captions: Sequence[str], world: World) -> Told:
    """Read the pictures, uint8 (N, H, W, 3), and compare: captions are about one thing or two.

    How large things are is not looked at, whatever a caption says of it.  Raises ValueError where a
    caption is about something else, or there are not as many as pictures.
    """
    if len(images) != len(captions):
        raise ValueError(f"captions: expected {len(images)}, one a picture, got {len(captions)}")
    reader = Reader(world)
    rows = []
    for image, caption in zip(images, captions, strict=True):
        told, said = parse(caption)
        wanted = tuple(replace(thing, size="") for thing in told)
        seen = reader(image)
        same = [
            sorted(map(aspect, seen.things)) == sorted(map(aspect, wanted))
            for aspect in (lambda t: t.colour, lambda t: t.shape, str)
        ]
        rows.append((*same, same[2] and (not said or _lie_so(seen, wanted, said))))
    return Told(*np.array(rows, bool).reshape(-1, 4).T)


def _lie_so(seen: Reading, wanted: tuple[Thing, ...], said: str) -> bool:
    """Do the two things that are wanted, and seen, lie as was said?  Either may be the first, if
    they are alike."""
    orders = ([0, 1], [1, 0])
    fitting = [order for order in orders if tuple(seen.things[k] for k in order) == wanted]
    return any(relation(seen.boxes[order]) == said for order in fitting)


def _off_segment(x: np.ndarray, start: np.ndarray, end: np.ndarray):
    """Of colours (…, 3): their distance from the segment, and how far along it they lie, 0 … 1."""
    way = end - start
    along = np.clip((x - start) @ way / (way @ way), 0, 1)
    return np.linalg.norm(x - start - along[..., None] * way, axis=-1), along


def _parts(mask: np.ndarray) -> Iterator[np.ndarray]:
    """The connected parts (H, W) of a mask that are large enough for a thing."""
    left = mask.copy()
    while left.any():
        part = np.zeros_like(mask)
        part[np.unravel_index(left.argmax(), left.shape)] = True
        while True:
            more = _grown(part) & mask
            if np.array_equal(more, part):
                break
            part = more
        left &= ~part
        if np.count_nonzero(part) >= SMALLEST:
            yield part


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its neighbours above, below, to the left and to the right."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
