"""Writes __tests__/golden/optim/: steps of optimizers, L-BFGS, schedules and scaled rates as the original programs give them.

    python bench/peers/golden_optim.py --larc LARC.py --vissl hydra_config.py --inverse-sqrt inverse_sqrt_decay.py \
        --out __tests__/golden/optim

The files are Apex's apex/parallel/LARC.py, VISSL's vissl/utils/hydra_config.py and
vissl/optimizers/param_scheduler/inverse_sqrt_decay.py; fvcore and torch are imported.
"""

import argparse
import ast
import copy
import json
import math
import pathlib
import types

import torch
from fvcore.common import param_scheduler as fvcore

torch.manual_seed(11)
torch.set_default_dtype(torch.float64)
parser = argparse.ArgumentParser()
for name in ("larc", "vissl", "inverse-sqrt", "out"):
    parser.add_argument(f"--{name}", required=True, type=pathlib.Path)
args = parser.parse_args()


def functions(path, names, scope):
    """Some definitions of a Python file, without what it imports."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if getattr(node, "name", None) in names]
    for node in tree.body:
        node.decorator_list = []
    exec(compile(tree, str(path), "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in names})


def write(name, value):
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / name).write_text(json.dumps(value))


LARC = functions(args.larc, ["LARC"], {"torch": torch}).LARC

# Steps of optimizers -------------------------------------------------------------------------------------------------

N, D, C, BATCH, STEPS = 48, 6, 3, 16, 50
features = torch.randn(N, D).mul(1024).round().div(1024)
labels = torch.randint(0, C, (N,))
initial = torch.nn.Linear(D, C)
with torch.no_grad():
    for parameter in initial.parameters():
        parameter.copy_(parameter.mul(4096).round().div(4096))


def factor(step):
    """Warm-up from 0, then a cosine."""
    return step / 5 if step < 5 else 0.5 * (1 + math.cos(math.pi * (step - 5) / (STEPS - 5)))


def train(optimizer, lr, decay, bias_decay, bias="plain", zero=False):
    linear = torch.nn.Linear(D, C)
    linear.load_state_dict(initial.state_dict())
    if zero:
        with torch.no_grad():
            linear.weight.zero_()
    kind = optimizer["kind"]
    groups = [
        {"params": [linear.weight], "weight_decay": decay},
        {"params": [linear.bias], "weight_decay": decay if bias_decay else 0.0},
    ]
    sgd = lambda groups: torch.optim.SGD(  # noqa: E731
        groups, lr=lr, momentum=optimizer["momentum"], nesterov=optimizer["nesterov"]
    )
    larc = lambda groups: LARC(  # noqa: E731
        sgd(groups), trust_coefficient=optimizer["trust"], clip=False, eps=optimizer["epsilon"]
    )
    if kind == "sgd":
        optimizers = [sgd(groups)]
    elif kind == "lars":
        optimizers = [larc(groups)] if bias == "own norm" else [larc(groups[:1]), sgd(groups[1:])]
    else:
        made = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        optimizers = [made(groups, lr=lr, betas=(optimizer["beta1"], optimizer["beta2"]), eps=optimizer["epsilon"])]
    for step in range(STEPS):
        rows = slice(step % 3 * BATCH, (step % 3 + 1) * BATCH)
        loss = torch.nn.functional.cross_entropy(linear(features[rows]), labels[rows])
        for one in optimizers:
            for group in one.param_groups:
                group["lr"] = lr * factor(step)
            one.zero_grad()
        loss.backward()
        for one in optimizers:
            one.step()
    matrix = torch.cat([linear.weight.detach().T, linear.bias.detach()[None]])
    return {
        "optimizer": optimizer, "lr": lr, "weightDecay": decay, "regularizeBias": bias_decay, "bias": bias,
        "zero": zero, "matrix": matrix.flatten().tolist(),
    }


cases = []
for nesterov in (True, False):
    for momentum in (0.9, 0.0) if not nesterov else (0.9,):
        optimizer = {"kind": "sgd", "momentum": momentum, "nesterov": nesterov}
        cases += [train(optimizer, *trial) for trial in ((0.01, 5e-4, True), (0.5, 0.0, True), (0.1, 0.05, False))]
for kind in ("adam", "adamw"):
    for beta2, epsilon in ((0.999, 1e-8), (0.95, 1e-3)):
        optimizer = {"kind": kind, "beta1": 0.9, "beta2": beta2, "epsilon": epsilon}
        cases += [train(optimizer, *trial) for trial in ((1e-3, 0.01, True), (0.05, 0.0, True), (0.02, 0.5, False))]
for nesterov, trust in ((False, 0.001), (True, 0.02)):
    optimizer = {"kind": "lars", "momentum": 0.9, "nesterov": nesterov, "trust": trust, "epsilon": 1e-8}
    cases += [train(optimizer, *trial) for trial in ((1.0, 5e-4, True), (0.3, 0.0, True), (3.0, 0.05, False))]
    cases += [train(optimizer, 1.0, 0.05, True, bias="own norm"), train(optimizer, 0.1, 0.05, True, zero=True)]
write("updates.json", {
    "torch": torch.__version__, "steps": STEPS, "batch": BATCH, "classes": C, "width": D,
    "factors": [factor(step) for step in range(STEPS)],
    "features": features.flatten().tolist(), "labels": labels.tolist(),
    "initial": torch.cat([initial.weight.detach().T, initial.bias.detach()[None]]).flatten().tolist(), "cases": cases,
})

# L-BFGS --------------------------------------------------------------------------------------------------------------

points = torch.randn(60, 5).mul(256).round().div(256)
signs = torch.where(points @ torch.tensor([1.0, -2.0, 0.5, 0.0, 1.0]) + torch.randn(60) > 0, 1.0, -1.0)


def logistic(penalty):
    return lambda w: torch.nn.functional.softplus(-signs * (points @ w)).mean() + 0.5 * penalty * (w @ w)


def rosenbrock(w):
    return ((1 - w[0]) ** 2) + 100 * (w[1] - w[0] ** 2) ** 2


def minimise(function, start, line_search, history, iterations, lr):
    w = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [w], lr=lr, max_iter=iterations, history_size=history, line_search_fn=None if line_search == "none" else line_search
    )

    def closure():
        optimizer.zero_grad()
        loss = function(w)
        loss.backward()
        return loss

    optimizer.step(closure)
    state = optimizer.state[w]
    return {
        "x": w.detach().tolist(), "loss": function(w).item(), "iterations": state["n_iter"],
        "evaluations": state["func_evals"],
    }


penalties = (0.1, 0.01, 1e-3, 0.0)
starts = ([-1.2, 1.0], [0.5, -0.5], [2.0, 2.0], [1.0, 1.0])
runs = []
for line_search in ("none", "strong_wolfe"):
    for history, iterations, lr in ((10, 1, 1.0), (10, 4, 1.0), (2, 8, 1.0), (10, 60, 1.0), (10, 6, 0.5)):
        options = {"lineSearch": line_search, "history": history, "maxIterations": iterations, "lr": lr}
        runs.append({"problem": "logistic", **options, "results": [
            minimise(logistic(penalty), [0.0] * 5, line_search, history, iterations, lr) for penalty in penalties
        ]})
        if line_search == "strong_wolfe":
            runs.append({"problem": "rosenbrock", **options, "results": [
                minimise(rosenbrock, start, line_search, history, iterations, lr) for start in starts
            ]})
write("lbfgs.json", {
    "torch": torch.__version__, "points": points.flatten().tolist(), "signs": signs.tolist(), "penalties": penalties,
    "starts": starts, "runs": runs,
})

# Schedules -----------------------------------------------------------------------------------------------------------

EPOCHS, STEPS_PER_EPOCH = 10, 4
inverse_sqrt = functions(
    args.inverse_sqrt, ["InverseSqrtScheduler"],
    {"ClassyParamScheduler": type("Base", (), {"__init__": lambda self, update_interval: None}),
     "UpdateInterval": types.SimpleNamespace(STEP=None), "Dict": dict, "Any": object},
).InverseSqrtScheduler
linear, cosine = fvcore.LinearParamScheduler, fvcore.CosineParamScheduler
multistep = fvcore.MultiStepParamScheduler
schedulers = {
    "constant": fvcore.ConstantParamScheduler(0.3),
    "multistep": multistep([1, 0.1, 0.05, 0.001], num_updates=EPOCHS, milestones=[2, 5, 9]),
    "step": fvcore.StepParamScheduler(EPOCHS, [1, 0.5, 0.2]),
    "step_with_fixed_gamma": fvcore.StepWithFixedGammaParamScheduler(1, 3, 0.2, EPOCHS),
    "cosine": cosine(1, 0.01),
    "linear": linear(0.1, 0.9),
    "inverse_sqrt": inverse_sqrt(1.0, 0.1),
    "inverse_sqrt without warm-up": inverse_sqrt(1.0, 0.0),
    "warm-up and cosine": fvcore.CompositeParamScheduler([linear(0.0, 1.0), cosine(1.0, 0.0)], [0.1, 0.9], ["rescaled"] * 2),
    "warm-up and fixed multistep": fvcore.CompositeParamScheduler(
        [linear(0.1, 1.0), multistep([1, 0.1, 0.01], num_updates=EPOCHS, milestones=[3, 7])], [0.25, 0.75], ["rescaled", "fixed"]
    ),
    "three parts": fvcore.CompositeParamScheduler(
        [linear(0.0, 1.0), fvcore.ConstantParamScheduler(0.7), multistep([0.5, 0.1], num_updates=EPOCHS, milestones=[6])],
        [0.15, 0.35, 0.5], ["rescaled"] * 3,
    ),
}
wheres = {
    "step": [(epoch + step / STEPS_PER_EPOCH) / EPOCHS for epoch in range(EPOCHS) for step in range(STEPS_PER_EPOCH)],
    "epoch": [epoch / EPOCHS for epoch in range(EPOCHS)],
}


def by_torch(make):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler, values = make(optimizer), []
    for _ in range(EPOCHS):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


write("schedules.json", {
    "epochs": EPOCHS, "stepsPerEpoch": STEPS_PER_EPOCH,
    "values": {name: {per: [s(where) for where in at] for per, at in wheres.items()} for name, s in schedulers.items()},
    "torch": {
        "multistep": by_torch(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 5, 9], 0.1)),
        "cosine": by_torch(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS)),
    },
})

# Rates scaled by batch size ------------------------------------------------------------------------------------------


class Settings(dict):
    """Keys as attributes, too."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


