"""Small Parquet files as data hubs serve them, for __tests__/datasets/parquet.test.ts.

    pip install pyarrow pillow
    python bench/peers/golden_parquet.py __tests__/golden/parquet

Image i of a split of n is a PNG of 4 x 3 pixels that are all (20 * i, 0, 255 - 20 * i).
"""

import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

names = ["cat", "dog", "owl"]
described = {
    "image": {"_type": "Image"},
    "label": {"names": names, "_type": "ClassLabel"},
}


def png(i):
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (20 * i, 0, 255 - 20 * i)).save(file, "PNG")
    return file.getvalue()


def images(numbers):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": png(i), "path": f"{i}.png"} for i in numbers], kind)


def write(file, columns, features=None, **options):
    table = pa.table(columns)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, file, **options)


def main(folder):
    hub = folder / "hub" / "data"
    hub.mkdir(parents=True, exist_ok=True)
    label = lambda numbers: pa.array([i % 3 for i in numbers], pa.int64())
    for part, numbers in enumerate([range(0, 5), range(5, 8)]):
        write(
            hub / f"train-0000{part}-of-00002-0123456789abcdef.parquet",
            {"image": images(numbers), "label": label(numbers)},
            described,
            row_group_size=2,
        )
    write(hub / "validation-00000-of-00001.parquet", {"image": images(range(4)), "label": label(range(4))}, described)
    write(
        hub / "test-00000-of-00001.parquet",
        {"image": images(range(2)), "label": pa.array([-1, -1], pa.int64())},
        described,
    )

    codecs = folder / "codecs"
    codecs.mkdir(exist_ok=True)
    for codec in ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]:
        write(
            codecs / f"{codec}.parquet",
            {"image": images(range(6)), "label": label(range(6))},
            compression=codec,
            row_group_size=4,
            data_page_size=64,
            write_batch_size=1,
            write_page_index=codec in ["snappy", "zstd"],
            use_dictionary=codec in ["gzip", "zstd"],
            data_page_version="2.0" if codec in ["brotli", "zstd"] else "1.0",
        )

    # Images of 2 MB, of which a row group is not unpacked whole: grey ones, level 10 * i, as PGM.
    grey = pa.array([b"P5 2000 1000 255\n" + bytes([10 * i]) * 2_000_000 for i in range(10)], pa.binary())
    for name, dictionary in [("large", False), ("large-dictionary", True)]:
        columns = {"image": grey, "label": label(range(10))}
        write(
            codecs / f"{name}.parquet",
            columns,
            compression="zstd",
            write_page_index=True,
            use_dictionary=dictionary,
            row_group_size=6,
            write_batch_size=1,
            compression_level=19,
        )

    other = folder / "other"
    other.mkdir(exist_ok=True)
    plain = pa.array([png(i) for i in range(4)], pa.binary())
    write(other / "names.parquet", {"img": plain, "label": ["owl", "cat", "cat", "dog"]})
    write(other / "several.parquet", {"img": plain, "label": pa.array([[0, 2], [], [1], [2]], pa.list_(pa.int64()))})
    write(
        other / "two-labels.parquet",
        {"photo": images(range(4)), "fine": label(range(4)), "coarse": label([0, 0, 1, 1])},
        {"photo": {"_type": "Image"}, "fine": described["label"], "coarse": {"names": ["a", "b"], "_type": "ClassLabel"}},
    )
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    beside = pa.array([{"bytes": None, "path": "a.png"}, {"bytes": None, "path": None}, None], kind)
    write(other / "no-bytes.parquet", {"image": beside, "label": label(range(3))})
    write(other / "null-label.parquet", {"image": images(range(3)), "label": pa.array([0, None, 1], pa.int64())})
    write(other / "beyond.parquet", {"image": images(range(3)), "label": label([0, 1, 2])}, {
        "image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    })
    write(other / "no-image.parquet", {"picture": plain, "label": label(range(4))})
    write(other / "numbers.parquet", {"image": label(range(4)), "label": label(range(4))})
    write(other / "empty.parquet", {"image": images([]), "label": label([])})


main(Path(sys.argv[1]))
