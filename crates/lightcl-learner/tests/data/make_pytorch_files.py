#!/usr/bin/env python3
"""Writes mlp_state_dict.pt and mlp_checkpoint.pth beside itself and prints the scores that tests/weights.rs expects."""
import os

import torch

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(3)
weights = {}
for name, (outputs, inputs) in {"lower.0": (8, 3), "deep.0": (8, 8), "head": (2, 8)}.items():
    weights[name + ".weight"] = torch.rand(outputs, inputs) * 2 - 1
    weights[name + ".bias"] = torch.rand(outputs) * 2 - 1
rows = torch.tensor([[0.1, -0.2, 0.3], [1.0, 0.5, -1.0]])
for name in ["lower.0", "deep.0"]:
    rows = torch.relu(rows @ weights[name + ".weight"].T + weights[name + ".bias"])
print((rows @ weights["head.weight"].T + weights["head.bias"]).tolist())
torch.save(weights, os.path.join(here, "mlp_state_dict.pt"))
# Nested, with other names, and biases as doubles.
nested = {"module." + name: tensor.double() if "bias" in name else tensor for name, tensor in weights.items()}
torch.save({"epoch": 3, "state_dict": nested, "extra": torch.zeros(2)}, os.path.join(here, "mlp_checkpoint.pth"))
