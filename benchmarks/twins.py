"""The same networks and training steps in PyTorch, written as one who wants them fast would.

Fused attention and optimiser, channels last where that is faster, no work that ours does not do.
Modules bear the names of ours, so weights and gradients are compared by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from cases import DIFFUSION, GRID, Case
from torch import nn

from tinydiff import backend, interop
from tinydiff.kernels.workers import THREADS
from tinydiff.vision import YoloTargets
from tinydiff.vision.yolo_loss import BACKGROUND, OBJECT, OVERLAP

torch.set_num_threads(THREADS)
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = backend.tf32
DEVICE = "cuda" if backend.name == "cupy" and torch.cuda.is_available() else "cpu"
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Attention(nn.Module):
    """(N, T, C) → (N, T, C), with one product for q, k and v"""

    def __init__(self, channels: int, heads: int, out: str):
        super().__init__()
        self.heads, self._out = heads, out
        self.qkv = nn.Linear(channels, 3 * channels)
        setattr(self, out, nn.Linear(channels, channels))

    def forward(self, x):
        n, t, c = x.shape
        qkv = self.qkv(x).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv.unbind())
        return getattr(self, self._out)(y.transpose(1, 2).reshape(n, t, c))


class ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, embedding: int | None, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = None if embedding is None else nn.Linear(embedding, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut = None if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x, embedding=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if self.embed is not None:
            h = h + self.embed(embedding)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.shortcut is None else self.shortcut(x))


class SelfAttentionBlock(Attention):
    """The same on images (N, C, H, W), as a residual"""

    def __init__(self, channels: int, groups: int, heads: int):
        super().__init__(channels, heads, out="proj")
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, x):
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + super().forward(tokens).transpose(1, 2).reshape(x.shape)


class Level(nn.Module):
    def __init__(self, blocks: nn.ModuleList, resample: nn.Module | None):
        super().__init__()
        self.blocks, self.resample = blocks, resample


class UNet(nn.Module):
    def __init__(
        self,
        in_channels,
        *,
        base_channels=64,
        channel_mults=(1, 2, 2),
        num_res_blocks=2,
        attention_levels=(1,),
        num_classes=None,
        resample="conv",
        num_heads=1,
        norm_groups=32,
        patch=1,
    ):
        super().__init__()
        self.patch, half, levels = patch, base_channels // 2, len(channel_mults)
        waves = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / (half - 1))
        self.register_buffer("waves", waves)
        embedding = 4 * base_channels
        self.time1 = nn.Linear(base_channels, embedding)
        self.time2 = nn.Linear(embedding, embedding)
        self.label = None if num_classes is None else nn.Embedding(num_classes + 1, embedding)

        def residual(channels, level):
            width = base_channels * channel_mults[level]
            block = nn.ModuleList([ResidualBlock(channels, width, embedding, norm_groups)])
            if level in attention_levels:
                block.append(SelfAttentionBlock(width, norm_groups, num_heads))
            return block

        channels = base_channels
        self.stem = nn.Conv2d(in_channels * patch**2, channels, 3, padding=1)
        skips, self.down = [channels], nn.ModuleList()
        for level, mult in enumerate(channel_mults):
            blocks = nn.ModuleList()
            for _ in range(num_res_blocks):
                blocks.append(residual(channels, level))
                channels = base_channels * mult
                skips.append(channels)
            shrink = None
            if level < levels - 1:
                shrink = nn.Conv2d(channels, channels, 3, stride=2)
                skips.append(channels)
            self.down.append(Level(blocks, shrink))
        self.middle = nn.ModuleList(
            [
                ResidualBlock(channels, channels, embedding, norm_groups),
                SelfAttentionBlock(channels, norm_groups, num_heads),
                ResidualBlock(channels, channels, embedding, norm_groups),
            ]
        )
        self.up = nn.ModuleList()
        for level in reversed(range(levels)):
            blocks = nn.ModuleList()
            for _ in range(num_res_blocks + 1):
                blocks.append(residual(channels + skips.pop(), level))
                channels = base_channels * channel_mults[level]
            grow = None
            if level > 0 and resample == "conv":
                conv = nn.Conv2d(channels, channels, 3, padding=1)
                grow = nn.Sequential(nn.Upsample(scale_factor=2), conv)
            elif level > 0:
                grow = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)
            self.up.append(Level(blocks, grow))
        self.norm = nn.GroupNorm(norm_groups, channels)
        self.head = nn.Conv2d(channels, in_channels * patch**2, 3, padding=1)

    def forward(self, x, t, cond=None):
        phase = t[:, None] * self.waves
        waves = torch.cat([phase.sin(), phase.cos()], dim=1).float()
        embedding = self.time2(F.silu(self.time1(waves)))
        if self.label is not None:
            embedding = embedding + self.label(cond)
        embedding = F.silu(embedding)
        h = self.stem(F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x)
        skips = [h]
        for level in self.down:
            for block in level.blocks:
                h = run(block, h, embedding)
                skips.append(h)
            if level.resample is not None:
                h = level.resample(F.pad(h, (0, 1, 0, 1)))
                skips.append(h)
        h = run(self.middle, h, embedding)
        for level in self.up:
            for block in level.blocks:
                h = run(block, torch.cat([h, skips.pop()], dim=1), embedding)
            if level.resample is not None:
                h = level.resample(h)
        h = self.head(F.silu(self.norm(h)))
        return F.pixel_shuffle(h, self.patch) if self.patch > 1 else h


def run(block, h, embedding):
    for layer in block:
        h = layer(h, embedding) if isinstance(layer, ResidualBlock) else layer(h)
    return h


class Classifier(nn.Module):
    def __init__(self, in_channels, num_classes, widths=(32, 64, 128), norm_groups=8, dropout=0.2):
        super().__init__()
        layers, channels = [], in_channels
        for stage, width in enumerate(widths):
            for stride in (2, 1) if stage else (1,):
                layers.append(nn.Conv2d(channels, width, 3, stride=stride, padding=1))
                layers.append(NormSiLU(norm_groups, width))
                channels = width
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.head(self.dropout(self.body(x).mean((2, 3))))


class NormSiLU(nn.GroupNorm):
    def forward(self, x):
        return F.silu(super().forward(x))


class ResNet(nn.Module):
    def __init__(
        self,
        in_channels,
        num_classes,
        widths=(32, 64, 128),
        blocks=(0, 1, 1),
        norm_groups=8,
        dropout=0.2,
    ):
        super().__init__()
        self.stages = residual_stages(in_channels, widths, blocks, norm_groups)
        self.norm = NormSiLU(norm_groups, widths[-1])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x):
        return self.head(self.dropout(self.norm(self.stages(x)).mean((2, 3))))


def residual_stages(in_channels, widths, blocks, groups):
    before, layers = in_channels, []
    for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        layers.append(nn.Conv2d(before, width, 3, stride=2 if level else 1, padding=1))
        layers += [ResidualBlock(width, width, None, groups) for _ in range(count)]
        before = width
    return nn.Sequential(*layers)


class VGG(nn.Module):
    def __init__(self, in_channels, num_classes, widths=(32, 64, 128), dropout=0.2):
        super().__init__()
        ends = zip((in_channels, *widths), widths, strict=False)
        self.stages = nn.Sequential(*(Stage(before, width) for before, width in ends))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x):
        return self.head(self.dropout(self.stages(x).mean((2, 3))))


class Stage(nn.Module):
    def __init__(self, in_channels, width):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        h = F.relu(self.conv1(x), inplace=True)
        return F.max_pool2d(F.relu(self.conv2(h), inplace=True), 2)


class Strided(nn.Module):
    def __init__(self, in_channels, num_classes, widths=(32, 64), hidden=256, last=7):
        super().__init__()
        first, second = widths
        self.conv1 = nn.Conv2d(in_channels, first, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(first, second, 4, stride=2, padding=1)
        self.conv3 = nn.Conv2d(second, hidden, last)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x), inplace=True)
        return self.head(x.mean((2, 3)))


class Detector(nn.Module):
    def __init__(
        self,
        in_channels,
        channels,
        widths=(32, 64, 128),
        blocks=(1, 2, 3),
        patch=4,
        norm_groups=8,
    ):
        super().__init__()
        self.patch = patch
        self.body = residual_stages(in_channels * patch**2, widths, blocks, norm_groups)
        self.norm = NormSiLU(norm_groups, widths[-1])
        self.head = nn.Linear(widths[-1], channels)

    def forward(self, x):
        h = self.norm(self.body(F.pixel_unshuffle(x, self.patch)))
        return self.head(h.permute(0, 2, 3, 1))


class TransformerBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, out="out")
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def mean_squares(model, target, *inputs):
    return F.mse_loss(model(*inputs), target)


def smooth_cross_entropy(model, target, *inputs):
    return F.cross_entropy(model(*inputs), target, label_smoothing=0.05)


def per_step(coefficients: np.ndarray) -> torch.Tensor:
    return torch.tensor(coefficients, dtype=torch.float32, device=DEVICE).view(-1, 1, 1, 1)


SIGNAL = per_step(DIFFUSION.schedule.sqrt_alphas_cumprod)
SIGMA = per_step(DIFFUSION.schedule.sqrt_one_minus_alphas_cumprod)


def diffusion_loss(model, target, x0, t, labels=None):
    n, T = len(x0), len(SIGNAL)
    t = ((torch.randint(T, ()) + torch.arange(n) * T // n) % T).to(DEVICE)
    noise, signal, sigma = torch.randn_like(x0), SIGNAL[t], SIGMA[t]
    if labels is not None:
        null = model.label.num_embeddings - 1
        labels = torch.where(torch.rand(n, device=DEVICE) < 0.1, null, labels)
    predicted = model(signal * x0 + sigma * noise, t, labels)
    return F.mse_loss(predicted, signal * noise - sigma * x0)


ANCHORS, CELL = (
    torch.tensor(a, dtype=torch.float32, device=DEVICE) for a in (GRID.anchors, GRID.cell_size)
)
COLUMN, ROW = np.meshgrid(np.arange(GRID.cells[1]), np.arange(GRID.cells[0]))
CORNER = torch.tensor(np.stack([COLUMN, ROW], axis=-1)[:, :, None], device=DEVICE)


def yolo(model, target, x):
    """tinydiff.vision.yolo_loss"""
    t = model(x).unflatten(-1, (len(ANCHORS), -1))
    place = tuple(target.place.T)
    with torch.no_grad():
        centre, half = CORNER + t[..., :2].sigmoid(), ANCHORS * t[..., 2:4].exp() / 2
        boxes = torch.cat([(centre - half) * CELL, (centre + half) * CELL], -1)
        truths = target.truths[:, None, None, None]
        background = iou(boxes[..., None, :], truths).amax(-1) <= OVERLAP
        background[place] = False
        now = iou(boxes[place], target.boxes)
    said = t[place]
    shape = torch.cat([said[:, :2].sigmoid(), said[:, 2:4]], -1)
    loss = 0.5 * ((2 - target.shares) * (shape - target.t).square().sum(-1)).sum()
    loss = loss + 0.5 * OBJECT * (said[:, 4].sigmoid() - now).square().sum()
    loss = loss + F.cross_entropy(said[:, 5:], target.labels, reduction="sum")
    loss = loss + 0.5 * BACKGROUND * (background * t[..., 4].sigmoid().square()).sum()
    return loss / len(t)


def iou(a, b):
    both = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    both, sizes = both.prod(-1), [(c[..., 2:] - c[..., :2]).prod(-1) for c in (a, b)]
    return both / (sizes[0] + sizes[1] - both)


def model(case: Case, memory_format: str) -> nn.Module:
    """The twin of case's network, with weights of its own."""
    network = globals()[case.network.__name__](**case.settings)
    return network.to(DEVICE, memory_format=FORMATS[memory_format])


