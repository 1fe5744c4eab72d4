"""Peer of bench/preprocess.ts: torchvision's transforms on Pillow.

Answers each line on standard input, `dataloader` or `pool`, with what one pass over the
folder took: seconds on the clock, and of all processors together.

- dataloader: torch's DataLoader, batches of 64 as float32 tensors; what published code does.
- pool: a multiprocessing.Pool whose workers keep their results, so that nothing is sent between processes.
"""

import argparse
import json
import multiprocessing
import pathlib
import resource
import time

import PIL.Image
import torch
import torchvision
from torchvision import transforms

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--workers", type=int, required=True)
arguments = parser.parse_args()

torch.set_num_threads(1)
FILES = sorted(arguments.folder.glob("*.jpg"))
TRANSFORM = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def load(file):
    with open(file, "rb") as stream:
        return TRANSFORM(PIL.Image.open(stream).convert("RGB"))


class Files(torch.utils.data.Dataset):
    def __len__(self):
        return len(FILES)

    def __getitem__(self, index):
        return load(FILES[index])


def dataloader():
    for _ in torch.utils.data.DataLoader(Files(), batch_size=64, num_workers=arguments.workers):
        pass


def checksum(file):
    return float(load(file)[0, 0, 0])


def pool():
    with multiprocessing.Pool(arguments.workers, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        for _ in workers.imap(checksum, FILES, chunksize=8):
            pass
        workers.close()
        workers.join()


def processor():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    print(f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}", flush=True)
    while True:
        try:
            mode = input()
        except EOFError:
            break
        start, before = time.perf_counter(), processor()
        {"dataloader": dataloader, "pool": pool}[mode]()
        print(json.dumps({"seconds": time.perf_counter() - start, "processor": processor() - before}), flush=True)