def settings(value):
    if isinstance(value, dict):
        return Settings({key: settings(one) for key, one in value.items()})
    return [settings(one) for one in value] if isinstance(value, list) else value


names = ["resolve_linear_schedule", "get_scaled_lr_scheduler", "infer_learning_rate"]
infer = functions(args.vissl, names, {"math": math}).infer_learning_rate


def scaled(rate, batch, processes, nodes, base, base_batch, scaling):
    config = settings({
        "OPTIMIZER": {
            "param_schedulers": {"lr": {**copy.deepcopy(rate), "auto_lr_scaling": {
                "auto_scale": True, "base_value": base, "base_lr_batch_size": base_batch, "scaling_type": scaling,
            }}},
            "head_optimizer_params": {"use_different_lr": False, "use_different_wd": False},
            "weight_decay": 0.0,
        },
        "DISTRIBUTED": {"NUM_NODES": nodes, "NUM_PROC_PER_NODE": processes},
        "DATA": {"TRAIN": {"BATCHSIZE_PER_REPLICA": batch}},
    })
    result = infer(config).OPTIMIZER.param_schedulers.lr
    del result["auto_lr_scaling"]
    return {
        "rate": rate, "batchSizePerReplica": batch, "processesPerNode": processes, "nodes": nodes, "baseValue": base,
        "baseBatchSize": base_batch, "scaling": scaling, "expected": result,
    }


