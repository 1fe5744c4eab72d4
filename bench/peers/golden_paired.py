"""Writes __tests__/golden/paired/tests.json: tests of paired answers by SciPy and statsmodels.

    pip install scipy statsmodels
    python bench/peers/golden_paired.py > __tests__/golden/paired/tests.json
"""

import json

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

counts = [(0, 1), (0, 6), (3, 9), (8, 8), (1, 23), (10, 14), (10, 15), (2, 40), (30, 31), (120, 180), (500, 900), (7, 400)]
mcnemar_rows = []
for b, c in counts:
    result = mcnemar([[100, b], [c, 100]], exact=b + c < 25, correction=True)
    mcnemar_rows.append({"onlyFirst": b, "onlySecond": c, "exact": b + c < 25, "p": float(result.pvalue)})

wilson_rows = []
for right, n in [(0, 10), (10, 10), (1, 2), (71, 100), (305, 381), (36123, 50000), (49999, 50000)]:
    low, high = proportion_confint(right, n, alpha=0.05, method="wilson")
    wilson_rows.append({"right": right, "n": n, "interval": [float(low), float(high)]})

holm_rows = []
for p in [[0.01, 0.04, 0.03, 0.005], [0.2, 0.2, 0.9], [0.6], [0.001, 0.3, 0.3, 0.02, 0.04, 1.0]]:
    holm_rows.append({"p": p, "corrected": multipletests(p, method="holm")[1].tolist()})

# Differences of the share of right seeds: a few values, as one, two and five seeds give.
bootstrap_rows = []
for seeds, n, first, second in [(1, 200, 0.8, 0.7), (2, 381, 0.81, 0.79), (5, 1000, 0.62, 0.6), (3, 60, 0.5, 0.5)]:
    generator = np.random.default_rng(seeds * 1000 + n)
    ease = generator.random((n, 1))
    right = [(ease * 0.5 + generator.random((n, seeds)) * 0.5 > 1 - share).sum(1) for share in (first, second)]
    steps = (right[0] - right[1]).astype(int)
    resamples = 200_000
    result = stats.bootstrap(
        (steps / seeds,), np.mean, n_resamples=resamples, batch=1000, confidence_level=0.95, method="percentile", rng=generator
    )
    means = np.round(result.bootstrap_distribution, 12)
    p = min(1, 2 * (1 + min((means <= 0).sum(), (means >= 0).sum())) / (resamples + 1))
    bootstrap_rows.append(
        {
            "seeds": seeds,
            "steps": steps.tolist(),
            "difference": float(steps.mean() / seeds),
            "standardError": float(result.standard_error),
            "interval": [float(result.confidence_interval.low), float(result.confidence_interval.high)],
            "p": float(p),
        }
    )

distributions = {
    "chiSquareTail": [[x, float(stats.chi2.sf(x, 1))] for x in [0, 1e-6, 0.1, 1, 2.9, 3, 3.1, 3.84, 10, 50, 400]],
    "binomial": [[k, n, p, float(stats.binom.pmf(k, n, p))] for k, n, p in [(0, 5, 0.5), (3, 24, 0.5), (40, 100, 0.3), (9000, 50000, 0.18)]],
    "logGamma": [[x, float(stats.gamma.logpdf(1, x) * -1 - 1)] for x in [0.5, 1, 2.5, 10, 100, 50001]],
}

print(
    json.dumps(
        {
            "mcnemar": mcnemar_rows,
            "wilson": wilson_rows,
            "holm": holm_rows,
            "bootstrap": bootstrap_rows,
            "distributions": distributions,
        }
    )
)
