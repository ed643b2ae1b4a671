"""How a module is called: which values its forward takes, found by trying, and its own scores in inference mode."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, Input
from recoserve_export.sources.tables import pick_sides

REMEDY = "Pass --user-input NAME and --item-input NAME"
PAIRS = 3  # rows in a trial of forward
INTEGER = np.dtype(np.int64)
KINDS_TRIED = 6  # features whose kinds are tried independently
WIDE_AMONG, WIDTHS_TRIED = 3, 256
Inputs = Mapping[str, Input]
Widths = Mapping[str, int | None]


@dataclass(frozen=True)
class Call:
    """A module, the names of its user's and its item's parameter, and what each parameter that is given takes."""

    torch: Any
    model: Any
    user: str
    item: str
    inputs: Inputs

    def scores(self, values: Arrays) -> Float64Array:
        """The module's own scores, float64 [P], of each input's values by name; raises ExportRefused where forward fails."""
        device = next((part.device for part in self.model.parameters()), "cpu")
        batches = {name: each.batch(values[name]) for name, each in self.inputs.items()}
        count = len(batches[self.user])
        with inference(self.torch, self.model):
            try:
                answer = self.model(**{name: self.torch.from_numpy(each.copy()).to(device) for name, each in batches.items()})
            except Exception as error:  # the user's own code may fail in any way
                given = ", ".join(f"{name} {each.dtype}{list(each.shape)}" for name, each in batches.items())
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                raise ExportRefused(f"forward failed on {given}: {reason}") from error
        if not isinstance(answer, self.torch.Tensor):
            raise ExportRefused(f"forward gives {_described(answer)}; it must give one tensor, with one score per pair")
        if answer.numel() != count:
            raise ExportRefused(f"forward gives {list(answer.shape)} for {count} pairs; it must give one score per pair")
        flat: Float64Array = answer.detach().cpu().double().numpy().reshape(-1)
        return flat

    def examples(self) -> dict[str, Any]:
        """A tensor for each input, of values of its own, with a number of rows that is no other size in the module."""
        sizes = {size for part in (*self.model.parameters(), *self.model.buffers()) for size in part.shape}
        sizes |= {size for each in self.inputs.values() for size in each.shape}
        rows = next(count for count in range(5, len(sizes) + 6) if count not in sizes)
        device = next((part.device for part in self.model.parameters()), "cpu")
        found = {}
        for place, (name, each) in enumerate(self.inputs.items()):
            shape = (rows, *each.shape)
            values = np.arange(np.prod(shape), dtype=each.dtype).reshape(shape) + place
            found[name] = self.torch.from_numpy(values).to(device)
        return found


def describe(torch: Any, model: Any, user: str | None, item: str | None, features: Widths) -> Call:
    """How `model` is called with one row a pair; raises ExportRefused, with the module's own reason, where no way works.

    `features` says how many values a row those parameters take, where that is known.
    """
    names, needed = _parameters(model)
    if len(names) == 1:
        raise ExportRefused(
            f"forward takes {names[0]!r} alone, and a user and an item must come apart: export a module whose forward(user, item) "
            "puts them together and calls this one"
        )
    sides = pick_sides("parameters of forward", names, user, item, REMEDY, features)
    taken = [name for name in names if name in needed or name in sides or name in features]
    beyond = [name for name in taken if name not in sides and features.get(name) is None]
    number = np.dtype(np.float64 if _is_double(torch, model) else np.float32)
    failures = []
    wide = {name: width for name, width in features.items() if width is not None}
    kinds = chain(_alike(taken, beyond, number), _one_wide(taken, beyond, number), _columns(taken, beyond, number))
    for inputs in _of_widths(kinds, wide, number):
        call = Call(torch, model, *sides, inputs)
        failure = _failure(call)
        if failure is None:
            _check_widths(call, beyond)
            return call
        failures.append(failure)
    raise failures[2 ** len([*beyond, *wide][:KINDS_TRIED]) - 1]  # of whole numbers, one a row


def _of_widths(kinds: Iterator[Inputs], wide: Mapping[str, int], number: np.dtype[Any]) -> Iterator[Inputs]:
    """The same with features of known width: as numbers first, and as codes."""
    for inputs in kinds:
        for dtypes in product((number, INTEGER), repeat=len(wide)):
            known = {name: Input(name, dtype, (wide[name],)) for name, dtype in zip(wide, dtypes, strict=True)}
            yield {**inputs, **known}


def _parameters(model: Any) -> tuple[list[str], set[str]]:
    """The parameters of forward that can be given by name, and those of them without a default."""
    if hasattr(model.forward, "schema"):  # TorchScript
        arguments = model.forward.schema.arguments[1:]
        return [each.name for each in arguments], {each.name for each in arguments if not each.has_default_value()}
    parameters = inspect.signature(model.forward).parameters.values()
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    return [each.name for each in named], {each.name for each in named if each.default is each.empty}


def _is_double(torch: Any, model: Any) -> bool:
    return any(part.dtype == torch.float64 for part in model.parameters())


def _kinds(taken: list[str], beyond: list[str], number: np.dtype[Any]) -> Iterator[dict[str, Input]]:
    """One value a row. What works as a number is a number, so that none is cut to a whole one; the rest are codes."""
    tried = beyond[:KINDS_TRIED]
    for kinds in sorted(product((number, INTEGER), repeat=len(tried)), key=lambda each: each.count(INTEGER)):
        chosen = dict(zip(tried, kinds, strict=True))
        yield {name: Input(name, chosen.get(name, INTEGER)) for name in taken}


def _alike(taken: list[str], beyond: list[str], number: np.dtype[Any]) -> Iterator[Inputs]:
    """Every input of shape [B], or every one of shape [B, 1]."""
    for shape in ((), (1,)):
        for inputs in _kinds(taken, beyond, number):
            yield {name: replace(each, shape=shape) for name, each in inputs.items()}


def _one_wide(taken: list[str], beyond: list[str], number: np.dtype[Any]) -> Iterator[Inputs]:
    """One feature with several values a row, such as a film's genres."""
    for inputs in _kinds(taken, beyond, number) if len(beyond) <= WIDE_AMONG else ():
        for name in beyond:
            for width in range(1, WIDTHS_TRIED + 1):
                yield {**inputs, name: replace(inputs[name], shape=(width,))}