milestones = {"name": "multistep", "values": [0.01, 0.001, 0.0001, 0.00001], "milestones": [8, 16, 24], "update_interval": "epoch"}
uneven = {"name": "multistep", "values": [0.3, 0.1, 0.05], "milestones": [30, 60]}
wave = {"name": "cosine", "start_value": 0.15, "end_value": 0.0015, "update_interval": "step"}
warm = {"name": "linear", "start_value": 0.6, "end_value": 4.8, "update_interval": "step"}
falling = {"name": "cosine", "start_value": 4.8, "end_value": 0.0048}
both = {"name": "composite", "schedulers": [warm, falling], "interval_scaling": ["rescaled", "fixed"], "lengths": [0.1, 0.9],
        "update_interval": "step"}
three = {"name": "composite", "schedulers": [warm, falling, {"name": "constant", "value": 0.1}], "lengths": [0.1, 0.4, 0.5],
         "update_interval": "step"}
single = [
    milestones, uneven, wave, warm, both, three,
    {"name": "multistep", "values": [0.1], "milestones": []},
    {"name": "step", "values": [0.1, 0.03, 0.01], "update_interval": "epoch"},
    {"name": "step_with_fixed_gamma", "base_value": 0.1, "gamma": 0.3, "num_decays": 3},
    {"name": "inverse_sqrt", "start_value": 0.1, "warmup_interval_length": 0.1},
    {"name": "constant", "value": 0.1},
]
places = [
    (32, 8, 1, 0.01, 256, "linear"), (32, 1, 1, 0.01, 256, "linear"), (7, 3, 1, 0.03, 256, "linear"),
    (64, 8, 4, 0.3, 256, "linear"), (64, 8, 4, 0.3, 256, "sqrt"), (16, 1, 1, 0.3, 256, "sqrt"), (1, 1, 1, 0.5, 256, "linear"),
]
write("vissl_rates.json", [scaled(rate, *place) for rate in single for place in places])
