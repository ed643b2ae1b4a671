"""PyTorch's way to learn, to save and to score."""

import inspect
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from recoserve_bench.seeds import torch_models
from recoserve_bench.seeds.data import MARKS, Data, with_negatives
from recoserve_bench.seeds.frameworks import Scores, inputs_of

BATCH, RATE = 4096, 0.01


def build(name: str, seed: int) -> Any:
    torch.manual_seed(seed)
    return getattr(torch_models, name)()


def train(model: Any, data: Data, epochs: int, logits: bool) -> None:
    user, movie, label = with_negatives(data, seed=0)
    loss = functional.binary_cross_entropy_with_logits if logits else functional.binary_cross_entropy
    named = inputs_of(inputs(model), data, user, movie)
    columns = [torch.from_numpy(each).split(BATCH) for each in (*named.values(), label)]
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    model.train()
    for _ in range(epochs):
        for *ids, wanted in zip(*columns, strict=True):
            optimizer.zero_grad()
            loss(model(*ids).reshape(-1), wanted).backward()
            optimizer.step()
    model.eval()


def steepen(model: Any, factor: float) -> None:
    last = [part for part in model.modules() if isinstance(part, torch.nn.Linear)][-1]
    with torch.no_grad():
        for weight in last.parameters():
            weight.mul_(factor)


def save(model: Any, path: Path) -> None:
    if path.suffix in (".pt", ".pth"):
        torch.save(model.state_dict(), path)
    elif path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(model.state_dict(), path)
    elif path.suffix == ".pt2":
        rows = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs(model)}
        torch.export.save(torch.export.export(model, (), _examples(model), dynamic_shapes=rows), path)
    else:
        logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # it misses torchvision
        rows = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs(model)}
        with warnings.catch_warnings(action="ignore"):  # of torch's own workings
            torch.onnx.export(model, (), str(path), kwargs=_examples(model), dynamic_shapes=rows, dynamo=True, verbose=False)


def scores(model: Any, data: Data, user: int) -> Scores:
    named = inputs_of(inputs(model), data, user, np.arange(len(data.movie_ids)))
    with torch.no_grad():
        found: Scores = model(**{name: torch.from_numpy(ids) for name, ids in named.items()}).double().numpy().reshape(-1)
    return found


def vectors(model: Any, data: Data) -> tuple[Scores, Scores]:
    users, movies = torch.arange(len(data.user_ids)), torch.arange(len(data.movie_ids))
    with torch.no_grad():
        left, right = model.vectors(users, movies)
    return left.double().numpy(), right.double().numpy()


def inputs(model: Any) -> list[str]:
    return list(inspect.signature(model.forward).parameters)


def _examples(model: Any) -> dict[str, Any]:
    ids = {name: torch.tensor([place, place + 1, place + 2]) for place, name in enumerate(inputs(model))}
    return ids | ({"genres": torch.eye(3, MARKS)} if "genres" in ids else {})
