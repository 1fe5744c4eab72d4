"""Makes the reference values of linear SVMs: the optima of LIBLINEAR (as it is in scikit-learn), at tight tolerance.

    python bench/peers/golden_svm.py __tests__/golden

Reads svm/heart_scale (of LIBLINEAR's examples; UCI, Statlog heart) and training/digits.bin.gz there, and writes svm/liblinear.json.
"""

import gzip
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.datasets import load_svmlight_file
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC


def problems(folder):
    x, y = load_svmlight_file(str(folder / "svm" / "heart_scale"))
    yield "heart_scale", x.toarray(), y
    rows = np.frombuffer(gzip.decompress((folder / "training" / "digits.bin.gz").read_bytes()), np.uint8).reshape(-1, 65)
    for digit in (0, 8):
        yield f"digit {digit}", rows[:898, :64] / 16, np.where(rows[:898, 64] == digit, 1, -1)


def solve(loss, cost, positive_weight, x, y):
    shared = dict(C=cost, class_weight={1: positive_weight, -1: 1}, tol=1e-10, max_iter=10_000_000, random_state=0)
    if loss == "logistic":
        model = LogisticRegression(solver="liblinear", **shared)
    else:
        model = LinearSVC(loss=loss, dual=loss == "hinge", **shared)
    model.fit(x, y)
    w, b = model.coef_[0], float(np.ravel(model.intercept_)[0])
    margins = y * (x @ w + b)
    losses = {
        "squared_hinge": np.maximum(0, 1 - margins) ** 2,
        "hinge": np.maximum(0, 1 - margins),
        "logistic": np.logaddexp(0, -margins),
    }[loss]
    costs = cost * np.where(y > 0, positive_weight, 1)
    return w, b, float((w @ w + b * b) / 2 + costs @ losses)


def main():
    warnings.simplefilter("error")
    folder = Path(sys.argv[1])
    found = []
    for data, x, y in problems(folder):
        for loss, costs in (("squared_hinge", (0.01, 1, 100)), ("hinge", (0.01, 1)), ("logistic", (0.01, 1, 100))):
            for cost in costs:
                for positive_weight in (1, 2):
                    w, b, objective = solve(loss, cost, positive_weight, x, y)
                    found.append(
                        dict(
                            data=data,
                            loss=loss,
                            cost=cost,
                            positiveWeight=positive_weight,
                            objective=objective,
                            bias=b,
                            weights=[float(f"{value:.7g}") for value in w],
                        )
                    )
    out = dict(origin=f"LIBLINEAR in scikit-learn {sklearn.__version__}, tol 1e-10", optima=found)
    (folder / "svm" / "liblinear.json").write_text(json.dumps(out) + "\n")


main()
