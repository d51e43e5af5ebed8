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
"""

from tinydiff.ops.relu import relu_rule
from tinydiff.visualize.activations import activation_maps, answer_shapes
from tinydiff.visualize.ascent import ascend, jittered, noise, one_each, rolled
from tinydiff.visualize.attribution import (
    input_times_gradient,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from tinydiff.visualize.dream import deep_dream, energy, octave_sizes, resembling
from tinydiff.visualize.filters import convolutions, filters
from tinydiff.visualize.fourier import fourier
from tinydiff.visualize.grad_cam import grad_cam
from tinydiff.visualize.gradient import gradient, input_gradient
from tinydiff.visualize.inversion import answers_of, gram, invert
from tinydiff.visualize.neighbours import nearest
from tinydiff.visualize.occlusion import occlusion
from tinydiff.visualize.patches import Patches, patch_gradients, top_patches
from tinydiff.visualize.penalty import alpha_norm, penalised, total_variation
from tinydiff.visualize.pictures import as_cells, as_pictures
from tinydiff.visualize.receptive_field import ReceptiveField, receptive_field
from tinydiff.visualize.regularise import Regulariser, blur, clip, decay, drop_small, every
from tinydiff.visualize.target import Objective, Unit, activation, listening, logit

__all__ = [
    "Objective",
    "Patches",
    "ReceptiveField",
    "Regulariser",
    "Unit",
    "activation",
    "activation_maps",
    "alpha_norm",
    "answer_shapes",
    "answers_of",
    "as_cells",
    "as_pictures",
    "ascend",
    "blur",
    "clip",
    "convolutions",
    "decay",
    "deep_dream",
    "drop_small",
    "energy",
    "every",
    "filters",
    "fourier",
    "grad_cam",
    "gradient",
    "gram",
    "input_gradient",
    "input_times_gradient",
    "integrated_gradients",
    "invert",
    "jittered",
    "listening",
    "logit",
    "nearest",
    "noise",
    "occlusion",
    "octave_sizes",
    "one_each",
    "patch_gradients",
    "penalised",
    "receptive_field",
    "relu_rule",
    "resembling",
    "rolled",
    "saliency",
    "smooth_grad",
    "top_patches",
    "total_variation",
]
