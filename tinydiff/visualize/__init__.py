"""What does a network see?  Layers are named by their module path; arrays come out.

answer_shapes(model, images)                            # of all layers, by their paths
filters(model)                                          # weights of the first convolution
activation_maps(model, images, "stages.1.conv2")        # what each channel answers to pictures
top_patches(model, images, "stages.1.conv2", [7])       # where channel 7 answers most
gradient(model, images, logit(3), rule="guided")        # what of the picture speaks for class 3
integrated_gradients(model, images, Unit("stages.1.conv2", 7, (3, 5)))      # or for a neuron
as_pictures(maps, signed=True)                          # any of these, to look at
nearest(features(model, mine), features(model, known))  # the pictures that are most alike to it

Pictures that are made: generators, whose last value is the result and which are a film together.

ascend(model, noise(shape), logit(7))                   # what picture does a seven have in mind?
deep_dream(model, images, energy("stages.1"))           # more of what it sees in a picture
invert(model, images, "stages.1")                       # what a layer has kept of a picture
stylise(model, images, texture, kept="stages.1", layers=["stages.0"])       # painted in a texture
"""

from tinydiff.ops.relu import relu_rule
from tinydiff.visualize.activations import activation_maps, answer_shapes, last_of_each_size
from tinydiff.visualize.ascent import ascend, jittered, noise, one_each, rolled
from tinydiff.visualize.attribution import (
    input_times_gradient,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from tinydiff.visualize.dream import deep_dream, energy, octave_sizes, resembling
from tinydiff.visualize.film import frames, last
from tinydiff.visualize.filters import convolutions, filters
from tinydiff.visualize.fourier import fourier
from tinydiff.visualize.grad_cam import grad_cam
from tinydiff.visualize.gradient import gradient, has_relu, input_gradient
from tinydiff.visualize.inversion import invert
from tinydiff.visualize.neighbours import nearest
from tinydiff.visualize.occlusion import occlusion
from tinydiff.visualize.patches import Patches, patch_gradients, top_patches
from tinydiff.visualize.penalty import alpha_norm, penalised, total_variation
from tinydiff.visualize.pictures import as_cells, as_pictures
from tinydiff.visualize.preferred import preferred_patches, strongest_channels
from tinydiff.visualize.receptive_field import ReceptiveField, deepest_within, receptive_field
from tinydiff.visualize.regularise import Regulariser, blur, clip, decay, drop_small, every
from tinydiff.visualize.style import gram, stylise, texture
from tinydiff.visualize.target import (
    Objective,
    Unit,
    activation,
    activations,
    listening,
    log_probability,
    logit,
)

__all__ = [
    "Objective",
    "Patches",
    "ReceptiveField",
    "Regulariser",
    "Unit",
    "activation",
    "activation_maps",
    "activations",
    "alpha_norm",
    "answer_shapes",
    "as_cells",
    "as_pictures",
    "ascend",
    "blur",
    "clip",
    "convolutions",
    "decay",
    "deep_dream",
    "deepest_within",
    "drop_small",
    "energy",
    "every",
    "filters",
    "fourier",
    "frames",
    "grad_cam",
    "gradient",
    "gram",
    "has_relu",
    "input_gradient",
    "input_times_gradient",
    "integrated_gradients",
    "invert",
    "jittered",
    "last",
    "last_of_each_size",
    "listening",
    "log_probability",
    "logit",
    "nearest",
    "noise",
    "occlusion",
    "octave_sizes",
    "one_each",
    "patch_gradients",
    "penalised",
    "preferred_patches",
    "receptive_field",
    "relu_rule",
    "resembling",
    "rolled",
    "saliency",
    "smooth_grad",
    "strongest_channels",
    "stylise",
    "texture",
    "top_patches",
    "total_variation",
]
