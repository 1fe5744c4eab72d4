"""Reference values for the example of docs/custom-model.md: a narrow SqueezeNet 1.1 with random weights.

python bench/peers/golden_squeezenet.py __tests__/golden/convert/squeezenet
"""

import pathlib
import sys

import numpy as np
import torch
from torchvision.models.squeezenet import Fire

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)

pool = lambda: torch.nn.MaxPool2d(3, 2, ceil_mode=True)
features = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(), pool(),
    Fire(8, 2, 4, 4), Fire(8, 2, 4, 4), pool(),
    Fire(8, 4, 8, 8), Fire(16, 4, 8, 8), pool(),
    Fire(16, 6, 12, 12), Fire(24, 6, 12, 12), Fire(24, 8, 16, 16), Fire(32, 8, 16, 16),
)  # fmt: skip
classifier = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Conv2d(32, 5, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))
classifier[1].bias.data += 1  # above zero behind the ReLU
network = torch.nn.Module()
network.features, network.classifier = features, classifier
network.eval()
torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}, "epoch": 3}, out / "weights.pth")

x = torch.randn(1, 3, 63, 63)
arrays = {"input": x}
names = {1: "conv1", 3: "fire0", 4: "fire1", 6: "fire2", 7: "fire3", 9: "fire4", 10: "fire5", 11: "fire6", 12: "fire7"}
with torch.no_grad():
    for i, layer in enumerate(features):
        x = layer(x)
        if i in names:
            arrays[names[i]] = x
    arrays["pooled"] = x.mean((2, 3))
    arrays["logits"] = classifier(x).flatten(1)
np.savez(out / "taps.npz", **{name: value.numpy() for name, value in arrays.items()})
