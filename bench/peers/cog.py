"""The peer of bench/cog.ts: CoG's logistic regression by PyTorch, written by the published protocol.

Arguments: features (.f32) and labels (.i32) of the training images, then of the test images, and the sizes as JSON. The
features stay in memory; batches are rows in a random order; one linear layer, SGD with momentum 0.9, the weight decay on
weights and biases, the cosine that is set after each epoch. Answers each line on standard input, a question as JSON, with
a line. Times are those of the processor.
"""

import json
import math
import resource
import sys
import time

import numpy as np
import torch

sizes = json.loads(sys.argv[5])
WIDTH, CLASSES, EPOCHS = sizes["width"], sizes["classes"], sizes["epochs"]
torch.set_num_threads(sizes["threads"])


def read(features, labels):
    x = torch.from_numpy(np.fromfile(features, np.float32).reshape(-1, WIDTH))
    return x, torch.from_numpy(np.fromfile(labels, np.int32)).long()


TRAIN, TEST = read(*sys.argv[1:3]), read(*sys.argv[3:5])


def train(data, lr, decay, epochs=EPOCHS, steps=math.inf):
    x, y = data
    model = torch.nn.Linear(WIDTH, CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
    done = 0
    for epoch in range(epochs):
        for rows in torch.randperm(len(y)).split(min(1024, len(y))):
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            if not torch.isfinite(loss):
                return model
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done == steps:
                return model
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
    return model


@torch.no_grad()
def accuracy(model, data):
    x, y = data
    return (model(x).argmax(1) == y).float().mean().item()


def search(question):
    """30 trials of TPE on an 80/20 split of each class, and the final training on all."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.manual_seed(question["seed"])
    x, y = TRAIN
    train_rows, val_rows = [], []
    for c in range(CLASSES):
        rows = torch.nonzero(y == c)[:, 0]
        rows = rows[torch.randperm(len(rows))]
        n = int(0.2 * len(rows))
        train_rows.append(rows[: len(rows) - n])
        val_rows.append(rows[len(rows) - n :])
    fit, val = ((x[rows], y[rows]) for rows in (torch.cat(train_rows), torch.cat(val_rows)))

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-1, 1e2, log=True)
        return accuracy(train(fit, lr, trial.suggest_float("wd", 1e-12, 1e-4, log=True)), val)

    sampler = optuna.samplers.TPESampler(multivariate=True, seed=question["seed"])
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=question["trials"])
    model = train(TRAIN, study.best_params["lr"], study.best_params["wd"])
    return {"accuracy": accuracy(model, TEST), "selection": study.best_value, **study.best_params}


def steps(question):
    """Some steps of one trial on the first images."""
    rows = question["rows"]
    train((TRAIN[0][:rows], TRAIN[1][:rows]), 1.0, 1e-6, EPOCHS, question["steps"])
    return {}


print(f"PyTorch {torch.__version__}, {sizes['threads']} threads", flush=True)
for line in sys.stdin:
    question = json.loads(line)
    began = time.process_time()
    answer = {"search": search, "steps": steps}[question["what"]](question)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**answer, "cpu": time.process_time() - began, "memory": memory}), flush=True)
