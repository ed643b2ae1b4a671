"""LitServe with its batching: 64 requests, 1 ms."""

import os
import sys

import litserve
import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime


class Recommender(litserve.LitAPI):
    def setup(self, _device):
        self.session = onnxruntime.InferenceSession(f"{sys.argv[2]}/model.onnx")

    def decode_request(self, request):
        return request["user_id"], request["k"]

    def batch(self, inputs):
        return inputs

    def predict(self, requests):
        feeds = {"user_id": np.array([user for user, _ in requests]), "k": np.array([max(k for _, k in requests)])}
        rows, scores = self.session.run(["item_id", "score"], feeds)
        return [(user, row[:k], score[:k]) for (user, k), row, score in zip(requests, rows, scores, strict=True)]

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        user, rows, scores = output
        pairs = zip(rows.tolist(), scores.tolist(), strict=True)
        return {"user_id": user, "items": [{"item_id": row, "score": score} for row, score in pairs]}


if __name__ == "__main__":
    api = Recommender(max_batch_size=64, batch_timeout=0.001, api_path="/recommend")
    litserve.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
