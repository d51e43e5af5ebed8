"""A data set of pictures with several objects each: their classes, boxes and masks.

Pictures differ in how many objects they show, arrays do not: there is room for K objects in each,
and a label of NOTHING where there is none.  So a batch is a slice, for an image (H, W), of

    labels     (K,)       the class of each object, NOTHING = −1 after the last
    boxes      (K, 4)     (x0, y0, x1, y1) in pixels, half-open: as wide as x1 − x0; else zeros
    instances  (H, W)     0 where the background shows, k where the k-th object does (from 1)

and `semantic_masks` makes of labels and instances what class shows at each pixel.  A detector takes
images, labels and boxes, a segmenter images and masks, a localiser labels[:, 0] and boxes[:, 0].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinydiff.data.checks import check_array, check_images, check_names
from tinydiff.data.dataset import Dataset

NOTHING = -1


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures and the objects in them.

    name       what it is, for file names and titles
    images     uint8 (N, H, W, C), C = 1 or 3, N ≥ 1
    labels     int64 (N, K), K ≥ 1: indices into ``classes``, then NOTHING; all NOTHING is allowed
    boxes      float32 (N, K, 4), within the picture, none of them empty; 0 where there is no object
    classes    a name for each label
    instances  uint8 (N, H, W): k where the k-th object is seen, at most as many as there are
               labels; or None where no masks are known
    captions   a text for each picture, or none at all

    ``scenes[i]`` is picture i alone, without the padding, ``scenes[:100]`` a data set of the first
    hundred.  `Batches` and `ordered` draw batches of (x, labels, boxes, instances), whose flips
    and paddings boxes and masks follow; captions do not, of which a flip may make a lie.
    Raises TypeError or ValueError, naming the field, where something else comes.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    classes: tuple[str, ...]
    instances: np.ndarray | None = None
    captions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.name, self.classes)
        check_images(self.images)
        n, height, width = self.images.shape[:3]
        check_array("labels", self.labels, np.int64)
        if self.labels.ndim != 2 or len(self.labels) != n or not self.labels.shape[1]:
            raise ValueError(
                f"labels must be ({n}, K), a row for each image with room for at least one "
                f"object, got shape {self.labels.shape}"
            )
        low, high = self.labels.min(), self.labels.max()
        if low < NOTHING or high >= len(self.classes):
            raise ValueError(
                f"labels must lie in 0 ... {len(self.classes) - 1}, an index into the "
                f"{len(self.classes)} classes, or be {NOTHING}, but they range from {low} to {high}"
            )
        there = self.labels != NOTHING
        if (there[:, 1:] > there[:, :-1]).any():
            raise ValueError(f"labels must have {NOTHING} only after a picture's last object")
        _check_boxes(self.boxes, there, height, width)
        if self.instances is not None:
            check_array("instances", self.instances, np.uint8)
            if self.instances.shape != (n, height, width):
                raise ValueError(
                    f"instances must have shape {(n, height, width)}, a number for each pixel, "
                    f"got {self.instances.shape}"
                )
            if (self.instances.reshape(n, -1).max(axis=1) > there.sum(axis=1)).any():
                raise ValueError("instances must not be larger than the number of a scene's labels")
        if not isinstance(self.captions, tuple) or not all(
            isinstance(caption, str) for caption in self.captions
        ):
            raise TypeError("captions must be a tuple of texts")
        if len(self.captions) not in (0, n):
            raise ValueError(f"captions must be {n}, one for each image, got {len(self.captions)}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int | slice) -> Scene | Scenes:
        if isinstance(i, slice):
            masks = None if self.instances is None else self.instances[i]
            arrays = self.images[i], self.labels[i], self.boxes[i]
            return Scenes(self.name, *arrays, self.classes, masks, self.captions[i])
        count = np.count_nonzero(self.labels[i] != NOTHING)
        return Scene(
            self.images[i],
            self.labels[i, :count],
            self.boxes[i, :count],
            None if self.instances is None else self.instances[i],
            self.captions[i] if self.captions else "",
        )

    def by_caption(self) -> Dataset:
        """The same pictures without objects, each different caption being a class of its own.

        Raises ValueError if there are no captions.
        """
        if not self.captions:
            raise ValueError(f"{self.name} has no captions")
        classes, labels = np.unique(self.captions, return_inverse=True)
        return Dataset(self.name, self.images, labels, tuple(classes.tolist()))

    def one_each(self) -> Dataset:
        """The scenes as pictures of one class each, that of their only object.

        Raises ValueError if a scene shows several objects, or none.
        """
        counts = (self.labels != NOTHING).sum(axis=1)
        if (counts != 1).any():
            odd = int(np.argmax(counts != 1))
            raise ValueError(f"{self.name}: scene {odd} shows {counts[odd]} objects, expected one")
        return Dataset(self.name, self.images, self.labels[:, 0].copy(), self.classes)

    def annotations(
        self, chosen: np.ndarray | slice, mirrored: np.ndarray | None, pad: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """labels, boxes and instances of the ``chosen`` scenes, as copies.

        They follow the images: those that ``mirrored`` (a bool for each) says are flipped left to
        right, x ↦ W − x, and then ``pad`` pixels are added on all sides.
        """
        labels, boxes = self.labels[chosen].copy(), self.boxes[chosen].copy()
        instances = None if self.instances is None else self.instances[chosen].copy()
        there = labels != NOTHING
        if mirrored is not None:
            flipped = mirrored[:, None] & there
            boxes[flipped, 0::2] = self.images.shape[2] - boxes[flipped][:, 2::-2]
            if instances is not None:
                instances[mirrored] = instances[mirrored, :, ::-1]
        if pad:
            boxes[there] += pad
            if instances is not None:
                instances = np.pad(instances, ((0, 0), (pad, pad), (pad, pad)))
        return labels, boxes, instances

    def __repr__(self) -> str:
        n, height, width, channels = self.images.shape
        most = (self.labels != NOTHING).sum(axis=1).max()
        return (
            f"Scenes({self.name!r}: {n} images {height}x{width}x{channels}, up to {most} objects "
            f"of {len(self.classes)} classes)"
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture of `Scenes`: labels (n,) and boxes (n, 4) of the n objects in it."""

    image: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    instances: np.ndarray | None
    caption: str

    @property
    def masks(self) -> np.ndarray:
        """bool (n, H, W): where each object is seen.  Raises ValueError if no masks are known."""
        if self.instances is None:
            raise ValueError("this scene has no masks: instances is None")
        return self.instances == np.arange(1, len(self.labels) + 1)[:, None, None]


