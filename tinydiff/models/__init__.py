"""Networks."""

from collections.abc import Mapping
from types import MappingProxyType

from tinydiff.models.autoencoder import AUTOENCODERS, Autoencoder, KLAutoencoder, VQAutoencoder
from tinydiff.models.backbone import Backbone, backbone_weights
from tinydiff.models.classifier import Classifier, ImageClassifier, NoisyClassifier
from tinydiff.models.clip import CLIP, contrastive_loss
from tinydiff.models.detector import Detector
from tinydiff.models.discriminator import PatchDiscriminator
from tinydiff.models.ladder import LadderDecoders
from tinydiff.models.localiser import LocaliserNetwork
from tinydiff.models.mask_head import MaskDetector, MaskHead
from tinydiff.models.posterior import DiagonalGaussian
from tinydiff.models.prior import PriorNetwork
from tinydiff.models.quantiser import VectorQuantiser
from tinydiff.models.resnet import ResNet
from tinydiff.models.segmenter import EncoderDecoder, FullResolution, SlidingWindow
from tinydiff.models.spade import SpadeGenerator
from tinydiff.models.strided import Strided
from tinydiff.models.style_encoder import StyleEncoder
from tinydiff.models.text_encoder import TextEncoder
from tinydiff.models.unet import UNet
from tinydiff.models.vgg import VGG

CLASSIFIERS: Mapping[str, type[ImageClassifier]] = MappingProxyType(
    {"plain": Classifier, "resnet": ResNet, "vgg": VGG, "strided": Strided}
)
"""By name, those that say what a picture shows."""
