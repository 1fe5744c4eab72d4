"""Writes __tests__/golden/preprocess/random_resized_crop.json: the boxes that torchvision's RandomResizedCrop draws.

    python bench/peers/golden_crops.py > __tests__/golden/preprocess/random_resized_crop.json

Beside each box stand the numbers that PyTorch's generator (the Mersenne Twister) gave for it, 32 bits each: an even
number in single precision is the lower 24 of them divided by 2^24, an integer below n is their rest by n.
"""

import json

import numpy
import torch
import torchvision

SIZES = [(500, 375), (333, 500), (224, 224), (640, 91), (31, 400), (2, 3), (1, 1), (1200, 40)]
USUAL = ((0.08, 1.0), (3 / 4, 4 / 3))
RANGES = [USUAL, ((0.2, 1.0), (3 / 4, 4 / 3)), ((0.9, 1.0), (1.9, 2.1))]

cases = []
for width, height in SIZES:
    for number, (scale, ratio) in enumerate(RANGES):
        for seed in range(12 if number == 0 else 4):
            torch.manual_seed(seed)
            words = numpy.random.RandomState(seed)._bit_generator.random_raw(32).tolist()
            image = torch.empty(3, height, width, dtype=torch.uint8)
            box = torchvision.transforms.RandomResizedCrop.get_params(image, list(scale), list(ratio))
            following = torch.rand(1).item()
            used = next(i for i, word in enumerate(words) if (word % 2**24) / 2**24 == following)
            top, left, box_height, box_width = box
            cases.append({
                "width": width, "height": height, "scale": scale, "ratio": ratio, "words": words[:used],
                "box": {"left": left, "top": top, "width": box_width, "height": box_height},
            })
print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")
