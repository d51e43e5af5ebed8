"""The text encoder against PyTorch's transformer, the spatial one against diffusers'.

Weights are copied from theirs to ours; outputs, gradients of what goes in and of every parameter
must agree, in float64.
"""

import re

import numpy as np
import pytest

from tinydiff import Tensor, interop
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import TextEncoder
from tinydiff.models.spatial_transformer import SpatialTransformer

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.oracle


def as_ours(theirs: dict[str, np.ndarray], names: list[tuple[str, str]]) -> dict[str, np.ndarray]:
    """Their parameters, or gradients, by our names and in our layout."""
    state = {}
    for name, array in theirs.items():
        for pattern, ours in names:
            name = re.sub(pattern, ours, name)
        if array.ndim == 2 and name not in ("word.weight", "place.weight"):
            array = interop.from_torch(array, "linear")
        elif array.ndim == 4:
            array = interop.from_torch(array, "conv")[0, 0]  # 1×1
        state[name] = array
    return state


def disturbed(theirs, seed=0):
    """Nothing may stay at one or zero."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return theirs


def check(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        got, size = to_numpy(ours[name]), np.abs(expected).max()
        assert got.shape == expected.shape and size > 0, name
        assert np.abs(got - expected).max() <= 1e-12 * max(size, 1), name


# The text encoder

TOKENS = np.array([[2, 3, 4, 5, 6], [3, 2, 7, 0, 0], [1, 0, 0, 0, 0]])
ENCODER = [
    (r"^layers\.(\d)\.self_attn\.out_proj\.", r"blocks.\1.attention.out."),
    (r"^layers\.(\d)\.norm", r"blocks.\1.norm"),
    (r"^layers\.(\d)\.linear1\.", r"blocks.\1.expand."),
    (r"^layers\.(\d)\.linear2\.", r"blocks.\1.contract."),
]


class TheirEncoder(torch.nn.Module):
    def __init__(self, vocabulary, length, width, depth, heads):
        super().__init__()
        self.word = torch.nn.Embedding(vocabulary, width)
        self.place = torch.nn.Embedding(length, width)
        layer = torch.nn.TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.transformer = torch.nn.TransformerEncoder(
            layer, depth, norm=torch.nn.LayerNorm(width), enable_nested_tensor=False
        )

    def forward(self, tokens):
        h = self.word(tokens) + self.place(torch.arange(tokens.shape[1]))
        return self.transformer(h, src_key_padding_mask=tokens == 0)

    def arrays(self, of) -> dict[str, np.ndarray]:
        """Parameters, or their gradients, with q, k and v apart."""
        found = {}
        for name, parameter in self.named_parameters():
            array, name = of(parameter).numpy(), name.removeprefix("transformer.")
            layer, together, kind = name.partition(".self_attn.in_proj_")
            if together:
                ours = layer.replace("layers", "blocks")
                for part, third in zip(("query", "key", "value"), np.split(array, 3), strict=True):
                    found[f"{ours}.attention.{part}.{kind}"] = third
            else:
                found[name] = array
        return as_ours(found, ENCODER)


@pytest.mark.parametrize(("depth", "heads"), [(1, 1), (3, 4)])
def test_text_encoder(depth, heads):
    settings = {"width": 8, "depth": depth, "heads": heads}
    theirs = disturbed(TheirEncoder(8, 6, **settings).double())
    ours = TextEncoder(8, 6, **settings).astype(np.float64)
    ours.load_state_dict(theirs.arrays(lambda p: p.detach()))
    # What stands where there is padding means nothing, and is not compared.
    weights = np.random.default_rng(0).standard_normal((3, 5, 8)) * (TOKENS != 0)[..., None]

    y = ours(TOKENS)
    (y * Tensor(asarray(weights))).sum().backward()
    grads = {name: to_numpy(p.grad) for name, p in ours.named_parameters()}

    their_y = theirs(torch.tensor(TOKENS))
    (their_y * torch.tensor(weights)).sum().backward()
    their_grads = theirs.arrays(lambda p: p.grad)
    words = TOKENS != 0
    check({"y": y.numpy()[words]}, {"y": their_y.detach().numpy()[words]})
    keys = [name for name in grads if name.endswith("attention.key.bias")]
    assert len(keys) == depth
    for name in keys:  # zero but for rounding, in both
        assert max(np.abs(grads.pop(name)).max(), np.abs(their_grads.pop(name)).max()) < 1e-12
    check(grads, their_grads)


# The spatial transformer

SPATIAL = [
    (r"^proj_in\.", "enter."),
    (r"^proj_out\.", "leave."),
    (r"^transformer_blocks\.", "blocks."),
    (r"\.attn1\.", ".pixels."),
    (r"\.attn2\.", ".words."),
    (r"\.to_q\.", ".query."),
    (r"\.to_k\.", ".key."),
    (r"\.to_v\.", ".value."),
    (r"\.to_out\.0\.", ".out."),
    (r"\.ff\.net\.0\.proj\.", ".expand."),
    (r"\.ff\.net\.2\.", ".contract."),
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("depth", "heads", "linear"), [(1, 1, False), (2, 4, False), (2, 2, True)])
def test_spatial_transformer(depth, heads, linear, masked):
    channels, context_dim = 16, 6
    theirs = diffusers.Transformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=channels // heads,
        in_channels=channels,
        num_layers=depth,
        norm_num_groups=4,
        cross_attention_dim=context_dim,
        activation_fn="geglu",
        use_linear_projection=linear,
    )
    theirs = disturbed(theirs.double())
    ours = SpatialTransformer(channels, context_dim, groups=4, heads=heads, depth=depth)
    ours.astype(np.float64).load_state_dict(
        as_ours({n: p.detach().numpy() for n, p in theirs.named_parameters()}, SPATIAL)
    )
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((2, 2, 3, 5, channels))
    context = rng.standard_normal((2, 4, context_dim))
    mask = np.array([[[True] * 4], [[True, True, False, False]]]) if masked else None

    picture, words = (Tensor(asarray(a), requires_grad=True) for a in (x, context))
    y = ours(picture, words, mask)
    (y * Tensor(asarray(weights))).sum().backward()
    found = {name: p.grad for name, p in ours.named_parameters()}
    found |= {"y": y.data, "gradient of x": picture.grad, "gradient of context": words.grad}

    picture = torch.tensor(interop.to_torch(x, "image"), requires_grad=True)
    words = torch.tensor(context, requires_grad=True)
    mask = None if mask is None else torch.tensor(mask[:, 0])
    y = theirs(picture, encoder_hidden_states=words, encoder_attention_mask=mask).sample
    (y * torch.tensor(interop.to_torch(weights, "image"))).sum().backward()
    expected = as_ours({n: p.grad.numpy() for n, p in theirs.named_parameters()}, SPATIAL)
    image = lambda a: interop.from_torch(a.detach().numpy(), "image")
    expected |= {"y": image(y), "gradient of x": image(picture.grad)}
    expected["gradient of context"] = words.grad.numpy()
    check(found, expected)
