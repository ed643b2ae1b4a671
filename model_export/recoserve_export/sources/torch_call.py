"""Finds out by trial how a module is called, that is, what each parameter of its forward takes; and calls it for its own scores.

A module doesn't say whether a parameter of its forward takes a code that looks up a table or a number, nor how many values for each
row. So forward is run on a few rows of zeros, in this order, until a call gives one score for each row:

1. every parameter has one value in each row, as [B] and then as [B, 1];
2. one feature has several values in each row, 1 to 256, such as a film's genres;
3. features have the shape [B, 1] beside ids of the shape [B].

In each step a feature is tried as a number first and as a code second. The other way round, numbers would be cut to whole ones
wherever forward takes either: an nn.Embedding refuses floats, but arithmetic takes integers. Ids are always codes. A feature whose
number of values the caller knows is tried with that number alone; if forward takes any number of values and the caller doesn't know
it, the module is refused.
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
MIN_BATCH = 5  # rows of the tensors that a module is traced with
CODE_DTYPE = np.dtype(np.int64)
# So many features are tried as number and as code, each independently: 2 to the power of this many calls. Further ones are codes.
MAX_FEATURES_OF_BOTH_DTYPES = 6
MAX_FEATURES_WITH_ONE_WIDE = 3  # a feature of several values is looked for among this many features at most
MAX_WIDTH = 256  # the most values of a feature that are tried
ForwardInputs = Mapping[str, Input]
FeatureWidths = Mapping[str, int | None]  # feature -> its number of values in each row; None if the caller doesn't know it


@dataclass(frozen=True)
class ForwardCall:
    """A module and how it is called: the parameters for the user and the item by name, and what each passed parameter takes."""

    torch: Any
    model: Any
    user: str
    item: str
    inputs: ForwardInputs

    def scores(self, values: Arrays) -> Float64Array:
        """The module's own scores, float64 [P], for values by input name; raises ExportRefused if forward doesn't give them."""
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
            raise ExportRefused(f"forward gives {_description(output)}; it must give one tensor, with one score per pair")
        if output.numel() != count:
            raise ExportRefused(f"forward gives {list(output.shape)} for {count} pairs; it must give one score per pair")
        flat: Float64Array = output.detach().cpu().double().numpy().reshape(-1)
        return flat

    def examples(self) -> dict[str, Any]:
        """A tensor for each input, no two of them equal, with a number of rows that is no other size in the module."""
        sizes = {size for tensor in (*self.model.parameters(), *self.model.buffers()) for size in tensor.shape}
        sizes |= {size for declared in self.inputs.values() for size in declared.shape}
        rows = next(count for count in range(MIN_BATCH, MIN_BATCH + len(sizes) + 1) if count not in sizes)
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
    """How `model` is called for pairs; raises ExportRefused, with the module's own reason, if every call fails.

    `user` and `item` name the parameters of forward that take ids, if their names don't show it; `widths` names the features.
    """
    names, required = _parameters(model)
    if len(names) == 1:
        raise ExportRefused(
            f"forward takes {names[0]!r} alone, but the user and the item must be passed separately: export a module whose "
            "forward(user, item) joins them and calls this one"
        )
    sides = pick_sides("parameters of forward", names, user, item, widths)
    passed_names = [name for name in names if name in required or name in sides or name in widths]
    features = [name for name in passed_names if name not in sides and widths.get(name) is None]  # of unknown width
    number_dtype = np.dtype(np.float64 if _is_double(torch, model) else np.float32)
    refusals = []
    for inputs in _trials(passed_names, features, widths, number_dtype):
        call = ForwardCall(torch, model, *sides, inputs)
        refusal = _refusal(call)
        if refusal is None:
            _check_widths_are_fixed(call, features)
            return call
        if all(declared.dtype == CODE_DTYPE for declared in inputs.values()):
            refusals.append(refusal)
    raise refusals[0]  # of the most likely call: one code in each row, for each parameter


def _parameters(model: Any) -> tuple[list[str], set[str]]:
    """The names of the parameters of forward that can be passed by name, and of those among them without a default."""
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
    names: Sequence[str], features: Sequence[str], widths: FeatureWidths, number_dtype: np.dtype[Any]
) -> Iterator[ForwardInputs]:
    """Yields what the parameters may take, in the order of the module's docstring.

    `names` are the parameters, `features` those of them that are features of unknown width. Features of known width are tried as
    numbers, then as codes.
    """
    known_widths = {name: width for name, width in widths.items() if width is not None}
    for inputs in chain(
        _one_value_each(names, features, number_dtype),
        _one_wide(names, features, number_dtype),
        _columns(names, features, number_dtype),
    ):
        for dtypes in product((number_dtype, CODE_DTYPE), repeat=len(known_widths)):
            inputs_of_known_width = {
                name: Input(name, dtype, (width,)) for (name, width), dtype in zip(known_widths.items(), dtypes, strict=True)
            }
            yield {**inputs, **inputs_of_known_width}


def _dtypes(names: Sequence[str], features: Sequence[str], number_dtype: np.dtype[Any]) -> Iterator[dict[str, Input]]:
    """Yields one value in each row for each parameter, with every choice of features that are numbers: most numbers first."""
    varied = features[:MAX_FEATURES_OF_BOTH_DTYPES]
    choices = product((number_dtype, CODE_DTYPE), repeat=len(varied))
    for choice in sorted(choices, key=lambda dtypes: dtypes.count(CODE_DTYPE)):
        dtype_by_name = dict(zip(varied, choice, strict=True))
        yield {name: Input(name, dtype_by_name.get(name, CODE_DTYPE)) for name in names}


def _one_value_each(names: Sequence[str], features: Sequence[str], number_dtype: np.dtype[Any]) -> Iterator[ForwardInputs]:
    """Yields every input of shape [B], then every one of shape [B, 1]."""
    for shape in ((), (1,)):
        for inputs in _dtypes(names, features, number_dtype):
            yield {name: replace(declared, shape=shape) for name, declared in inputs.items()}


def _one_wide(names: Sequence[str], features: Sequence[str], number_dtype: np.dtype[Any]) -> Iterator[ForwardInputs]:
    """Yields one feature of shape [B, n], the others of shape [B]."""
    for inputs in _dtypes(names, features, number_dtype) if len(features) <= MAX_FEATURES_WITH_ONE_WIDE else ():
        for name in features:
            for width in range(1, MAX_WIDTH + 1):
                yield {**inputs, name: replace(inputs[name], shape=(width,))}


def _columns(names: Sequence[str], features: Sequence[str], number_dtype: np.dtype[Any]) -> Iterator[ForwardInputs]:
    """Yields features of shape [B, 1] beside ids of shape [B]."""
    for inputs in _dtypes(names, features, number_dtype) if features else ():
        yield {name: replace(declared, shape=(1,)) if name in features else declared for name, declared in inputs.items()}


def _check_widths_are_fixed(call: ForwardCall, features: Sequence[str]) -> None:
    """Raise ExportRefused if forward takes one more value of a feature as well: then nothing in the module says how many it has."""
    for declared in [call.inputs[name] for name in features if call.inputs[name].shape]:
        wider = replace(declared, shape=(declared.shape[0] + 1,))
        if _refusal(replace(call, inputs={**call.inputs, declared.name: wider})) is None:
            raise ExportRefused(
                f"forward takes any number of values a row for {declared.name!r}, so its width isn't known: export the module "
                "with torch.onnx.export, which fixes the width, and give the .onnx file"
            )


def _refusal(call: ForwardCall) -> ExportRefused | None:
    """Why a call fails; None if it succeeds. Warnings are ignored, since the call may be a wrong guess."""
    values = {name: np.zeros((TRIAL_ROWS, *declared.shape), declared.dtype) for name, declared in call.inputs.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call.scores(values)
    except ExportRefused as refusal:
        return refusal
    return None


def _description(output: Any) -> str:
    return f"a {type(output).__name__} of {len(output)}" if isinstance(output, tuple | list | dict) else type(output).__name__


@contextmanager
def inference(torch: Any, model: Any) -> Iterator[None]:
    """Within this context the module is in eval mode, without gradients; on exit, every submodule gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False  # as model.eval() does, which an exported program refuses
    try:
        with (
            torch.no_grad(),
            torch.compiler.set_stance("force_eager"),  # otherwise a compiled module is compiled again for each shape
        ):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
