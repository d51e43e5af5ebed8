"""Standard errors: Wilson's against the definition, the jackknife against closed forms."""

import numpy as np
import pytest

from tinydiff.metrics import Estimate, jackknife, share


def test_reads_as_a_number_and_its_error():
    assert f"{Estimate(0.97312, 0.00519):.1%}" == "97.3% ± 0.5%"


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (4, 5), (700, 1000), (1000, 1000)])
def test_share_is_half_of_wilsons_interval(hits, n):
    """The interval ends where the observed share is one standard deviation away from p."""
    found = share(np.arange(n) < hits)
    assert found.value == hits / n
    middle = (hits + 0.5) / (n + 1)
    for p in (middle - found.error, middle + found.error):
        assert (hits / n - p) ** 2 == pytest.approx(p * (1 - p) / n, abs=1e-15)


def test_jackknife_of_means_is_the_usual_error(rng):
    """With a part a row, √(s²/n + s'²/n), and no bias."""
    a, b = rng.standard_normal((2, 50, 1)) * 3
    found = jackknife(lambda x, y: x.mean() - y.mean(), a, b, parts=50)
    assert found.value == pytest.approx(a.mean() - b.mean(), abs=1e-12)
    # Row g of both is left out together: the scatter of their difference.
    assert found.error == pytest.approx((a - b).std(ddof=1) / np.sqrt(50), rel=1e-9)


def test_jackknife_takes_away_a_bias_of_one_over_n(rng):
    """The variance with 1/n, corrected, is the one with 1/(n − 1); b takes no part."""
    a, b = rng.standard_normal((2, 60, 1))
    found = jackknife(lambda x, _: x.var(), a, b, parts=60)
    assert found.value == pytest.approx(a.var(ddof=1), rel=1e-12)


@pytest.mark.parametrize("each", [(100, 100), (10, 10), (7, 100), (23, 31)])
def test_jackknife_of_classes_knows_that_their_numbers_are_chosen(rng, each):
    """The mean of two classes, 20 apart, errs by the noise within them only."""
    labels = rng.permutation(np.repeat([0, 1], each))
    a, b = 20.0 * labels + rng.standard_normal((2, len(labels)))
    mean = lambda x, _: x.mean()
    found = jackknife(mean, a, b, labels=(labels, labels))
    assert found.error == pytest.approx(1 / np.sqrt(len(labels)), rel=0.6)
    assert found.value == pytest.approx(20 * labels.mean(), abs=2.5)
    assert jackknife(mean, a, b, parts=min(20, *each)).error > 2 * found.error


def test_jackknife_uses_all_rows_where_parts_fit(rng):
    labels = np.repeat(np.arange(10), 30)  # 15 parts fit, 20 do not
    seen = []
    jackknife(lambda x, y: seen.append(len(x)) or 0.0, labels, labels, labels=(labels, labels))
    assert seen == [300] + 15 * [280]


def test_jackknife_refuses_a_class_of_one():
    labels = np.array([0, 0, 0, 1])
    with pytest.raises(ValueError, match="at least 2 rows of every class"):
        jackknife(lambda x, y: 0.0, labels, labels, labels=(labels, labels))


@pytest.mark.parametrize("parts", [1, 6])
def test_jackknife_refuses(parts, rng):
    with pytest.raises(ValueError, match="parts: expected 2 … 5"):
        jackknife(lambda x, y: 0.0, np.zeros((9, 1)), np.zeros((5, 1)), parts=parts)


@pytest.mark.parametrize("hits", [np.array([], bool), np.zeros((2, 2), bool), np.ones(3)])
def test_share_refuses(hits):
    with pytest.raises(ValueError, match="hits: expected booleans"):
        share(hits)
