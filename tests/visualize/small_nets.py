"""Small networks to look into, and pictures for them."""

import numpy as np

from tinydiff import nn, ops


class Small(nn.Module):
    """conv, ReLU, pool, conv, ReLU, pool, mean or flat, linear: the manner of VGG"""

    def __init__(self, channels=3, classes=5, side=12, activation=nn.ReLU):
        self.body = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1),
            activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            activation(),
            nn.MaxPool2d(2),
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8 * (side // 4) ** 2, classes)
        self.spare = nn.Linear(2, 2)  # nobody calls it

    def forward(self, x):
        h = self.body(x)
        return self.head(self.dropout(h.reshape(len(h), -1)))


class Affine(nn.Module):
    """F(x) = Σ w·x + b, for a picture of any number of numbers: everything is known of it"""

    def __init__(self, weight, bias=0.0):
        self.weight, self.bias = nn.Parameter(weight), bias

    def forward(self, x):
        return (x * self.weight).sum(axis=(1, 2, 3)).reshape(-1, 1) + self.bias


class Residual(nn.Module):
    """x + conv(relu(conv(x))), then a pool of stride 2"""

    def __init__(self):
        self.conv1 = nn.Conv2d(1, 1, 3, padding=1)
        self.conv2 = nn.Conv2d(1, 1, (5, 3), padding=(2, 1))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        return self.pool(x + self.conv2(ops.relu(self.conv1(x))))


def pictures(n, height=12, width=12, channels=3, seed=0):
    """uint8"""
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), np.uint8)
