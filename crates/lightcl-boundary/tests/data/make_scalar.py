#!/usr/bin/env python3
"""Makes sequences.f32 and scalar.json: sequences, and where river's detectors fire and warn on them.

    pip install river==0.26.1 pyarrow numpy && python make_scalar.py detectors.parquet detectors.json OUT_DIR

sequences.f32 holds the values of all sequences one after another, as little-endian float32. River is run on what is
kept, and with its default settings must fire and warn exactly where detectors.json says it did on the full values.
KSWIN draws at random: for it there are the numbers of hits with 20 seeds instead.
"""
import json, os, sys
import numpy as np
import pyarrow.parquet as pq
from river import drift
from river.drift import binary

PARQUET, ORACLE, OUT = sys.argv[1:4]
# name of the run: (our detector, river's class, river's settings, runs on error sequences alone)
RUNS = {
    "adwin": ("adwin", drift.ADWIN, {}, False),
    "adwin_0.05": ("adwin", drift.ADWIN, {"delta": 0.05}, False),
    "adwin_every_value": ("adwin", drift.ADWIN, {"clock": 1, "delta": 0.01}, False),
    "adwin_few_buckets": ("adwin", drift.ADWIN, {"max_buckets": 2, "clock": 8}, False),
    "adwin_long_sides": ("adwin", drift.ADWIN, {"min_window_length": 50, "grace_period": 200, "delta": 0.1}, False),
    "page_hinkley_up": ("page_hinkley", drift.PageHinkley, {"mode": "up"}, False),
    "page_hinkley_both": ("page_hinkley", drift.PageHinkley, {}, False),
    "page_hinkley_down": ("page_hinkley", drift.PageHinkley, {"mode": "down", "threshold": 20.0}, False),
    "page_hinkley_eager": ("page_hinkley", drift.PageHinkley, {"min_instances": 5, "delta": 0.1, "threshold": 8.0, "alpha": 0.99}, False),
    "ddm": ("ddm", binary.DDM, {}, True),
    "ddm_eager": ("ddm", binary.DDM, {"warm_start": 10, "warning_threshold": 1.0, "drift_threshold": 1.5}, True),
    "eddm": ("eddm", binary.EDDM, {}, True),
    "eddm_late": ("eddm", binary.EDDM, {"warm_start": 50, "alpha": 0.9, "beta": 0.7}, True),
    "hddm_a": ("hddm_a", binary.HDDMA, {}, True),
    "hddm_a_two_sided": ("hddm_a", binary.HDDMA, {"two_sided_test": True, "drift_confidence": 0.01, "warning_confidence": 0.05}, True),
    "hddm_w": ("hddm_w", binary.HDDMW, {}, True),
    "hddm_w_two_sided": ("hddm_w", binary.HDDMW, {"two_sided_test": True, "lambda_val": 0.02, "drift_confidence": 0.0001}, True),
}

def run(make, values, as_bool):
    detector, hits, warnings = make(), [], []
    for i, v in enumerate(values):
        detector.update(bool(v) if as_bool else float(v))
        if detector.drift_detected: hits.append(i)
        elif getattr(detector, "warning_detected", False): warnings.append(i)
    return detector, hits, warnings

def ranges(indices):
    """[[first, last], ..] of neighbouring indices."""
    out = []
    for i in indices:
        if out and out[-1][1] == i - 1: out[-1][1] = i
        else: out.append([i, i])
    return out

table, oracle = pq.read_table(PARQUET).to_pylist(), json.load(open(ORACLE))
kept = {row["name"]: np.array(row["values"], dtype="<f4") for row in table}
runs = {}
for name, (detector, cls, settings, errors_alone) in RUNS.items():
    ours = {{"lambda_val": "lambda"}.get(k, k): v for k, v in settings.items()}
    runs[name] = {"detector": detector, "settings": ours, "hits": {}, "warnings": {}}
    for row in table:
        if errors_alone and row["kind"] != "error": continue
        last, hits, warnings = run(lambda: cls(**settings), kept[row["name"]], errors_alone)
        expected = oracle.get(name, {}).get("hits", {}).get(row["name"])
        assert expected is None or hits == expected, (name, row["name"])
        if expected is not None:
            warned = oracle[name]["warnings"].get(row["name"], [])
            assert warnings == [i for i in warned if i not in hits], (name, row["name"])
        runs[name]["hits"][row["name"]] = hits
        if warnings: runs[name]["warnings"][row["name"]] = ranges(warnings)
        if detector == "adwin":
            # river's `variance` is the sum of squared deviations.
            runs[name].setdefault("windows", {})[row["name"]] = [int(last.width), last.estimation, last.variance]
kswin = {
    row["name"]: [len(run(lambda: drift.KSWIN(seed=seed), kept[row["name"]], False)[1]) for seed in range(20)]
    for row in table if row["kind"] == "real"
}
sequences = [{"name": r["name"], "kind": r["kind"], "length": len(r["values"]), "change_points": r["change_points"]} for r in table]
np.concatenate([kept[row["name"]] for row in table]).tofile(os.path.join(OUT, "sequences.f32"))
with open(os.path.join(OUT, "scalar.json"), "w") as f:
    json.dump({"sequences": sequences, "runs": runs, "kswin_hits": kswin}, f, separators=(",", ":"))
