"""BentoML with its adaptive batching: a batchable endpoint, which takes and returns lists."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ |= {"BUNDLE": sys.argv[2], "BENTOML_DO_NOT_TRACK": "True", "ORT_DISABLE_TELEMETRY": "1"}
    here = str(Path(__file__).parent)
    arguments = [
        "-m",
        "bentoml",
        "serve",
        f"{Path(__file__).stem}:Recommender",
        "--working-dir",
        here,
        "--host",
        "127.0.0.1",
        "--port",
        sys.argv[1],
    ]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606

import bentoml
import numpy as np
import onnxruntime
from pydantic import BaseModel


class Request(BaseModel):
    user_id: int
    k: int = 10


class Item(BaseModel):
    item_id: int
    score: float


class Response(BaseModel):
    user_id: int
    items: list[Item]


@bentoml.service(workers=1)
class Recommender:
    def __init__(self):
        self.session = onnxruntime.InferenceSession(f"{os.environ['BUNDLE']}/model.onnx")

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def recommend(self, requests: list[Request]) -> list[Response]:
        feeds = {
            "user_id": np.array([request.user_id for request in requests]),
            "k": np.array([max(request.k for request in requests)]),
        }
        rows, scores = self.session.run(["item_id", "score"], feeds)
        return [
            Response(
                user_id=request.user_id,
                items=[Item(item_id=item, score=value) for item, value in zip(row, score, strict=True)][: request.k],
            )
            for request, row, score in zip(requests, rows, scores, strict=True)
        ]
