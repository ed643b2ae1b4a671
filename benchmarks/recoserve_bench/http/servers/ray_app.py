"""Ray Serve with `serve.batch`: 64 requests, 1 ms."""

import os
import signal
import sys

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "ORT_DISABLE_TELEMETRY": "1"}

import numpy as np
import onnxruntime
import ray
from ray import serve


@serve.deployment(max_ongoing_requests=256)
class Recommender:
    def __init__(self, bundle):
        self.session = onnxruntime.InferenceSession(f"{bundle}/model.onnx")

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def rank(self, requests):
        users, largest_k = [request["user_id"] for request in requests], max(request["k"] for request in requests)
        feeds = {"user_id": np.array(users), "k": np.array([largest_k])}
        rows, scores = self.session.run(["item_id", "score"], feeds)
        return [
            {
                "user_id": request["user_id"],
                "items": [{"item_id": i, "score": s} for i, s in zip(row.tolist(), score.tolist(), strict=True)][: request["k"]],
            }
            for request, row, score in zip(requests, rows, scores, strict=True)
        ]

    async def __call__(self, request):
        return await self.rank(await request.json())


if __name__ == "__main__":
    ray.init(include_dashboard=False)
    serve.start(http_options={"port": int(sys.argv[1])})
    serve.run(Recommender.bind(sys.argv[2]), route_prefix="/recommend")
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    serve.shutdown()
    ray.shutdown()
