"""Split Fashion-MNIST as a stream: five tasks of two classes, one after the other.

    make_fashion_mnist.py SOURCE OUT

SOURCE is an Arrow IPC file of Fashion-MNIST with the columns image (FixedSizeList<uint8, 784>), label (int64), split
("train" or "test") and source_index (the image's number in the original file). Writes into the folder OUT

    fashion-mnist.arrow        the training images, ordered by task, shuffled inside each task
    fashion-mnist-test.arrow   the test images, in their original order
"""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from common import arguments, read_table, write_arrow

SEED = 0
CLASSES_PER_TASK = 2
# Images of one row group; also the unit of compression.
BATCH_ROWS = 2_000
IMAGE = pa.fixed_shape_tensor(pa.uint8(), [28, 28], dim_names=["height", "width"])


def shuffled_place(source_index):
    """A sort key that shuffles: the hash of the seed and the image's number. No random library, so it never changes."""
    return hashlib.sha256(f"{SEED}:{source_index}".encode()).hexdigest()


def as_stream(table, order):
    """The rows in the given order as image, label, task."""
    table = table.take(order)
    label = table["label"].combine_chunks()
    flat = table["image"].combine_chunks()
    storage = pa.FixedSizeListArray.from_arrays(flat.flatten(), type=IMAGE.storage_type)
    task = pc.cast(pc.divide(label, CLASSES_PER_TASK), pa.int32())
    schema = pa.schema([
        pa.field("image", IMAGE, nullable=False),
        pa.field("label", pa.int64(), nullable=False),
        pa.field("task", pa.int32(), nullable=False),
    ])
    return pa.Table.from_arrays([pa.ExtensionArray.from_storage(IMAGE, storage), label, task], schema=schema)


def main():
    source, out = arguments(__doc__)
    table = read_table(source)
    rows = range(table.num_rows)
    label, split, number = (table[name].to_pylist() for name in ("label", "split", "source_index"))
    train = [row for row in rows if split[row] == "train"]
    train.sort(key=lambda row: (label[row] // CLASSES_PER_TASK, shuffled_place(number[row])))
    test = [row for row in rows if split[row] == "test"]
    write_arrow(as_stream(table, train), out / "fashion-mnist.arrow", BATCH_ROWS)
    write_arrow(as_stream(table, test), out / "fashion-mnist-test.arrow", BATCH_ROWS)


if __name__ == "__main__":
    main()
