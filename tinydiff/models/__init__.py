"""Networks."""

from tinydiff.models.classifier import Classifier, NoisyClassifier
from tinydiff.models.detector import Detector
from tinydiff.models.ladder import LadderDecoders
from tinydiff.models.segmenter import EncoderDecoder, FullResolution, SlidingWindow
from tinydiff.models.unet import UNet