def _columns(taken: list[str], beyond: list[str], number: np.dtype[Any]) -> Iterator[Inputs]:
    """Features of shape [B, 1] beside ids of shape [B]."""
    for inputs in _kinds(taken, beyond, number) if beyond else ():
        yield {name: replace(each, shape=(1,)) if name in beyond else each for name, each in inputs.items()}


def _check_widths(call: Call, beyond: list[str]) -> None:
    """Raise ExportRefused where a feature may have one value a row or two: its width is told by the values alone."""
    for each in [call.inputs[name] for name in beyond if call.inputs[name].shape]:
        wider = replace(each, shape=(each.shape[0] + 1,))
        if _failure(replace(call, inputs={**call.inputs, each.name: wider})) is None:
            raise ExportRefused(
                f"forward takes any number of values a row for {each.name!r}, so its width can't be told: export the module with "
                "torch.onnx.export, which fixes it, and give the .onnx file"
            )


def _failure(call: Call) -> ExportRefused | None:
    """What stands in the way of calling the module so; what it has to say of a call that is tried only is left out."""
    values = {name: np.zeros((PAIRS, *each.shape), each.dtype) for name, each in call.inputs.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call.scores(values)
    except ExportRefused as error:
        return error
    return None


def _described(answer: Any) -> str:
    return f"a {type(answer).__name__} of {len(answer)}" if isinstance(answer, tuple | list | dict) else type(answer).__name__


@contextmanager
def inference(torch: Any, model: Any) -> Iterator[None]:
    """Run in eval mode without gradients; every part gets back the mode it had."""
    modes = {part: part.training for part in model.modules()}
    for part in modes:
        part.training = False  # model.eval() does no more, and an exported program refuses it
    try:
        with (
            torch.no_grad(),
            torch.compiler.set_stance("force_eager"),
        ):  # or a compiled module would be compiled again for each shape
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
