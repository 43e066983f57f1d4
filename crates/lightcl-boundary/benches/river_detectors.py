#!/usr/bin/env python3
"""Times one of river's detectors on the sequence of detectors.rs: prints nanoseconds a value and the number of changes.

    pip install river==0.26.1 && python river_detectors.py NAME LENGTH
"""
import statistics, sys, time
from river import drift
from river.drift import binary

DETECTORS = {
    "adwin": drift.ADWIN, "page_hinkley": drift.PageHinkley, "kswin": lambda: drift.KSWIN(seed=42),
    "ddm": binary.DDM, "eddm": binary.EDDM, "hddm_a": binary.HDDMA, "hddm_w": binary.HDDMW,
}

name, length = sys.argv[1], int(sys.argv[2])
values, state = [], 1
for index in range(length):
    state = (state * 1664525 + 1013904223) % 2**32
    values.append(1.0 if state / 2**32 < (0.1 if index // 5000 % 2 == 0 else 0.4) else 0.0)
if name in ("ddm", "eddm", "hddm_a", "hddm_w"): values = [bool(value) for value in values]

times = []
# KSWIN's test takes about a millisecond: one run will do.
for _ in range(1 if name == "kswin" else 3):
    detector, changes = DETECTORS[name](), 0
    start = time.perf_counter_ns()
    for value in values:
        detector.update(value)
        if detector.drift_detected: changes += 1
    times.append((time.perf_counter_ns() - start) / length)
print(statistics.median(times), changes)
