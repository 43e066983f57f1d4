"""Any labelled table as a class-incremental stream: tasks of some classes each, one after the other.

    make_class_stream.py SOURCE OUT [SEED] [CLASSES_PER_TASK]

SOURCE is an Arrow IPC or Parquet file with a column label (whole numbers from 0), a column split ("train" or "test") and
one column of features named image or embedding. Writes into the folder OUT

    train.arrow    the training rows, ordered by task, shuffled inside each task by SEED (0)
    test.arrow     the test rows, in their original order

both with the columns of features, label and task (label divided by CLASSES_PER_TASK, 2).
"""

import hashlib
import sys

import pyarrow as pa
import pyarrow.compute as pc

from common import arguments, read_table, write_arrow

BATCH_ROWS = 2_000


def as_stream(table, rows, classes_per_task):
    """The given rows, in that order, as features, label, task."""
    table = table.take(rows)
    name = "image" if "image" in table.column_names else "embedding"
    task = pc.cast(pc.divide(table["label"], classes_per_task), pa.int32())
    return pa.table({name: table[name], "label": table["label"], "task": task})


def main():
    options = [int(text) for text in sys.argv[3:]]
    del sys.argv[3:]
    seed, classes_per_task = (options + [0, 2][len(options) :])[:2]
    source, out = arguments(__doc__)
    table = read_table(source)
    label, split = table["label"].to_pylist(), table["split"].to_pylist()

    def place(row):
        """Tasks in order; inside a task by the hash of seed and row, which shuffles without a random library."""
        return label[row] // classes_per_task, hashlib.sha256(f"{seed}:{row}".encode()).digest()

    train = sorted((row for row, part in enumerate(split) if part == "train"), key=place)
    test = [row for row, part in enumerate(split) if part == "test"]
    write_arrow(as_stream(table, train, classes_per_task), out / "train.arrow", BATCH_ROWS, level=1)
    write_arrow(as_stream(table, test, classes_per_task), out / "test.arrow", BATCH_ROWS, level=1)


if __name__ == "__main__":
    main()
