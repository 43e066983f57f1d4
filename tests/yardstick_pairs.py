#!/usr/bin/env python3
"""lightcl beside the PyTorch yardstick, pair by pair: the same initial weights, the same rows in the same order.

    python tests/yardstick_pairs.py YARDSTICK DATA PROGRAM [--seeds 5]

YARDSTICK: lightcl_torch.py; DATA: the folder with mnist.arrow and the like; PROGRAM: the lightcl program.
pip: torch, numpy, pyarrow, safetensors, pillow. Prints a line a pair, then mean and standard deviation of both and of the
difference. Further passes over a window are written out as further rows, so that no generator decides an order twice; the
rows that the yardstick drops at the end of a task (less than a batch) are left out for both.
"""
import argparse
import importlib.util
import json
import os
import subprocess
import tempfile

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save_file

SETTINGS = {
    "Split MNIST": ("mnist.arrow", dict(passes=1, lr=0.1, frozen=False)),
    "Split Fashion-MNIST": ("fashion_mnist_12k.arrow", dict(passes=5, lr=0.1, frozen=False)),
    "CIFAR-10 embeddings": ("not-for-redistribution/cifar10_embeddings.parquet", dict(passes=2, lr=0.01, frozen=True)),
}
WINDOW, BATCH, CLASSES = 256, 32, 10


def write(path, x, y):
    flat = x.reshape(len(x), -1)
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1), pa.float32()), flat.shape[1])
    table = pa.table({"x": column, "label": pa.array(y, pa.int64()), "task": pa.array(y // 2, pa.int64())})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2000)


def order(labels, seed, passes):
    """Rows in the order in which the yardstick learns them, its generator followed draw by draw."""
    generator, rows = torch.Generator().manual_seed(seed), []
    for low in range(0, CLASSES, 2):
        index = torch.nonzero((labels >= low) & (labels < low + 2)).flatten()
        index = index[torch.randperm(len(index), generator=generator)]
        for start in range(0, len(index), WINDOW):
            part = index[start:start + WINDOW]
            for number in range(passes):
                if number:
                    part = part[torch.randperm(len(part), generator=generator)]
                rows.append(part[:len(part) // BATCH * BATCH])
    return torch.cat(rows).numpy()


def yardstick(module, path, seed, setting):
    arguments = dict(data=path, method="lightcl", backbone="mlp", nf=20, hidden=256, inputs=33, classes=CLASSES, per_task=2,
                     limit=None, passes=setting["passes"], window=WINDOW, batch=BATCH, lr=setting["lr"], beta=2e-4, ratio=0.15,
                     memory=15, ewc=100.0, seed=seed, threads=1, steps=0, frozen_from_start=setting["frozen"], task_logits=True)
    return argparse.Namespace(**arguments)


def run_program(program, folder, setting):
    pipeline = os.path.join(folder, "pipeline.toml")
    with open(pipeline, "w") as file:
        file.write(f"""
[source]
type = "arrow"
path = "{folder}/train.arrow"
[evaluate]
path = "{folder}/test.arrow"
[sample]
features = ["x"]
label = "label"
[boundary]
detect = []
task_column = "task"
[stability]
probe_samples = 0
[snapshot]
on_boundary = false
[learner]
hidden = [256, 256, 256, 256]
frozen = 2
prefix = "{'pretrained' if setting['frozen'] else 'from_scratch'}"
weights = "{folder}/start.safetensors"
initial_classes = {CLASSES}
active_classes = "task"
window_samples = {WINDOW}
batch_samples = {BATCH}
learning_rate = {setting['lr']}
""")
    command = [program, "run", pipeline, "--out", os.path.join(folder, "out"), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("yardstick")
    parser.add_argument("data")
    parser.add_argument("program")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    spec = importlib.util.spec_from_file_location("yardstick", options.yardstick)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.set_num_threads(1)
    for name, (file, setting) in SETTINGS.items():
        path = os.path.join(options.data, file)
        x, y, x_test, y_test = module.load(path)
        pairs = []
        for seed in range(options.seeds):
            arguments = yardstick(module, path, seed, setting)
            printed = subprocess.run(
                ["python3", options.yardstick, "run", "--data", path, "--method", "lightcl", "--passes", str(setting["passes"]),
                 "--window", str(WINDOW), "--lr", str(setting["lr"]), "--seed", str(seed), "--threads", "1", "--task-logits",
                 *(["--frozen-from-start"] if setting["frozen"] else [])], capture_output=True, text=True, check=True).stdout
            theirs = json.loads(printed)
            with tempfile.TemporaryDirectory() as folder:
                start = module.build(arguments, x.shape[1:], int(y.max()) + 1).state_dict()
                save_file({key: value.contiguous() for key, value in start.items()}, os.path.join(folder, "start.safetensors"))
                rows = order(torch.from_numpy(y).long(), seed, setting["passes"])
                write(os.path.join(folder, "train.arrow"), x[rows], y[rows])
                write(os.path.join(folder, "test.arrow"), x_test, y_test)
                ours = run_program(options.program, folder, setting)
            pair = [ours["class_il"], theirs["cil"], ours["task_il"], theirs["til"]]
            pairs.append(pair)
            print(f"{name} seed {seed}: class-IL {pair[0]:.4f} / {pair[1]:.4f}, task-IL {pair[2]:.4f} / {pair[3]:.4f}", flush=True)
        pairs = np.array(pairs)
        for measure, column in (("class-IL", 0), ("task-IL", 2)):
            ours, theirs = pairs[:, column], pairs[:, column + 1]
            print(f"{name} {measure}: ours {ours.mean():.4f} +- {ours.std(ddof=1):.4f}, yardstick {theirs.mean():.4f} +- "
                  f"{theirs.std(ddof=1):.4f}, difference {(ours - theirs).mean():+.4f} +- {(ours - theirs).std(ddof=1):.4f}", flush=True)


if __name__ == "__main__":
    main()