def formats(case: Case) -> list[str]:
    """Only images can lie in memory in two ways."""
    return list(FORMATS) if len(case.shape) == 4 else ["contiguous"]


def tensor(array: np.ndarray | YoloTargets, memory_format: str):
    if isinstance(array, YoloTargets):
        fields = {f.name: getattr(array, f.name) for f in dataclasses.fields(array)}
        fields = {k: a if a.dtype.kind == "i" else np.float32(a) for k, a in fields.items()}
        return YoloTargets(**{k: torch.tensor(a, device=DEVICE) for k, a in fields.items()})
    if array.ndim != 4:
        return torch.tensor(array, device=DEVICE)
    image = torch.tensor(interop.to_torch(array, "image"), device=DEVICE)
    return image.to(memory_format=FORMATS[memory_format])


def batch(case: Case, memory_format: str) -> list:
    target, inputs = case.batch()
    return [tensor(array, memory_format) for array in (target, *inputs)]


def step(case: Case, memory_format: str) -> Callable[[], object]:
    """A function that takes one training step, `Case.step`'s twin."""
    torch.manual_seed(0)
    network, arrays = model(case, memory_format), batch(case, memory_format)
    loss, parameters = globals()[case.loss.__name__], list(network.parameters())
    optimiser = getattr(torch.optim, case.optimiser)(parameters, lr=case.rate, fused=True)
    average = None if case.decay is None else [p.detach().clone() for p in parameters]
    network.train()

    def take_step():
        optimiser.zero_grad()
        value = loss(network, *arrays)
        value.backward()
        if case.clip is not None:
            nn.utils.clip_grad_norm_(parameters, case.clip)
        optimiser.step()
        if average is not None:
            with torch.no_grad():
                torch._foreach_lerp_(average, parameters, 1 - case.decay)
        return value.item() if DEVICE == "cpu" else value

    return take_step


