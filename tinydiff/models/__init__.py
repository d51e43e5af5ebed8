"""Networks."""

from tinydiff.models.classifier import Classifier, NoisyClassifier
from tinydiff.models.ladder import LadderDecoders
from tinydiff.models.unet import UNet
