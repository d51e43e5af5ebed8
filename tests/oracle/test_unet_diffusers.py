"""The U-Net against diffusers' UNet2DModel, which with these settings is Ho et al.'s network.

Weights are copied from theirs to ours; outputs and the gradients of every parameter and of the
input must agree.  Not equal by themselves, and made so here:
- their time embedding is computed in float32, where sin(999·ω) is off by up to 6e-5: for the
  comparison in float64 it is replaced by ours (and compared on its own);
- GroupNorm's ε is 1e-5 by default in both, 1e-6 in Ho et al.'s code.
"""

import re

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, interop
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import UNet
from tinydiff.models.embedding import sinusoidal_embedding

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.oracle

PARAMETERS = 35_746_307

# Our names, as patterns, and theirs.  The linear layer qkv is three of theirs side by side.
NAMES = [
    (r"^stem\.", "conv_in."),
    (r"^time(\d)\.", r"time_embedding.linear_\1."),
    (r"^label\.", "class_embedding."),
    (r"^(down|up)\.(\d)\.blocks\.(\d)\.0\.", r"\1_blocks.\2.resnets.\3."),
    (r"^(down|up)\.(\d)\.blocks\.(\d)\.1\.", r"\1_blocks.\2.attentions.\3."),
    (r"^down\.(\d)\.resample\.", r"down_blocks.\1.downsamplers.0.conv."),
    (r"^up\.(\d)\.resample\.1\.", r"up_blocks.\1.upsamplers.0.conv."),
    (r"^middle\.0\.", "mid_block.resnets.0."),
    (r"^middle\.1\.", "mid_block.attentions.0."),
    (r"^middle\.2\.", "mid_block.resnets.1."),
    (r"^norm\.", "conv_norm_out."),
    (r"^head\.", "conv_out."),
    (r"(attentions\.\d\.)norm\.", r"\1group_norm."),
    (r"(attentions\.\d\.)proj\.", r"\1to_out.0."),
    (r"\.embed\.", ".time_emb_proj."),
    (r"\.shortcut\.", ".conv_shortcut."),
]


def as_ours(name: str, theirs: dict[str, np.ndarray]) -> np.ndarray:
    """Our parameter of that name (or its gradient), taken out of theirs."""
    for ours, replacement in NAMES:
        name = re.sub(ours, replacement, name)
    parts = [name.replace("qkv", f"to_{c}") for c in "qkv"] if "qkv" in name else [name]
    arrays = [theirs.pop(part) for part in parts]
    if name.endswith("weight") and "class_embedding" not in name and arrays[0].ndim > 1:
        kind = "conv" if arrays[0].ndim == 4 else "linear"
        arrays = [interop.from_torch(a, kind) for a in arrays]
    return np.concatenate(arrays, axis=-1)


def as_ours_all(model: UNet, theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    left = dict(theirs)
    state = {name: as_ours(name, left) for name, _ in model.named_parameters()}
    assert not left, f"no place for {sorted(left)}"
    return state


def their_network(widths, **settings):
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(
        out_channels=3,
        flip_sin_to_cos=False,
        freq_shift=1,
        downsample_padding=0,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        **{"attention_head_dim": None, "in_channels": 3, **settings},
    )
    with torch.no_grad():  # nothing may stay at one or zero
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def both_sides(ours: UNet, theirs, x, t, cond=None):
    """(output, gradient of the input, gradients of the parameters) of ours, and of theirs."""
    rng = np.random.default_rng(1)
    ours.load_state_dict(
        as_ours_all(ours, {n: p.detach().numpy() for n, p in theirs.named_parameters()})
    )

    picture = Tensor(asarray(x), requires_grad=True)
    y = ours(picture, asarray(t), None if cond is None else asarray(cond))
    weights = rng.standard_normal(y.shape).astype(x.dtype)
    (y * Tensor(asarray(weights))).sum().backward()
    grads = {name: to_numpy(p.grad) for name, p in ours.named_parameters()}
    our_side = y.numpy(), to_numpy(picture.grad), grads

    picture = torch.tensor(interop.to_torch(x, "image"), requires_grad=True)
    labels = None if cond is None else torch.tensor(cond)
    y = theirs(picture, torch.tensor(t), class_labels=labels).sample
    (y * torch.tensor(interop.to_torch(weights, "image"))).sum().backward()
    grads = as_ours_all(ours, {n: p.grad.numpy() for n, p in theirs.named_parameters()})
    image = lambda a: interop.from_torch(a.detach().numpy(), "image")
    return our_side, (image(y), image(picture.grad), grads)


def check(ours, theirs, tolerance):
    (y, gx, grads), (their_y, their_gx, their_grads) = ours, theirs
    pairs = {"output": (y, their_y), "gradient of x": (gx, their_gx)}
    pairs |= {name: (grads[name], their_grads[name]) for name in grads}
    for name, (a, b) in pairs.items():
        size = np.abs(b).max()
        assert a.shape == b.shape and a.dtype == b.dtype and size > 0, name
        error = np.abs(a - b).max() / size
        assert error <= tolerance, f"{name}: relative error {error:.3g}"


class OurWaves(torch.nn.Module):
    """Our time embedding, in place of theirs."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, t):
        waves = to_numpy(sinusoidal_embedding(asarray(t.numpy().ravel()), self.size))
        return torch.tensor(waves.reshape(len(t), -1))


@pytest.mark.parametrize(
    "their_settings, our_settings, cond",
    [
        ({}, {}, None),
        ({"num_class_embeds": 4}, {"num_classes": 3}, [3, 0]),
        ({"attention_head_dim": 8}, {"num_heads": 4}, None),
    ],
)
def test_small_and_exact(their_settings, our_settings, cond):
    theirs = their_network((16, 32, 32, 32), norm_num_groups=8, **their_settings).double()
    theirs.time_proj = OurWaves(16)
    ours = UNet(
        3,
        base_channels=16,
        channel_mults=(1, 2, 2, 2),
        attention_levels=(1,),
        norm_groups=8,
        **our_settings,
    ).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((2, 16, 8, 3))
    check(*both_sides(ours, theirs, x, np.array([3, 999]), cond), 1e-12)


def test_two_pictures_each_with_a_time_of_its_own():
    theirs = their_network((16, 32, 32, 32), norm_num_groups=8, in_channels=6)
    theirs.time_proj = OurWaves(16)
    theirs.time_embedding.linear_1 = torch.nn.Linear(2 * 16, 64)
    settings = {"channel_mults": (1, 2, 2, 2), "attention_levels": (1,), "norm_groups": 8}
    ours = UNet(6, 3, base_channels=16, times=2, **settings).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((2, 16, 8, 6))
    t = np.array([[3, 999], [40.5, 0]])
    check(*both_sides(ours, theirs.double(), x, t), 1e-12)


def test_ho_et_als_network_at_full_width():
    theirs = their_network((128, 256, 256, 256))
    td.seed(0)
    ours = UNet(3, base_channels=128, channel_mults=(1, 2, 2, 2), attention_levels=(1,))
    assert ours.num_parameters() == PARAMETERS
    assert sum(p.numel() for p in theirs.parameters()) == PARAMETERS
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    check(*both_sides(ours, theirs, x, np.array([3, 999])), 1e-4)


def test_time_embedding():
    t = np.arange(1000)
    theirs = diffusers.models.embeddings.get_timestep_embedding(
        torch.tensor(t), 128, flip_sin_to_cos=False, downscale_freq_shift=1
    )
    ours = to_numpy(sinusoidal_embedding(asarray(t), 128))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4)
