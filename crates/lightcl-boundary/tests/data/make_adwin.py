#!/usr/bin/env python3
"""Makes adwin.json: sequences and where river's ADWIN fires on them, with its window statistics at the end.

    pip install river==0.26.1 pyarrow && python make_adwin.py detectors.parquet detectors.json adwin.json

Values are kept to 9 decimals; river is run again on what is kept, and must fire where it did on the full values.
"""
import json, sys
import pyarrow.parquet as pq
from river import drift

SETTINGS = {
    "adwin": {},
    "adwin_0.05": {"delta": 0.05},
    "every_value": {"clock": 1, "delta": 0.01},
    "few_buckets": {"max_buckets": 2, "clock": 8},
    "long_sides": {"min_window_length": 50, "grace_period": 200, "delta": 0.1},
}

def run(values, **settings):
    adwin, hits = drift.ADWIN(**settings), []
    for i, v in enumerate(values):
        adwin.update(float(v))
        if adwin.drift_detected: hits.append(i)
    return {"hits": hits, "width": int(adwin.width), "estimation": adwin.estimation, "variance": adwin.variance}

table, oracle, out = pq.read_table(sys.argv[1]).to_pylist(), json.load(open(sys.argv[2])), []
for row in table:
    values = [int(v) if row["kind"] == "error" else round(v, 9) for v in row["values"]]
    runs = {name: run(values, **settings) for name, settings in SETTINGS.items()}
    for name in ("adwin", "adwin_0.05"):
        expected = oracle[name]["hits"].get(row["name"])
        assert expected is None or runs[name]["hits"] == expected, (row["name"], name)
    out.append({"name": row["name"], "runs": runs, "values": values})
with open(sys.argv[3], "w") as f:
    json.dump({"settings": SETTINGS, "sequences": out}, f, separators=(",", ":"))
