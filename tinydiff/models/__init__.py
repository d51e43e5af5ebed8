"""Networks."""

from tinydiff.models.unet import UNet
