"""Styles dealt out: of one scene each, the ground's to the ground, and a large enough one's."""

import numpy as np

from tinydiff.gaugan import dealt

# Three scenes of one, three and no things; a style says which scene and which region it is of.
REGIONS = np.array([[[0, 2], [2, 2]], [[0, 1], [3, 4]], [[0, 0], [0, 0]]])
STYLES = np.stack(np.meshgrid(np.arange(3), np.arange(5), indexing="ij"), axis=-1).astype(float)


def deal(*counts, seed=0):
    return dealt(STYLES, REGIONS, counts, np.random.default_rng(seed))


def test_all_of_one_scene_and_each_once():
    z = deal(*[3] * 40)
    assert z.shape == (40, 4, 2)
    assert (z[..., 0] == 1).all(), "the only one of three things"
    assert (z[:, 0, 1] == 0).all(), "the ground's style for the ground"
    orders = {tuple(some) for some in z[:, 1:, 1]}
    assert {frozenset(order) for order in orders} == {frozenset((1, 3, 4))}
    assert len(orders) == 6, "in any order"


def test_any_scene_that_has_enough():
    assert {tuple(pair) for pair in deal(*[1] * 60)[:, 1]} == {(0, 2), (1, 1), (1, 3), (1, 4)}
    assert {pair[0] for pair in deal(*[0] * 60)[:, 0]} == {0, 1, 2}


def test_more_regions_than_any_scene_has():
    (z,) = deal(7)
    assert (z[:, 0] == 1).all()
    np.testing.assert_array_equal(z[1:4], z[4:7])
    np.testing.assert_array_equal(z[1], z[7])


def test_where_a_map_has_no_region_there_is_no_style():
    z = deal(1, 3, 0)
    assert z.shape == (3, 4, 2)
    assert not z[0, 2:].any() and not z[2, 1:].any()


def test_the_same_seed_deals_the_same():
    np.testing.assert_array_equal(deal(3, 1, seed=4), deal(3, 1, seed=4))
    assert (deal(*[1] * 9, seed=4) != deal(*[1] * 9, seed=5)).any()
