"""How good are drawn pictures?  Distances and shares, each with its standard error.

judge = judge_of(data.mnist("train"), "runs/classify-mnist")       # there are no weights to get
real, drawn = features(judge, test.images), features(judge, pictures)
frechet_distance(real, drawn)                    # how far apart: quality and variety in one
precision_recall(real, drawn)                    # quality, and variety
label_agreement(judge, pictures, labels)         # what was asked for?
classifier_accuracy_score(data.Dataset("drawn", pictures, labels, test.classes), test)
"""

from tinydiff.metrics.agreement import classifier_accuracy_score, label_agreement
from tinydiff.metrics.classifying import classifier_trainer, train_classifier
from tinydiff.metrics.estimate import Estimate, jackknife, share
from tinydiff.metrics.features import features, logits, predict
from tinydiff.metrics.frechet import (
    frechet_distance,
    frechet_distance_of_gaussians,
    unbiased_frechet_distance,
)
from tinydiff.metrics.judge import judge_of, judge_recipe, load_judge
from tinydiff.metrics.mix import evenly, same_mix
from tinydiff.metrics.precision_recall import precision_recall
from tinydiff.metrics.psnr import psnr
from tinydiff.metrics.recogniser import Recogniser
from tinydiff.metrics.scenes import scene_classifier

__all__ = [
    "Estimate",
    "Recogniser",
    "classifier_accuracy_score",
    "classifier_trainer",
    "evenly",
    "features",
    "frechet_distance",
    "frechet_distance_of_gaussians",
    "jackknife",
    "judge_of",
    "judge_recipe",
    "label_agreement",
    "load_judge",
    "logits",
    "precision_recall",
    "predict",
    "psnr",
    "same_mix",
    "scene_classifier",
    "share",
    "train_classifier",
    "unbiased_frechet_distance",
]
