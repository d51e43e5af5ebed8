"""The autoencoder against diffusers' AutoencoderKL, and the discriminator against PyTorch's layers.

With their weights, ours must give their posterior and pictures, and their gradients, of every
parameter and of the picture.  Their norms have an ε of 1e-6, and get ours here.
"""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, interop
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import DiagonalGaussian, KLAutoencoder, PatchDiscriminator

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
torch.set_num_threads(1)
pytestmark = pytest.mark.oracle

PARAMETERS = 55_312_063  # of Rombach et al.'s network at f = 4


def their_network(widths, blocks, groups):
    torch.manual_seed(0)
    levels = len(widths)
    model = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=widths,
        layers_per_block=blocks,
        latent_channels=3,
        norm_num_groups=groups,
    )
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.eps = 1e-5
    with torch.no_grad():  # nothing may stay at one or zero
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def their_names(widths, blocks) -> dict[str, str]:
    """Where each of our layers is in theirs: they are in a row in ours."""
    down, up, levels = [], [], len(widths)
    for level in range(levels):
        down += [f"down_blocks.{level}.resnets.{i}" for i in range(blocks)]
        down += [f"down_blocks.{level}.downsamplers.0.conv"] * (level < levels - 1)
        up += [f"up_blocks.{level}.resnets.{i}" for i in range(blocks + 1)]
        up += ["", f"up_blocks.{level}.upsamplers.0.conv"] if level < levels - 1 else []
    middle = [f"mid_block.{part}" for part in ("resnets.0", "attentions.0", "resnets.1")]
    encoder = [f"encoder.{n}" for n in ("conv_in", *down, *middle, "conv_norm_out", "conv_out")]
    decoder = [f"decoder.{n}" for n in ("conv_in", *middle, *up, "conv_norm_out")]
    names = {f"encoder.body.{i}": name for i, name in enumerate([*encoder, "quant_conv"])}
    names |= {f"decoder.body.{i}": name for i, name in enumerate(["post_quant_conv", *decoder])}
    return names | {"head": "decoder.conv_out"}


