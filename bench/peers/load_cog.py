"""Opens what eval-logreg and store export write for CoG's programs, as these do, and tells what it found as JSON.

Usage: load_cog.py FINAL_FOLDER FEATURES_X_Y.pth
"""

import json
import os
import pickle
import sys

import torch

final, features = sys.argv[1:]
with open(os.path.join(final, "logs.pkl"), "rb") as file:
    logs = pickle.load(file)
with open(os.path.join(final, "preds.pkl"), "rb") as file:
    preds = pickle.load(file)
weights = torch.load(os.path.join(final, "model.pth"), map_location="cpu")
test = torch.load(features, map_location="cpu")
model = torch.nn.Linear(weights["weight"].shape[1], weights["weight"].shape[0])
model.load_state_dict(weights)
predicted = model(torch.nn.functional.normalize(test["X"])).argmax(1)
print(
    json.dumps(
        {
            "epochs": {name: len(values) for name, values in logs.items()},
            "top1": logs["test/top1"][-1],
            "same": (predicted.float() == preds[-1]).float().mean().item(),
            "right": 100 * (predicted == test["Y"]).float().mean().item(),
            "name": test.get("name"),
            "dtype": str(preds[-1].dtype),
        }
    )
)
