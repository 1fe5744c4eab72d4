"""Small tar archives in each format that Python writes, for __tests__/datasets/webdataset.test.ts.

    python bench/peers/golden_tar.py __tests__/golden/tar

WebDataset's writer is Python's tarfile too. Sample i has `<folder>/<i>.jpg` with the text "image i" and `.cls` with i % 2;
the folder's name is too long for a plain header.
"""

import io
import sys
import tarfile
from pathlib import Path

formats = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in formats.items():
        with tarfile.open(folder / f"{name}.tar", "w", format=number) as archive:
            # ustar has room for 155 characters of folders and 100 of a name.
            below = "/".join(["a-long-name-of-a-folder"] * (6 if name == "ustar" else 12))
            for i in range(3):
                for ending, text in [("jpg", f"image {i}"), ("cls", str(i % 2))]:
                    entry = tarfile.TarInfo(f"{below}/{i}.{ending}")
                    entry.size = len(text)
                    archive.addfile(entry, io.BytesIO(text.encode()))


main(Path(sys.argv[1]))
