"""Networks."""

from tinydiff.models.classifier import Classifier, NoisyClassifier
from tinydiff.models.detector import Detector
from tinydiff.models.ladder import LadderDecoders
from tinydiff.models.mask_head import MaskDetector, MaskHead
from tinydiff.models.unet import UNet
