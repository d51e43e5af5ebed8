"""Data sets, as bytes on the host, and batches of them.

Built in: ``digits``, ``single_shapes``, ``told_scenes``.  Found or downloaded: ``mnist``,
``fashion_mnist``, ``cifar10``.  A folder of pictures: ``image_folder``.  Each returns a
``Dataset``, a class for each picture.  Built in, too: ``shapes`` and ``scattered_digits``, with
boxes and masks of several objects in each: ``Scenes``.
``Batches`` and ``ordered`` draw from both.  ``load_drawn`` reads what examples/sample.py has drawn,
``read_picture``, ``read_square`` and ``read_pixels`` a picture in a file.  ``train_and_test`` finds
what to learn classes from, and what to test that on; ``first_of`` takes some pictures of all
classes.  ``Tokenizer`` makes numbers of captions.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tinydiff.data.batches import Batches, ordered
from tinydiff.data.cifar import cifar10
from tinydiff.data.dataset import Dataset
from tinydiff.data.digits import digits
from tinydiff.data.download import DatasetNotFoundError
from tinydiff.data.drawn import is_drawn, load_drawn
from tinydiff.data.folder import image_folder
from tinydiff.data.held_out import held_out, pairs_of
from tinydiff.data.mnist import fashion_mnist, mnist
from tinydiff.data.picture import light_on_dark, read_picture, read_pixels, read_square
from tinydiff.data.scattered import scattered_digits
from tinydiff.data.scenes import NOTHING, Scene, Scenes, semantic_masks
from tinydiff.data.shapes import shapes
from tinydiff.data.single_shapes import single_shapes
from tinydiff.data.splits import first_of, hold_out, learned_from, short_name, train_and_test
from tinydiff.data.tokens import NO_CAPTION, PAD, Tokenizer
from tinydiff.data.told import told_scenes
from tinydiff.data.world import SIMPLE, World

MNIST_LIKE: Mapping[str, Callable[..., Dataset]] = MappingProxyType(
    {"digits": digits, "mnist": mnist, "fashion-mnist": fashion_mnist}
)
"""By name, those of 28×28 grey pictures in ten classes: MNIST_LIKE[name]("train"), or ("test")."""

LABELLED: Mapping[str, Callable[..., Dataset]] = MappingProxyType(
    {**MNIST_LIKE, "shapes": single_shapes, "cifar10": cifar10}
)
"""By name, all that have a class for each picture, and a part to test on."""

__all__ = [
    "LABELLED",
    "MNIST_LIKE",
    "NOTHING",
    "NO_CAPTION",
    "PAD",
    "SIMPLE",
    "Batches",
    "Dataset",
    "DatasetNotFoundError",
    "Scene",
    "Scenes",
    "Tokenizer",
    "World",
    "cifar10",
    "digits",
    "fashion_mnist",
    "first_of",
    "held_out",
    "hold_out",
    "image_folder",
    "is_drawn",
    "learned_from",
    "light_on_dark",
    "load_drawn",
    "mnist",
    "ordered",
    "pairs_of",
    "read_picture",
    "read_pixels",
    "read_square",
    "scattered_digits",
    "semantic_masks",
    "shapes",
    "short_name",
    "single_shapes",
    "told_scenes",
    "train_and_test",
]
