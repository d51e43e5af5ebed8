"""Networks."""

from tinydiff.models.classifier import Classifier, NoisyClassifier
from tinydiff.models.unet import UNet
