"""Files as scikit-learn writes svmlight's format, and what it reads from them. Run: python make.py"""

import json

import numpy as np
import sklearn
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

rng = np.random.default_rng(0)
X = rng.standard_normal((8, 6)).round(6)
X[rng.random((8, 6)) < 0.5] = 0
X[:, 5] = [0, 0, 0, 0, 0, 0, 0.5, 0]  # the last column is wanted in the width

labels = {
    "signs": np.array([1, -1, -1, 1, 1, -1, 1, -1]),
    "numbers": np.array([3, 1, 10, 3, 1, 10, 3, 1]),
    "several": [(1,), (1, 4), (), (4, 7), (7,), (1,), (1, 4, 7), (4,)],
}
expected = {"origin": f"scikit-learn {sklearn.__version__}, dump_svmlight_file and load_svmlight_file"}
for name, y in labels.items():
    several = name == "several"
    file = f"{name}.svm"
    if several:
        y = np.array([[float(c in of) for c in range(8)] for of in y])
    dump_svmlight_file(X, y, file, zero_based=False, multilabel=several, comment="made" if several else None)
    read, targets = load_svmlight_file(file, zero_based=False, multilabel=several)
    expected[name] = {"features": read.toarray().tolist(), "labels": [list(t) for t in targets] if several else targets.tolist()}
json.dump(expected, open("expected.json", "w"), indent=1)
