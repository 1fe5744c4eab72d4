"""Writes __tests__/golden/heads/mlp.json: MLP heads, inputs and losses by PyTorch, for bodies of heads to equal.

    python bench/peers/golden_mlp.py > __tests__/golden/heads/mlp.json

Of each case: logits, loss and all gradients on the first batch, and what 50 steps of SGD make of the head.
"""

import json

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(11)
N, SHAPE, CLASSES, BATCH, STEPS = 48, (4, 3, 1), 5, 8, 50
WIDTH = SHAPE[0] * SHAPE[1] * SHAPE[2]
LR, DECAY, MOMENTUM = 0.1, 2e-3, 0.9
scales = torch.linspace(0.3, 2, SHAPE[0]).view(1, -1, 1, 1)
features = ((torch.rand(N, *SHAPE) - 0.3) * scales).mul(1024).round().div(1024)
labels = torch.randint(0, CLASSES, (N,))
some = labels.masked_fill(torch.rand(N) < 0.3, -1)
soft = torch.softmax(torch.randn(N, CLASSES), 1).mul(64).round().div(64)
multi = (torch.rand(N, CLASSES) < 0.4).long()
known = multi.masked_fill(torch.rand(N, CLASSES) < 0.2, -1)
order = torch.stack([torch.randperm(N)[:BATCH] for _ in range(STEPS)])
# One class is unknown throughout the first batch.
known[order[0], 2] = -1
ROUNDING = 8


class Head(nn.Module):
    """VISSL's mlp behind one of the forms of input."""

    def __init__(self, form, hidden):
        super().__init__()
        self.form = form
        if form.startswith("batch_norm"):
            self.norm = nn.BatchNorm2d(SHAPE[0], affine=form == "batch_norm")
            if form == "batch_norm":
                nn.init.uniform_(self.norm.weight, 0.5, 1.5)
                nn.init.uniform_(self.norm.bias, -0.5, 0.5)
        widths = [WIDTH, *(layer["width"] for layer in hidden)]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, [*widths[1:], CLASSES]))
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(layer["width"]) if layer["batchNorm"] else nn.Identity() for layer in hidden
        )
        self.hidden = hidden

    def forward(self, x):
        if self.form.startswith("batch_norm"):
            x = self.norm(x)
        x = x.flatten(1)
        if self.form == "l2":
            x = F.normalize(x)
        for layer, linear, norm in zip(self.hidden, self.linears, self.norms):
            x = norm(linear(x))
            if layer["relu"]:
                x = torch.relu(x)
        return self.linears[-1](x)

    def parts(self, of):
        """Whatever `of` gives of each parameter, by the names of HeadWeights."""
        linear = lambda m: {"weight": of(m.weight).T.flatten().tolist(), "bias": of(m.bias).tolist()}
        affine = lambda m: {"gamma": of(m.weight).tolist(), "beta": of(m.bias).tolist()}
        parts = linear(self.linears[-1])
        if self.form == "batch_norm":
            parts["batchNorm"] = affine(self.norm)
        parts["hidden"] = [
            {**linear(m), **({"batchNorm": affine(norm)} if layer["batchNorm"] else {})}
            for layer, m, norm in zip(self.hidden, self.linears, self.norms)
        ]
        return parts

    def weights(self):
        parts = self.parts(lambda p: p.detach())
        stats = lambda m: {"mean": m.running_mean.tolist(), "variance": m.running_var.tolist()}
        if self.form.startswith("batch_norm"):
            parts.setdefault("batchNorm", {"gamma": [1.0] * SHAPE[0], "beta": [0.0] * SHAPE[0]})
            parts["batchNorm"].update(stats(self.norm))
        for part, norm in zip(parts["hidden"], self.norms):
            if "batchNorm" in part:
                part["batchNorm"].update(stats(norm))
        return parts


def binary(logits, target):
    """VISSL's bce_logits_multiple_output_single_target: a class's mean over what is known of it, summed."""
    unknown = target == -1
    counts = (~unknown).sum(0).clamp(min=1)
    each = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    return (each.masked_fill(unknown, 0) / counts).sum()


LOSSES = {
    "plain": (labels, {"kind": "cross_entropy", "labelSmoothing": 0}, F.cross_entropy),
    "smoothed": (
        some, {"kind": "cross_entropy", "labelSmoothing": 0.1},
        lambda z, t: F.cross_entropy(z, t, ignore_index=-1, label_smoothing=0.1),
    ),
    "ignored": (
        some, {"kind": "cross_entropy", "labelSmoothing": 0}, lambda z, t: F.cross_entropy(z, t, ignore_index=-1),
    ),
    "soft": (
        soft, {"kind": "soft_cross_entropy"}, lambda z, t: -(t * F.log_softmax(z, 1)).sum(1).mean(),
    ),
    "multi": (multi, {"kind": "binary_cross_entropy"}, binary),
    "known": (known, {"kind": "binary_cross_entropy"}, binary),
}


def case(name, form, hidden, loss_name="plain"):
    torch.manual_seed(len(name))
    targets, loss, function = LOSSES[loss_name]
    hidden = [{"width": w, "batchNorm": bn, "relu": relu, "dropout": 0} for w, bn, relu in hidden]
    head = Head(form, hidden).train()
    start = head.weights()
    matrices = [p for m in head.linears for p in m.parameters()]
    others = [p for p in head.parameters() if all(p is not m for m in matrices)]
    optimizer = torch.optim.SGD(
        [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0}],
        lr=LR, momentum=MOMENTUM, nesterov=True,
    )
    for step, rows in enumerate(order):
        logits = head(features[rows])
        value = function(logits, targets[rows])
        optimizer.zero_grad()
        value.backward()
        if step == 0:
            first = {
                "logits": logits.detach().flatten().tolist(), "loss": value.item(),
                "gradients": head.parts(lambda p: p.grad),
            }
        optimizer.step()
    head.eval()
    return {
        "name": name, "form": form, "hidden": hidden, "loss": loss, "targets": targets.flatten().tolist(),
        "start": start, "first": first, "final": head.weights(), "finalLoss": value.item(),
        "logits": head(features[:10]).detach().flatten().tolist(),
    }


relu7, norm7 = (7, False, True), (7, True, True)
cases = [
    case("linear", "raw", []),
    case("one hidden layer, nothing between", "raw", [(7, False, False)]),
    case("one hidden layer with ReLU", "raw", [relu7]),
    case("batch norm and ReLU", "raw", [norm7]),
    case("two hidden layers", "raw", [norm7, (6, True, False)]),
    case("behind batch norm", "batch_norm", [norm7]),
    case("linear behind batch norm", "batch_norm", []),
    case("behind batch norm without affine", "batch_norm_plain", [relu7]),
    case("L2-normalised input", "l2", [relu7]),
    case("label smoothing, some labels ignored", "raw", [relu7], "smoothed"),
    case("some labels ignored", "raw", [norm7], "ignored"),
    case("soft targets", "raw", [relu7], "soft"),
    case("multi-label", "raw", [relu7], "multi"),
    case("multi-label, some unknown", "batch_norm", [relu7], "known"),
]


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.{ROUNDING}g}")
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


print(json.dumps(rounded({
    "torch": torch.__version__, "shape": SHAPE, "classes": CLASSES, "batch": BATCH,
    "lr": LR, "weightDecay": DECAY, "momentum": MOMENTUM,
    "features": features.flatten().tolist(), "order": order.tolist(), "cases": cases,
})))
