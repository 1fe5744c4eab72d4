"""LinearSVC as VISSL calls it, on made features.

    python bench/peers/svm.py FEATURES.f32 TARGETS.i8 COUNT WIDTH CLASSES

Answers each line of standard input, JSON {"class": 0, "fold": 0 or null, "cost": 1, "tolerance": 1e-4, "maxIterations": 2000},
with a line: seconds of wall and of processor time, objective, iterations.
"""

import json
import sys
import time
import warnings

import numpy as np
import sklearn
from sklearn.svm import LinearSVC

warnings.simplefilter("ignore")
count, width, classes = map(int, sys.argv[3:6])
features = np.fromfile(sys.argv[1], np.float32).reshape(count, width)
targets = np.fromfile(sys.argv[2], np.int8).reshape(count, classes)
print(f"scikit-learn {sklearn.__version__}", flush=True)

for line in sys.stdin:
    asked = json.loads(line)
    rows = np.arange(count) % 3 != asked["fold"] if asked["fold"] is not None else np.ones(count, bool)
    x, y, cost = features[rows], targets[rows, asked["class"]], asked["cost"]
    model = LinearSVC(
        C=cost,
        class_weight={1: 2, -1: 1},
        intercept_scaling=1.0,
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        tol=asked["tolerance"],
        max_iter=asked["maxIterations"],
        random_state=0,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(x, y)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    w, b = model.coef_[0], model.intercept_[0]
    short = np.maximum(0, 1 - y * (x.astype(np.float64) @ w + b))
    objective = float((w @ w + b * b) / 2 + cost * (np.where(y > 0, 2, 1) @ short**2))
    print(json.dumps(dict(wall=wall, cpu=cpu, objective=objective, iterations=int(model.n_iter_))), flush=True)