def pgd(network: nn.Module, x, y, eps: float, steps: int) -> Callable[[], torch.Tensor]:
    """A function that attacks pictures in [0, 1] as `adversarial.pgd` does, in L∞."""
    network.eval().requires_grad_(False)
    step = 2.5 * eps / steps

    def attack():
        low, high = (x - eps).clamp_(0, 1), (x + eps).clamp_(0, 1)
        z = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp_(0, 1)
        for _ in range(steps):
            z.requires_grad_()
            loss = F.cross_entropy(network(z), y, reduction="sum")
            (g,) = torch.autograd.grad(loss, z)
            z = z.detach().add_(g.sign_(), alpha=step).clamp_(low, high)
        return z

    return attack


KINDS = {nn.Conv2d: "conv", nn.ConvTranspose2d: "conv_transpose", nn.Linear: "linear"}


def as_theirs(network: nn.Module, ours: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our weights or gradients, by name, as those of our network's twin."""
    theirs = {}
    for path, module in network.named_modules():
        for leaf, _ in module.named_parameters(recurse=False):
            name = f"{path}.{leaf}"
            split = [name.replace("qkv", part) for part in ("query", "key", "value")]
            arrays = [ours[name]] if name in ours else [ours[part] for part in split]
            if leaf == "weight" and type(module) in KINDS:
                arrays = [interop.to_torch(a, KINDS[type(module)]) for a in arrays]
            theirs[name] = np.concatenate(arrays)
    return theirs


def load(network: nn.Module, ours: Mapping[str, np.ndarray]) -> None:
    """Give the twin our network's weights."""
    with torch.no_grad():
        theirs = as_theirs(network, ours)
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.from_numpy(theirs[name]))
