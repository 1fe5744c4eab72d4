"""Makes the reference values of full-batch training: scikit-learn's LogisticRegression and torch.optim.LBFGS.

Writes digits.bin.gz and full_batch.json into the folder given (__tests__/golden/training). The digits are those of scikit-learn (UCI, Optical
Recognition of Handwritten Digits, CC BY 4.0): a row of 64 grey levels in 0 ... 16, then the class, of 1797 images.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression


def nll(p, y):
    return float(-np.log(p[np.arange(len(y)), y]).mean())


def digits(folder):
    images, labels = load_digits(return_X_y=True)
    rows = np.concatenate([images, labels[:, None]], 1).astype(np.uint8)
    (folder / "digits.bin.gz").write_bytes(gzip.compress(rows.tobytes(), 9, mtime=0))
    x = images / 16
    found = []
    for c in (0.1, 1, 10):
        model = LogisticRegression(C=c, tol=1e-10, max_iter=10000).fit(x[:898], labels[:898])
        p = model.predict_proba(x[898:])
        found.append({"C": c, "accuracy": float(model.score(x[898:], labels[898:])), "nll": nll(p, labels[898:])})
    return found


def small_data():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 3, 40)
    means = rng.normal(size=(3, 5))
    x = (means[labels] + rng.normal(size=(40, 5))).astype(np.float32)
    return x, labels


def logistic(x, y):
    """Weights of the minimum: mean loss + λ/2 |w|², biases free."""
    found = []
    for decay in (1e-3, 1e-2, 0.1):
        model = LogisticRegression(C=1 / (len(y) * decay), tol=1e-12, max_iter=100000)
        model.fit(x.astype(np.float64), y)
        weight = model.coef_.T
        loss = nll(model.predict_proba(x), y)
        found.append({"weightDecay": decay, "weight": weight.ravel().tolist(), "loss": loss})
    return found


def mlp(x, y):
    """Loss after each iteration of torch.optim.LBFGS on Linear, ReLU, Linear, all decayed, in double precision."""
    torch.manual_seed(3)
    x, y = torch.tensor(x, dtype=torch.float64), torch.tensor(y)
    start = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).double()
    begin = [p.detach().numpy().tolist() for p in start.parameters()]
    found = []
    for decay, lr in ((1e-3, 1.0), (1e-2, 0.5)):
        losses = []
        for iterations in range(1, 9):
            model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).double()
            model.load_state_dict(start.state_dict())
            optimizer = torch.optim.LBFGS(
                model.parameters(), lr=lr, max_iter=iterations, max_eval=1000, history_size=5, line_search_fn="strong_wolfe",
                tolerance_grad=1e-6,
            )

            def closure():
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(x), y)
                loss = loss + decay / 2 * sum((p**2).sum() for p in model.parameters())
                loss.backward()
                return loss

            optimizer.step(closure)
            with torch.no_grad():
                losses.append(torch.nn.functional.cross_entropy(model(x), y).item())
        found.append({"weightDecay": decay, "lr": lr, "losses": losses})
    return {"start": begin, "runs": found}


def main():
    folder = Path(sys.argv[1])
    x, y = small_data()
    values = {
        "digits": digits(folder),
        "features": x.ravel().tolist(),
        "labels": y.tolist(),
        "logistic": logistic(x, y),
        "mlp": mlp(x, y),
    }
    (folder / "full_batch.json").write_text(json.dumps(values) + "\n")


main()
