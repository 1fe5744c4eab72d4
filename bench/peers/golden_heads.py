"""Writes __tests__/golden/heads/training.json: heads trained by PyTorch, for the bank to equal.

    python bench/peers/golden_heads.py > __tests__/golden/heads/training.json
"""

import json

import torch

torch.manual_seed(7)
N, SHAPE, CLASSES, BATCH, STEPS = 96, (6, 2, 2), 5, 16, 100
WIDTH = SHAPE[0] * SHAPE[1] * SHAPE[2]
features = (torch.rand(N, *SHAPE) * torch.linspace(0.2, 3, SHAPE[0]).view(1, -1, 1, 1)).mul(1024).round().div(1024)
labels = torch.randint(0, CLASSES, (N,))
order = torch.stack([torch.randperm(N)[:BATCH] for _ in range(STEPS)])
initial = torch.nn.Linear(WIDTH, CLASSES)


class BatchNormHead(torch.nn.Module):
    """VISSL's eval_mlp: batch norm over the channels of the map, flatten, linear."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(SHAPE[0])
        self.linear = torch.nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.linear(self.norm(x).flatten(1))


def train(kind, lr, weight_decay, momentum, nesterov, regularize_bias, schedule):
    if kind == "fc":
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(WIDTH, CLASSES))
        linear = model[1]
    else:
        model = BatchNormHead()
        linear = model.linear
    linear.load_state_dict(initial.state_dict())
    model.train()
    plain, decayed = [], [linear.weight]
    (decayed if regularize_bias else plain).append(linear.bias)
    if kind != "fc":
        plain += [model.norm.weight, model.norm.bias]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0}]
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=lr, momentum=momentum, nesterov=nesterov)
    if schedule == "multistep":
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[40, 70], gamma=0.1)
    else:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    losses = []
    for rows in order:
        loss = torch.nn.functional.cross_entropy(model(features[rows]), labels[rows])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    model.eval()
    result = {
        "kind": kind, "lr": lr, "weightDecay": weight_decay, "momentum": momentum, "nesterov": nesterov,
        "regularizeBias": regularize_bias, "schedule": schedule, "losses": losses[::9],
        "weight": linear.weight.detach().T.flatten().tolist(), "bias": linear.bias.tolist(),
        "logits": model(features[:12]).detach().flatten().tolist(),
    }
    if kind != "fc":
        norm = model.norm
        result["batchNorm"] = {
            "gamma": norm.weight.tolist(), "beta": norm.bias.tolist(),
            "mean": norm.running_mean.tolist(), "variance": norm.running_var.tolist(),
        }
    return result


cases = [
    train(kind, lr, decay, 0.9, nesterov, bias, schedule)
    for kind in ("fc", "bn_fc")
    for nesterov, bias, schedule in ((True, True, "multistep"), (False, False, "cosine"))
    for lr, decay in ((0.01, 5e-4), (0.1, 0.0), (0.05, 0.02))
]
print(json.dumps({
    "torch": torch.__version__, "shape": SHAPE, "classes": CLASSES, "batch": BATCH,
    "features": features.flatten().tolist(), "labels": labels.tolist(), "order": order.tolist(),
    "initial": {"weight": initial.weight.detach().T.flatten().tolist(), "bias": initial.bias.tolist()},
    "cases": cases,
}))
