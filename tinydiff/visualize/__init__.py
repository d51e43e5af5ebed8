"""What does a network see?  Layers are named by their module path; arrays come out.

answer_shapes(model, images)                            # of all layers, by their paths
filters(model)                                          # weights of the first convolution
activation_maps(model, images, "stages.1.conv2")        # what each channel answers to pictures
top_patches(model, images, "stages.1.conv2", [7])       # where channel 7 answers most
gradient(model, images, logit(3), rule="guided")        # what of the picture speaks for class 3
integrated_gradients(model, images, Unit("stages.1.conv2", 7, (3, 5)))      # or for a neuron
as_pictures(maps, signed=True)                          # any of these, to look at
nearest(features(model, mine), features(model, known))  # the pictures that are most alike to it
"""

from tinydiff.ops.relu import relu_rule
from tinydiff.visualize.activations import activation_maps, answer_shapes
from tinydiff.visualize.attribution import (
    input_times_gradient,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from tinydiff.visualize.filters import filters
from tinydiff.visualize.grad_cam import grad_cam
from tinydiff.visualize.gradient import gradient, input_gradient
from tinydiff.visualize.neighbours import nearest
from tinydiff.visualize.occlusion import occlusion
from tinydiff.visualize.patches import Patches, patch_gradients, top_patches
from tinydiff.visualize.pictures import as_cells, as_pictures
from tinydiff.visualize.receptive_field import ReceptiveField, receptive_field
from tinydiff.visualize.target import Objective, Unit, activation, listening, logit

__all__ = [
    "Objective",
    "Patches",
    "ReceptiveField",
    "Unit",
    "activation",
    "activation_maps",
    "answer_shapes",
    "as_cells",
    "as_pictures",
    "filters",
    "grad_cam",
    "gradient",
    "input_gradient",
    "input_times_gradient",
    "integrated_gradients",
    "listening",
    "logit",
    "nearest",
    "occlusion",
    "patch_gradients",
    "receptive_field",
    "relu_rule",
    "saliency",
    "smooth_grad",
    "top_patches",
]
