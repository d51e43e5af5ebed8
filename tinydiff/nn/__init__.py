"""Modules and layers: where the parameters live.  Names and signatures are PyTorch's."""

from tinydiff.nn.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from tinydiff.nn.attention import MultiHeadAttention
from tinydiff.nn.containers import ModuleList, Sequential
from tinydiff.nn.conv import Conv2d, ConvTranspose2d
from tinydiff.nn.cost import multiply_adds
from tinydiff.nn.dropout import Dropout
from tinydiff.nn.embedding import Embedding
from tinydiff.nn.frozen import frozen
from tinydiff.nn.linear import Linear
from tinydiff.nn.module import Module, Parameter
from tinydiff.nn.norm import BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm
from tinydiff.nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from tinydiff.nn.rectified import rectified
from tinydiff.nn.reshape import Flatten, Upsample
from tinydiff.nn.watch import watching

__all__ = [name for name in dir() if not name.startswith("_")]