def as_ours(model, names, theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Their parameters, or gradients, by our names; each is used, and once."""
    left, state = dict(theirs), {}
    for name, _ in model.named_parameters():
        if name == "log_scale":
            continue
        ours = next(prefix for prefix in names if name.startswith(f"{prefix}."))
        rest = name.removeprefix(f"{ours}.").replace("shortcut", "conv_shortcut")
        if "attentions" in names[ours]:
            rest = rest.replace("proj", "to_out.0").replace("norm", "group_norm")
        parts = [rest.replace("qkv", f"to_{c}") for c in "qkv"] if "qkv" in rest else [rest]
        arrays = [left.pop(f"{names[ours]}.{part}") for part in parts]
        if arrays[0].ndim > 1:
            kind = "conv" if arrays[0].ndim == 4 else "linear"
            arrays = [interop.from_torch(a, kind) for a in arrays]
        state[name] = np.concatenate(arrays, axis=-1)
    assert not left, f"no place for {sorted(left)}"
    return state


def check(pairs: dict, tolerance: float):
    for name, (a, b) in pairs.items():
        assert a.shape == b.shape and a.dtype == b.dtype, name
        error = np.abs(a - b).max() / np.abs(b).max()
        assert error <= tolerance, f"{name}: relative error {error:.3g}"


def compare(ours: KLAutoencoder, theirs, names, x: np.ndarray, tolerance: float):
    """Both take the same path: x → posterior → a sample, of the same noise → pictures, and KL."""
    image = lambda a: interop.from_torch(a.detach().numpy(), "image")
    rng = np.random.default_rng(1)
    weights = {n: p.detach().numpy() for n, p in theirs.named_parameters()}
    ours.load_state_dict(ours.state_dict() | as_ours(ours, names, weights))
    picture = Tensor(asarray(x), requires_grad=True)
    posterior = ours.posterior(picture)
    noise = rng.standard_normal(posterior.mean.shape).astype(x.dtype)
    seen = rng.standard_normal(x.shape).astype(x.dtype)
    z = posterior.mean + (0.5 * posterior.log_variance).exp() * asarray(noise)
    y, kl = ours.decode(z), posterior.kl()
    ((y * asarray(seen)).sum() + kl.sum()).backward()

    their_picture = torch.tensor(interop.to_torch(x, "image"), requires_grad=True)
    their_posterior = theirs.encode(their_picture).latent_dist
    z = their_posterior.mean + their_posterior.std * torch.tensor(interop.to_torch(noise, "image"))
    their_y, their_kl = theirs.decode(z).sample, their_posterior.kl()
    ((their_y * torch.tensor(interop.to_torch(seen, "image"))).sum() + their_kl.sum()).backward()

    gradients = {n: p.grad.numpy() for n, p in theirs.named_parameters()}
    grads = as_ours(ours, names, gradients)
    pairs = {
        "mean": (posterior.mean.numpy(), image(their_posterior.mean)),
        "log variance": (posterior.log_variance.numpy(), image(their_posterior.logvar)),
        "mode": (ours.encode(x).numpy(), image(their_posterior.mode())),
        "KL": (kl.numpy(), their_kl.detach().numpy()),
        "pictures": (y.numpy(), image(their_y)),
        "gradient of x": (to_numpy(picture.grad), image(their_picture.grad)),
    }
    parameters = dict(ours.named_parameters())
    pairs |= {n: (to_numpy(parameters[n].grad), grads[n]) for n in grads}
    check(pairs, tolerance)


@pytest.mark.parametrize(
    ("widths", "blocks", "size"), [((8, 16), 1, (8, 12)), ((8, 8, 16), 2, (8, 4))]
)
def test_small_and_exact(widths, blocks, size):
    theirs = their_network(widths, blocks, 4).double()
    mults = [width // 8 for width in widths]
    settings = {"base_channels": 8, "channel_mults": mults, "num_res_blocks": blocks}
    ours = KLAutoencoder(3, 3, **settings, norm_groups=4).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((2, *size, 3))
    compare(ours, theirs, their_names(widths, blocks), x, 1e-10)


def test_rombach_et_als_network_at_full_width():
    widths = (128, 256, 512)
    theirs = their_network(widths, 2, 32)
    td.seed(0)
    ours = KLAutoencoder(3, 3, base_channels=128, channel_mults=(1, 2, 4), num_res_blocks=2)
    assert sum(p.numel() for p in theirs.parameters()) == PARAMETERS
    assert ours.num_parameters() == PARAMETERS + 1  # s, which they keep beside their loss
    x = np.random.default_rng(0).standard_normal((1, 16, 16, 3)).astype(np.float32)
    compare(ours, theirs, their_names(widths, 2), x, 2e-4)


def test_posterior():
    moments = np.random.default_rng(0).standard_normal((3, 4, 2, 6)) * 20
    theirs = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution(
        torch.tensor(interop.to_torch(moments, "image"))
    )
    ours = DiagonalGaussian(Tensor(asarray(moments)))
    np.testing.assert_allclose(ours.kl().numpy(), theirs.kl().numpy(), rtol=1e-12)
    clamped = interop.from_torch(theirs.logvar.numpy(), "image")
    np.testing.assert_array_equal(ours.log_variance.numpy(), clamped)


@pytest.mark.parametrize("training", [True, False])
def test_discriminator(training):
    """Isola et al.'s, as PyTorch's own layers put together: values, gradients, statistics."""
    nn = torch.nn
    theirs = nn.Sequential(
        *(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(32, 64, 4, 1, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2)),
        nn.Conv2d(64, 1, 4, 1, 1),
    ).double()
    td.seed(0)
    ours = PatchDiscriminator(3, base_channels=8, layers=3).astype(np.float64)
    for model in (ours, theirs):
        model.train(training)
    state = ours.state_dict()
    layers = [layer for layer in theirs if not isinstance(layer, nn.LeakyReLU)]
    own = [layer for layer in ours.body if type(layer).__name__ != "LeakyReLU"]
    with torch.no_grad():
        for mine, other in zip(own, layers, strict=True):
            other.weight[...] = torch.tensor(
                interop.to_torch(mine.weight.data, "conv")
                if mine.weight.ndim == 4
                else to_numpy(mine.weight.data)
            )
            if mine.bias is not None:
                other.bias[...] = torch.tensor(to_numpy(mine.bias.data))
    x = np.random.default_rng(0).standard_normal((2, 24, 32, 3))
    picture = Tensor(asarray(x), requires_grad=True)
    y = ours(picture)
    seen = np.random.default_rng(1).standard_normal(y.shape)
    (y * asarray(seen)).sum().backward()
    their_picture = torch.tensor(interop.to_torch(x, "image"), requires_grad=True)
    their_y = theirs(their_picture)[:, 0]
    (their_y * torch.tensor(seen)).sum().backward()
    pairs = {
        "logits": (y.numpy(), their_y.detach().numpy()),
        "x": (to_numpy(picture.grad), interop.from_torch(their_picture.grad.numpy(), "image")),
    }
    for i, (mine, other) in enumerate(zip(own, layers, strict=True)):
        grad = other.weight.grad.numpy()
        grad = interop.from_torch(grad, "conv") if grad.ndim == 4 else grad
        pairs[f"weight {i}"] = to_numpy(mine.weight.grad), grad
        if mine.bias is not None:
            pairs[f"bias {i}"] = to_numpy(mine.bias.grad), other.bias.grad.numpy()
        if hasattr(mine, "running_var"):
            pairs[f"variance {i}"] = to_numpy(mine.running_var), other.running_var.numpy()
    check(pairs, 1e-10)
    assert (ours.state_dict().keys() == state.keys()) and training == any(
        not np.array_equal(a, state[n]) for n, a in ours.state_dict().items()
    )
