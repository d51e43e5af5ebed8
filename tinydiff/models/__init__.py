"""Networks."""

from tinydiff.models.classifier import Classifier
from tinydiff.models.unet import UNet
