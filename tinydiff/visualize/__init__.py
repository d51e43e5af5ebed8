"""Looking at what a network makes of pictures.

indices, distances = nearest(features(model, mine), features(model, known), k=5)
"""

from tinydiff.visualize.neighbours import nearest

__all__ = ["nearest"]
