"""Networks."""

from tinydiff.models.backbone import Backbone, backbone_weights
from tinydiff.models.classifier import Classifier, NoisyClassifier
from tinydiff.models.detector import Detector
from tinydiff.models.ladder import LadderDecoders
from tinydiff.models.localiser import LocaliserNetwork
from tinydiff.models.unet import UNet
