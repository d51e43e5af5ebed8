"""GauGAN: pictures from semantic maps, by a generator that learns to fool a discriminator.

model = SpadeVAE(3, map_classes=11, regions=9)
loss = SpadeLoss(model, Adversary(discriminator))          # called as loss(x, maps, regions)
trainer = Trainer(model, loss, batches, optimiser, states=loss.states)
painter = Painter.load("runs/paint-spade/checkpoint.npz")
images = painter.draw(maps)                                # a class for each pixel, (N, H, W)
images = painter.draw(maps, like=(scenes, maps, regions))  # in the styles of scenes

Diffusion does the same with `UNet(map_classes=…)`, and `diffusion.Pipeline`.
"""

from tinydiff.gaugan.loss import SpadeLoss
from tinydiff.gaugan.network import SpadeVAE
from tinydiff.gaugan.painter import Painter
from tinydiff.gaugan.regions import regions_of
from tinydiff.gaugan.styles import dealt

__all__ = ["Painter", "SpadeLoss", "SpadeVAE", "dealt", "regions_of"]
