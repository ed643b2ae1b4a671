"""How PyTorch modules are built, trained, saved and scored; see `frameworks.Framework`."""

import inspect
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from recoserve.bundle.arrays import Float64Array
from recoserve_bench.seeds import torch_models
from recoserve_bench.seeds.data import MARKS, Data, model_inputs, with_negatives

BATCH, RATE = 4096, 0.01


def build(name: str, seed: int) -> Any:
    torch.manual_seed(seed)
    return getattr(torch_models, name)()


def train(model: Any, data: Data, epochs: int, logits: bool) -> None:
    user, movie, label = with_negatives(data, seed=0)
    loss = functional.binary_cross_entropy_with_logits if logits else functional.binary_cross_entropy
    named = model_inputs(inputs(model), data, user, movie)
    batches = [torch.from_numpy(column).split(BATCH) for column in (*named.values(), label)]
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    model.train()
    for _ in range(epochs):
        for *ids, labels in zip(*batches, strict=True):
            optimizer.zero_grad()
            loss(model(*ids).reshape(-1), labels).backward()
            optimizer.step()
    model.eval()


def steepen(model: Any, factor: float) -> None:
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
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
        shapes = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs(model)}
        torch.export.save(torch.export.export(model, (), _examples(model), dynamic_shapes=shapes), path)
    else:
        logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(
            logging.ERROR
        )  # it warns that torchvision is missing
        shapes = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs(model)}
        with warnings.catch_warnings(action="ignore"):  # torch's own code causes them
            torch.onnx.export(model, (), str(path), kwargs=_examples(model), dynamic_shapes=shapes, dynamo=True, verbose=False)


def scores(model: Any, data: Data, user: int) -> Float64Array:
    named = model_inputs(inputs(model), data, user, np.arange(len(data.movie_ids)))
    with torch.no_grad():
        output = model(**{name: torch.from_numpy(ids) for name, ids in named.items()})
    scores: Float64Array = output.double().numpy().reshape(-1)
    return scores


def vectors(model: Any, data: Data) -> tuple[Float64Array, Float64Array]:
    users, movies = torch.arange(len(data.user_ids)), torch.arange(len(data.movie_ids))
    with torch.no_grad():
        user_vectors, movie_vectors = model.vectors(users, movies)
    return user_vectors.double().numpy(), movie_vectors.double().numpy()


def inputs(model: Any) -> list[str]:
    return list(inspect.signature(model.forward).parameters)


def _examples(model: Any) -> dict[str, Any]:
    ids = {name: torch.tensor([row, row + 1, row + 2]) for row, name in enumerate(inputs(model))}
    return ids | ({"genres": torch.eye(3, MARKS)} if "genres" in ids else {})
