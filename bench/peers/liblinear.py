"""LIBLINEAR's own program on one problem.

    python bench/peers/liblinear.py FEATURES.f32 TARGETS.i8 COUNT WIDTH liblinear-train

Answers each line of standard input, JSON {"solver": 1, "cost": 1, "tolerance": 0.1}, with a line: processor time of the
program, which with an infinite tolerance is that of reading its text, and the objective of its model.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

count, width = map(int, sys.argv[3:5])
program = sys.argv[5]
x = np.fromfile(sys.argv[1], np.float32).reshape(count, width)
y = np.fromfile(sys.argv[2], np.int8)

with tempfile.TemporaryDirectory() as folder:
    text, model = Path(folder) / "problem", Path(folder) / "model"
    with text.open("w") as out:
        for side, row in zip(y, x):
            out.write(f"{side} " + " ".join(f"{j + 1}:{v:.9g}" for j, v in enumerate(row) if v != 0) + "\n")
    print(f"{text.stat().st_size / 1e6:.0f} MB of text", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        command = [program, "-q", "-s", asked["solver"], "-c", asked["cost"], "-e", asked["tolerance"]]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*map(str, command), "-B", "1", "-w1", "2", "-w-1", "1", text, model], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        lines = model.read_text().splitlines()
        w = np.array([float(v) for v in lines[lines.index("w") + 1 :]])
        # The first label in the file is the positive side.
        w *= float(next(v for v in lines if v.startswith("label")).split()[1])
        short = np.maximum(0, 1 - y * (x.astype(np.float64) @ w[:-1] + w[-1]))
        objective = float(w @ w / 2 + asked["cost"] * (np.where(y > 0, 2, 1) @ short**2))
        print(json.dumps(dict(cpu=cpu, objective=objective)), flush=True)
