#!/usr/bin/env python3
"""River's adaptive random forest (10 trees, seed 1) on rows of one Parquet file: test, then train.

    python river_forest.py FILE --features A,B [--label label] [--rows N]

Prints one JSON object: accuracy, rows, rows_per_second (of predict_one and learn_one alone; rows are dictionaries before the
clock starts). A column of lists gives a feature for each place. Missing numbers are 0. `lightcl bench streams --river PYTHON`
runs it beside ours.
"""

import argparse
import json
import time

import numpy as np
import pyarrow.parquet as parquet
from river import forest


def table(path, features, label, most):
    rows = parquet.read_table(path).slice(0, most)
    columns = []
    for name in features:
        column = rows[name].to_numpy(zero_copy_only=False)
        columns.append(np.stack(column) if column.dtype == object else column[:, None])
    numbers = np.nan_to_num(np.concatenate([column.astype(float) for column in columns], 1))
    return numbers, rows[label].to_numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--features", required=True, help="columns, with commas between")
    parser.add_argument("--label", default="label")
    parser.add_argument("--rows", type=int, help="the first rows only")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    numbers, labels = table(arguments.file, arguments.features.split(","), arguments.label, arguments.rows)
    names = [str(place) for place in range(numbers.shape[1])]
    rows = [(dict(zip(names, row)), label) for row, label in zip(numbers.tolist(), labels.tolist())]
    model = forest.ARFClassifier(n_models=10, seed=arguments.seed)
    hits = 0
    started = time.perf_counter()
    for row, label in rows:
        hits += model.predict_one(row) == label
        model.learn_one(row, label)
    seconds = time.perf_counter() - started
    print(json.dumps({"accuracy": hits / len(rows), "rows": len(rows), "rows_per_second": len(rows) / seconds}))


if __name__ == "__main__":
    main()
