"""How a module is called, and its own scores: what each parameter of its forward takes is found by trying.

A module says nothing of what its forward takes: neither whether a parameter is a code that looks up a table or a number, nor how
many values it has a row. So forward is run on a few rows of zeros, in this order, and the first call that gives one score a row
counts:

1. every parameter has one value a row, as [B] and then as [B, 1];
2. one feature has several values a row, 1 to 256, such as a film's genres;
3. features have the shape [B, 1] beside ids of the shape [B].

In each step a feature is a number first and a code second. The other way round, a number would be cut to a whole one wherever
forward takes either: an nn.Embedding refuses floats, but arithmetic takes integers. Ids are always codes. What the caller knows of
a feature's width is taken as it is; where forward takes any width and the caller doesn't know it, the module is refused.
"""

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np

from recoserve.bundle.arrays import Float64Array
from recoserve.errors import ExportRefused
from recoserve_export.graph.network import Arrays, Input
from recoserve_export.sources.sides import pick_sides

TRIAL_ROWS = 3
SMALLEST_BATCH = 5
CODE = np.dtype(np.int64)
FEATURES_TRIED = 6  # as number and as code, independently: 2 to the power of this many calls; further ones are codes
WIDE_AMONG, WIDTHS_TRIED = 3, 256  # a wide feature is looked for among this many features at most
ForwardInputs = Mapping[str, Input]
FeatureWidths = Mapping[str, int | None]  # feature -> its values a row; None where the caller doesn't know


@dataclass(frozen=True)
class ForwardCall:
    """A module, the names of its user's and its item's parameter, and what each parameter that is passed takes."""

    torch: Any
    model: Any
    user: str
    item: str
    inputs: ForwardInputs

    def scores(self, values: Arrays) -> Float64Array:
        """The module's own scores, float64 [P], of each input's values by name; raises ExportRefused where forward fails."""
        device = self._device()
        batches = {name: declared.batch(values[name]) for name, declared in self.inputs.items()}
        count = len(batches[self.user])
        with inference(self.torch, self.model):
            try:
                output = self.model(**{name: self.torch.from_numpy(batch.copy()).to(device) for name, batch in batches.items()})
            except Exception as error:  # the user's own code may fail in any way
                arguments = ", ".join(f"{name} {batch.dtype}{list(batch.shape)}" for name, batch in batches.items())
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                raise ExportRefused(f"forward failed on {arguments}: {reason}") from error
        if not isinstance(output, self.torch.Tensor):
            raise ExportRefused(f"forward gives {_described(output)}; it must give one tensor, with one score per pair")
        if output.numel() != count:
            raise ExportRefused(f"forward gives {list(output.shape)} for {count} pairs; it must give one score per pair")
        flat: Float64Array = output.detach().cpu().double().numpy().reshape(-1)
        return flat

    def examples(self) -> dict[str, Any]:
        """A tensor for each input, no two alike, with a number of rows that is no other size in the module."""
        sizes = {size for tensor in (*self.model.parameters(), *self.model.buffers()) for size in tensor.shape}
        sizes |= {size for declared in self.inputs.values() for size in declared.shape}
        rows = next(count for count in range(SMALLEST_BATCH, SMALLEST_BATCH + len(sizes) + 1) if count not in sizes)
        device = self._device()
        examples = {}
        for index, (name, declared) in enumerate(self.inputs.items()):
            shape = (rows, *declared.shape)
            values = np.arange(np.prod(shape), dtype=declared.dtype).reshape(shape) + index
            examples[name] = self.torch.from_numpy(values).to(device)
        return examples

    def _device(self) -> Any:
        return next((parameter.device for parameter in self.model.parameters()), "cpu")


def find_call(torch: Any, model: Any, user: str | None, item: str | None, widths: FeatureWidths) -> ForwardCall:
    """How `model` is called with one row a pair; raises ExportRefused, with the module's own reason, where every call fails.

    `user` and `item` name parameters of forward where their own names don't tell; `widths` has the names of features.
    """
    names, required = _parameters(model)
    if len(names) == 1:
        raise ExportRefused(
            f"forward takes {names[0]!r} alone, and a user and an item must come apart: export a module whose forward(user, item) "
            "puts them together and calls this one"
        )
    sides = pick_sides("parameters of forward", names, user, item, widths)
    passed = [name for name in names if name in required or name in sides or name in widths]
    unmeasured = [name for name in passed if name not in sides and widths.get(name) is None]
    number = np.dtype(np.float64 if _is_double(torch, model) else np.float32)
    refusals = []
    for inputs in _trials(passed, unmeasured, widths, number):
        call = ForwardCall(torch, model, *sides, inputs)
        refusal = _refusal(call)
        if refusal is None:
            _check_widths_are_fixed(call, unmeasured)
            return call
        if all(declared.dtype == CODE for declared in inputs.values()):
            refusals.append(refusal)
    raise refusals[0]  # of the likeliest call, with one code a row for each parameter


