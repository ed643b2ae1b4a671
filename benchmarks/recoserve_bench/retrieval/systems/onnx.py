"""The bundle's plain graph (Gather, a product, TopK) in an ordinary ONNX Runtime session with default options."""

import os

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime


class System:
    def __init__(self, job):
        self.session = onnxruntime.InferenceSession(job["bundle"] + "/model.onnx", providers=["CPUExecutionProvider"])
        self.k = np.array([job["k"]])

    def top(self, users):
        return self.session.run(["item_id", "score"], {"user_id": users, "k": self.k})