def semantic_masks(labels: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """The class at each pixel, int64 (N, H, W): 0 for background, 1 + label for an object.

    labels (N, K) and instances (N, H, W) as `Scenes` and its batches have them.
    """
    if labels.ndim != 2 or instances.ndim != 3 or len(labels) != len(instances):
        raise ValueError(
            "labels must be (N, K) and instances (N, H, W), "
            f"got shapes {labels.shape} and {instances.shape}"
        )
    # With a column for the background in front, an instance's number is its place in the row.
    classes = np.pad(labels + 1, ((0, 0), (1, 0)))
    return classes[np.arange(len(labels))[:, None, None], instances]


def _check_boxes(boxes: np.ndarray, there: np.ndarray, height: int, width: int) -> None:
    check_array("boxes", boxes, np.float32)
    if boxes.shape != (*there.shape, 4):
        raise ValueError(f"boxes must have shape {(*there.shape, 4)}, got {boxes.shape}")
    if boxes[~there].any():
        raise ValueError("boxes must be 0 where labels say that there is no object")
    x0, y0, x1, y1 = boxes[there].T
    if not ((x0 >= 0) & (y0 >= 0) & (x0 < x1) & (y0 < y1) & (x1 <= width) & (y1 <= height)).all():
        raise ValueError(
            f"boxes must be (x0, y0, x1, y1) with 0 <= x0 < x1 <= {width} and "
            f"0 <= y0 < y1 <= {height}, in pixels"
        )