def _parameters(model: Any) -> tuple[list[str], set[str]]:
    """The parameters of forward that can be passed by name, and those of them without a default."""
    if hasattr(model.forward, "schema"):  # TorchScript
        arguments = model.forward.schema.arguments[1:]
        return [argument.name for argument in arguments], {
            argument.name for argument in arguments if not argument.has_default_value()
        }
    signature = inspect.signature(model.forward).parameters.values()
    parameters = [
        parameter for parameter in signature if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    required = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    return [parameter.name for parameter in parameters], required


def _is_double(torch: Any, model: Any) -> bool:
    return any(parameter.dtype == torch.float64 for parameter in model.parameters())


def _trials(
    passed: Sequence[str], unmeasured: Sequence[str], widths: FeatureWidths, number: np.dtype[Any]
) -> Iterator[ForwardInputs]:
    """What the parameters may take, in the order of the module's docstring; features of known width as numbers, then as codes."""
    known = {name: width for name, width in widths.items() if width is not None}
    for inputs in chain(
        _one_value_each(passed, unmeasured, number), _one_wide(passed, unmeasured, number), _columns(passed, unmeasured, number)
    ):
        for dtypes in product((number, CODE), repeat=len(known)):
            measured = {name: Input(name, dtype, (known[name],)) for name, dtype in zip(known, dtypes, strict=True)}
            yield {**inputs, **measured}


def _dtypes(passed: Sequence[str], unmeasured: Sequence[str], number: np.dtype[Any]) -> Iterator[dict[str, Input]]:
    """One value a row for each parameter, with every choice of features that are numbers: most numbers first."""
    tried = unmeasured[:FEATURES_TRIED]
    for choice in sorted(product((number, CODE), repeat=len(tried)), key=lambda dtypes: dtypes.count(CODE)):
        dtype_by_name = dict(zip(tried, choice, strict=True))
        yield {name: Input(name, dtype_by_name.get(name, CODE)) for name in passed}


def _one_value_each(passed: Sequence[str], unmeasured: Sequence[str], number: np.dtype[Any]) -> Iterator[ForwardInputs]:
    """Every input of shape [B], then every one of shape [B, 1]."""
    for shape in ((), (1,)):
        for inputs in _dtypes(passed, unmeasured, number):
            yield {name: replace(declared, shape=shape) for name, declared in inputs.items()}


def _one_wide(passed: Sequence[str], unmeasured: Sequence[str], number: np.dtype[Any]) -> Iterator[ForwardInputs]:
    """One feature of shape [B, n], the others of shape [B]."""
    for inputs in _dtypes(passed, unmeasured, number) if len(unmeasured) <= WIDE_AMONG else ():
        for name in unmeasured:
            for width in range(1, WIDTHS_TRIED + 1):
                yield {**inputs, name: replace(inputs[name], shape=(width,))}


def _columns(passed: Sequence[str], unmeasured: Sequence[str], number: np.dtype[Any]) -> Iterator[ForwardInputs]:
    """Features of shape [B, 1] beside ids of shape [B]."""
    for inputs in _dtypes(passed, unmeasured, number) if unmeasured else ():
        yield {name: replace(declared, shape=(1,)) if name in unmeasured else declared for name, declared in inputs.items()}


def _check_widths_are_fixed(call: ForwardCall, unmeasured: Sequence[str]) -> None:
    """Raise ExportRefused where a feature may as well have one value more a row: then the values alone tell its width."""
    for declared in [call.inputs[name] for name in unmeasured if call.inputs[name].shape]:
        wider = replace(declared, shape=(declared.shape[0] + 1,))
        if _refusal(replace(call, inputs={**call.inputs, declared.name: wider})) is None:
            raise ExportRefused(
                f"forward takes any number of values a row for {declared.name!r}, so its width can't be told: export the module "
                "with torch.onnx.export, which fixes it, and give the .onnx file"
            )


def _refusal(call: ForwardCall) -> ExportRefused | None:
    """Why the module can't be called so; None where it can. Its warnings are ignored, since the call may be a wrong guess."""
    values = {name: np.zeros((TRIAL_ROWS, *declared.shape), declared.dtype) for name, declared in call.inputs.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call.scores(values)
    except ExportRefused as refusal:
        return refusal
    return None


def _described(output: Any) -> str:
    return f"a {type(output).__name__} of {len(output)}" if isinstance(output, tuple | list | dict) else type(output).__name__


@contextmanager
def inference(torch: Any, model: Any) -> Iterator[None]:
    """Run in eval mode without gradients; every submodule gets back the mode it had."""
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False  # model.eval() does no more, and an exported program refuses it
    try:
        with (
            torch.no_grad(),
            torch.compiler.set_stance("force_eager"),  # or a compiled module would be compiled again for each shape
        ):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
