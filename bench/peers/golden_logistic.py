"""Writes __tests__/golden/logistic/: optima of softmax regression as scikit-learn finds them.

    python bench/peers/golden_logistic.py --out __tests__/golden/logistic

The features are those of __tests__/golden/training/digits.bin.gz (898 x 64 of scikit-learn's digits, over 16).
"""

import argparse
import gzip
import json
import pathlib

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True, type=pathlib.Path)
args = parser.parse_args()

digits = pathlib.Path(__file__).parents[2] / "__tests__" / "golden" / "training" / "digits.bin.gz"
table = np.frombuffer(gzip.decompress(digits.read_bytes()), dtype=np.uint8).reshape(-1, 65)[:898]
X, y = table[:, :64] / 16, table[:, 64].astype(int)


def optimum(rows, penalty, classes, bias):
    """W, b and objective of the rows; `bias`: free, or regularised as one more feature."""
    x, labels = X[rows], y[rows]
    if bias == "regularised":
        x = np.hstack([x, np.ones((len(x), 1))])
    model = LogisticRegression(
        C=1 / (penalty * len(x)), tol=1e-10, max_iter=100_000, solver="newton-cg", fit_intercept=bias == "free"
    ).fit(x, labels)
    w, b = model.coef_, model.intercept_
    scores = x @ w.T + b
    top = scores.max(1)
    logs = top + np.log(np.exp(scores - top[:, None]).sum(1)) - scores[np.arange(len(x)), np.searchsorted(model.classes_, labels)]
    objective = logs.mean() + penalty / 2 * (w**2).sum()
    everything = np.hstack([X, np.ones((len(X), 1))]) if bias == "regularised" else X
    all_scores = everything[:6] @ w.T + b
    centred = all_scores - all_scores.mean(1, keepdims=True)
    accuracy = (model.predict(everything) == y).mean()
    return {"objective": objective, "norm": np.sqrt((w**2).sum()), "scores": centred.tolist(), "accuracy": accuracy}


folds = {"all": np.arange(898) >= 0, "without every third": np.arange(898) % 3 > 0, "first half": np.arange(898) < 449}
cases = [
    {"rows": name, "penalty": penalty, "bias": bias, **optimum(mask, penalty, 10, bias)}
    for name, mask in folds.items()
    for penalty in (1e-2, 1e-3)
    for bias in ("free", "regularised")
    if bias == "free" or name == "all"
]
args.out.mkdir(parents=True, exist_ok=True)
(args.out / "digits.json").write_text(json.dumps({"sklearn": sklearn.__version__, "cases": cases}, indent=1) + "\n")
