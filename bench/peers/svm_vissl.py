"""Trains SVMs by VISSL's own trainer and by train-svm, and compares what the two have written.

    git clone https://github.com/facebookresearch/vissl
    python bench/peers/svm_vissl.py --vissl vissl --made          # made features
    python bench/peers/svm_vissl.py --vissl vissl --data DIR      # DIR/{train,test}_{features,targets}.npy

VISSL's files are imported as they are; of its other packages it needs two functions and a path manager, which stand below.
Labels are VISSL's: 1 present, 0 absent, -1 ignored.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import types
import warnings

import numpy as np

arguments = argparse.ArgumentParser()
arguments.add_argument("--vissl", required=True, help="a checkout of VISSL")
arguments.add_argument("--data", help="folder of the features and targets")
arguments.add_argument("--made", action="store_true", help="features and labels that are made")
arguments.add_argument("--costs", default="0.01,0.1,1,10,100")
arguments.add_argument("--classes", help="a subset for train-svm, e.g. 1,3; VISSL trains all")
arguments.add_argument("--device", default="auto")
given = arguments.parse_args()
costs = [float(cost) for cost in given.costs.split(",")]


class Config(dict):
    __getattr__ = dict.__getitem__


def stub(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module


class Paths:
    exists = staticmethod(os.path.exists)
    open = staticmethod(open)

    @staticmethod
    def mkdirs(folder):
        os.makedirs(folder, exist_ok=True)


def load_file(file):
    if file.endswith(".npy"):
        return np.load(file)
    import pickle

    with open(file, "rb") as opened:
        return pickle.load(opened)


stub("iopath")
stub("iopath.common")
stub("iopath.common.file_io", g_pathmgr=Paths)
stub("vissl.utils.io", load_file=load_file, save_file=lambda values, file: np.save(file, values))
sys.path.insert(0, given.vissl)
from vissl.utils.svm_utils import svm_trainer  # noqa: E402

precision_recall = svm_trainer.get_precision_recall


def with_plain_number(*sets):
    """Its average precision is an array of one number, which NumPy 2.4 does not take for a number any more."""
    *curve, ap = precision_recall(*sets)
    return *curve, float(np.squeeze(ap))


svm_trainer.get_precision_recall = with_plain_number


def made(seed, images, width, classes, strength):
    """Features as behind a ReLU: a large mean, a few directions that tell the classes, noise; labels overlap."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((classes, width))
    sets = {}
    for name in ("train", "test"):
        labels = (rng.random((images, classes)) < 0.15).astype(np.int32)
        signal = labels @ directions * strength
        features = np.maximum(0, 0.4 + signal + 1.2 * rng.standard_normal((images, width)))
        targets = labels.copy()
        targets[rng.random(labels.shape) < 0.04] = -1
        sets[name] = features.astype(np.float32), targets
    return sets


def read(folder):
    load = lambda name: np.load(os.path.join(folder, name))  # noqa: E731
    return {s: (load(f"{s}_features.npy"), load(f"{s}_targets.npy")) for s in ("train", "test")}


def of_vissl(sets, out):
    config = Config(
        normalize=True,
        loss="squared_hinge",
        penalty="l2",
        dual=True,
        max_iter=2000,
        cross_val_folds=3,
        force_retrain=False,
        cls_list=[],
        costs={"costs_list": list(costs), "base": -1.0, "power_range": [4, 20]},
    )
    trainer = svm_trainer.SVMTrainer(config, "features", out)
    trainer.train(*sets["train"])
    trainer.test(*sets["test"])


def of_ours(sets, out, classes=None):
    files = {}
    for name, (features, targets) in sets.items():
        files[name] = f"npy:{out}-{name}-x.npy,{out}-{name}-y.npy"
        np.save(f"{out}-{name}-x.npy", features)
        np.save(f"{out}-{name}-y.npy", targets)
    program = os.path.join(os.path.dirname(__file__), "..", "..", "cli", "bin", "train-svm.cjs")
    command = ["node", program, "--features", files["train"], "--test-features", files["test"], "--out", out]
    command += ["--costs", ",".join(str(cost) for cost in costs), "--quiet", "--device", given.device]
    subprocess.run(command + (["--classes", classes] if classes else []), check=True, stdout=subprocess.DEVNULL)


def compare(title, sets):
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = os.path.join(folder, "vissl"), os.path.join(folder, "ours")
        devnull = os.open(os.devnull, os.O_WRONLY)
        kept = os.dup(1)
        os.dup2(devnull, 1)  # LIBLINEAR prints every step
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                of_vissl(sets, theirs)
        finally:
            os.dup2(kept, 1)
        of_ours(sets, ours)
        result = lambda root, name: np.load(os.path.join(root, "features", f"{name}.npy"))  # noqa: E731
        a, b = result(theirs, "crossval_ap"), result(ours, "crossval_ap")
        stopped = sum("converge" in str(w.message) for w in caught)
        ignored = int((sets["train"][1] == -1).sum())
        print(f"{title}: {sets['train'][0].shape} to train on, {a.shape[0]} classes, {ignored} labels ignored")
        print(f"  VISSL: {stopped} of {a.size * 4} problems not converged")
        for i, cost in enumerate(costs):
            print(f"  cost {cost:g}: cross-validation AP differs by at most {abs(a - b)[:, i].max():.5f}")
        same = result(theirs, "chosen_cost") == result(ours, "chosen_cost")
        test = abs(result(theirs, "test_ap") - result(ours, "test_ap"))[:, 0]
        means = [100 * result(root, "test_ap").mean() for root in (theirs, ours)]
        print(f"  the same cost chosen for {same.sum()} of {len(same)} classes", end="")
        if not same.all():
            gaps = [a[c].max() - np.sort(a[c])[-2] for c in np.where(~same)[0]]
            print(f" (the others: VISSL's two best costs lie within {max(gaps):.5f} of each other)", end="")
        print(f"; there test AP differs by at most {test[same].max():.5f}")
        print(f"  mean test AP: VISSL {means[0]:.3f} %, train-svm {means[1]:.3f} %")
        if given.classes:
            some = os.path.join(folder, "some")
            of_ours(sets, some, given.classes)
            rows = [int(c) for c in given.classes.split(",")]
            differ = abs(result(some, "crossval_ap") - a[rows]).max()
            aps = abs(result(some, "test_ap") - result(ours, "test_ap")[rows]).max()
            print(f"  classes {given.classes} alone: cross-validation AP differs from VISSL's by at most {differ:.5f},")
            print(f"    test AP from that of all classes by at most {aps:.5f}")


if given.made:
    compare("made, more columns than rows", made(1, 300, 512, 6, 0.12))
    compare("made, more rows than columns", made(2, 900, 48, 6, 0.5))
if given.data:
    compare(given.data, read(given.data))
