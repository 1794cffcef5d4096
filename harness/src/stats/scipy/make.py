"""Makes answers.json: what scipy says of the samples below, for the tests of heaplab's statistics.

    python3 -m venv venv && venv/bin/pip install scipy
    venv/bin/python make.py

Where scipy has a function for it, that function answers. Intervals of ratios have none: there the test that
the interval inverts is asked at every place where its answer can change.
"""

import itertools
import json
import pathlib

import numpy as np
import scipy
from scipy import stats

LEVEL = 0.95
RANDOM = np.random.default_rng(20_300_131)


def skewed(count, scale=1.0):
    """Samples as a benchmark has them: a long tail to the right."""
    return [round(float(value), 4) for value in scale * 100 * np.exp(RANDOM.gamma(2.0, 0.08, count))]


def with_ties(count):
    return [float(value) for value in RANDOM.integers(40, 48, count)]


def crossings(points, probability):
    """The ends of the interval: the outermost of sorted `points` between which the test does not reject."""
    places = [points[0] - 1, *((a + b) / 2 for a, b in zip(points, points[1:])), points[-1] + 1]
    kept = [at for at, place in enumerate(places) if probability(place) > 1 - LEVEL]
    # The place of index i lies between the points i - 1 and i.
    return points[kept[0] - 1], points[kept[-1]]


def median_case(values):
    ordered = sorted(values)
    count = len(values)
    ranks = [rank for rank in range(1, count // 2 + 1) if 1 - 2 * stats.binom.cdf(rank - 1, count, 0.5) >= LEVEL]
    rank = max(ranks)
    return {
        "values": values,
        "median": float(np.median(values)),
        "mad": float(stats.median_abs_deviation(values)),
        "low": ordered[rank - 1],
        "high": ordered[count - rank],
        "coverage": float(1 - 2 * stats.binom.cdf(rank - 1, count, 0.5)),
        "geometric_mean": float(stats.gmean(values)),
    }


def paired_case(values, base):
    logs = np.log(values) - np.log(base)
    walsh = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(logs, 2))
    low, high = crossings(walsh, lambda shift: stats.wilcoxon(logs - shift, method="exact").pvalue)
    return {
        "values": values,
        "base": base,
        "estimate": float(np.exp(np.median(walsh))),
        "low": float(np.exp(low)),
        "high": float(np.exp(high)),
    }


def separate_case(new, old):
    new_logs, old_logs = np.log(new), np.log(old)
    differences = sorted((new_logs[:, None] - old_logs[None, :]).ravel())
    test = lambda shift: stats.mannwhitneyu(new_logs - shift, old_logs, method="exact").pvalue
    low, high = crossings(differences, test)
    return {
        "new": new,
        "old": old,
        "estimate": float(np.exp(np.median(differences))),
        "low": float(np.exp(low)),
        "high": float(np.exp(high)),
    }


def rank_case(one, other, method):
    return {"one": one, "other": other, "p": float(stats.mannwhitneyu(one, other, method=method).pvalue)}


def rank_cases():
    every_order = stats.PermutationMethod(n_resamples=np.inf)
    exact = [rank_case(skewed(m), skewed(n, scale), "exact") for m, n, scale in [(6, 6, 1.1), (10, 7, 1.0), (20, 20, 1.05)]]
    tied = [rank_case(with_ties(m), with_ties(n), every_order) for m, n in [(6, 6), (8, 7), (10, 6)]]
    many = [rank_case(skewed(60), skewed(45, 1.03), "asymptotic"), rank_case(with_ties(80), with_ties(80), "asymptotic")]
    return exact + tied + many


def bootstrap(groups, statistic, name, paired=False):
    found = stats.bootstrap(
        groups,
        statistic,
        n_resamples=400_000,
        batch=20_000,
        confidence_level=LEVEL,
        method="BCa",
        vectorized=not paired,
        paired=paired,
        rng=np.random.default_rng(7),
    ).confidence_interval
    return {
        "statistic": name,
        "groups": [list(group) for group in groups],
        "low": float(found.low),
        "high": float(found.high),
    }


def slope(x, y, axis=-1):
    x_mean, y_mean = x.mean(axis=axis, keepdims=True), y.mean(axis=axis, keepdims=True)
    return ((x - x_mean) * (y - y_mean)).sum(axis=axis) / ((x - x_mean) ** 2).sum(axis=axis)


def bootstrap_cases():
    mean = lambda values, axis=-1: np.mean(values, axis=axis)
    ratio = lambda one, other, axis=-1: np.mean(one, axis=axis) / np.mean(other, axis=axis)
    loads = [float(load) for load in (10, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220)]
    resident = [round(30 + 0.9 * load + float(RANDOM.gamma(2.0, 4.0)), 4) for load in loads]
    line = stats.bootstrap(
        (loads, resident), slope, n_resamples=400_000, batch=20_000, method="BCa", vectorized=True, paired=True,
        rng=np.random.default_rng(7),
    ).confidence_interval
    return [
        bootstrap((skewed(10),), mean, "mean"),
        bootstrap((skewed(30),), mean, "mean"),
        bootstrap((skewed(12), skewed(20, 1.3)), ratio, "ratio of means"),
        {"statistic": "slope", "groups": [loads, resident], "low": float(line.low), "high": float(line.high)},
    ]


def normal_cases():
    places = [-8.0, -3.2, -1.959963984540054, -0.3, 0.0, 0.7, 2.5, 5.0]
    return [{"z": z, "below": float(stats.norm.cdf(z))} for z in places]


def student_cases():
    places = [(1, 0.5), (2, -2.0), (5, 2.570581835636314), (9, 2.2621571627409915), (10, -4.0), (19, 1.1), (120, 2.0)]
    return [{"t": t, "freedom": freedom, "below": float(stats.t.cdf(t, freedom))} for freedom, t in places]


answers = {
    "scipy": scipy.__version__,
    "medians": [median_case(values) for values in (skewed(6), skewed(9), skewed(10), skewed(25), with_ties(20))],
    "paired": [paired_case(skewed(count, scale), skewed(count)) for count, scale in ((6, 1.3), (10, 1.0), (20, 0.95))],
    "separate": [
        separate_case(skewed(m, scale), skewed(n)) for m, n, scale in ((6, 6, 1.3), (10, 8, 1.0), (20, 20, 1.02))
    ],
    "ranks": rank_cases(),
    "bootstraps": bootstrap_cases(),
    "normal": normal_cases(),
    "student": student_cases(),
}
pathlib.Path(__file__).with_name("answers.json").write_text(json.dumps(answers, indent=1) + "\n")
