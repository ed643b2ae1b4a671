"""FastAPI and ONNX Runtime as people write it: pydantic models, a `def` route, one run for each request."""

import os
import sys

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

app = FastAPI()
session = onnxruntime.InferenceSession(f"{sys.argv[2]}/model.onnx")


class Request(BaseModel):
    user_id: int
    k: int = 10


class Item(BaseModel):
    item_id: int
    score: float


class Response(BaseModel):
    user_id: int
    items: list[Item]


@app.post("/recommend")
def recommend(request: Request) -> Response:
    feeds = {"user_id": np.array([request.user_id]), "k": np.array([request.k])}
    rows, scores = session.run(["item_id", "score"], feeds)
    items = [Item(item_id=row, score=score) for row, score in zip(rows[0], scores[0], strict=True)]
    return Response(user_id=request.user_id, items=items)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]))
