"""The law of partial evaluation, over random scorers: every score stays what it was, or the graph is refused."""

import numpy as np
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from recoserve.errors import ExportRefused
from recoserve_export.partial.evaluate import evaluate
from recoserve_export.partial.fallback import fallback
from recoserve_export.partial.result import NotSeparable
from tests.export.partial.graphs import CONSTANTS, DIM, assert_same_scores, evaluated, network_of, network_scores, table


class Builder:
    """A graph that grows by random operators; `values` are names and the shapes of their rows."""

    def __init__(self, draw):
        self.draw = draw
        self.nodes, self.constants, self.values = [], dict(CONSTANTS), []
        for name, ids in (("users", "user"), ("items", "item"), ("genres", "genre"), ("of_user", "user"), ("of_item", "item")):
            self.keep("Gather", [name, ids], CONSTANTS[name].shape[1:])

    def pick(self, options):
        return self.draw(st.sampled_from(list(options)))

    def keep(self, op, inputs, shape, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        self.values += [(name, shape) for name in names] if outputs == 1 else []
        return names if outputs > 1 else names[0]

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def numbers(self, *shape):
        seed = self.draw(st.integers(0, 99))
        return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)

    def value(self, fits=lambda _: True):
        fitting = [value for value in self.values if fits(value[1])] or [self.values[0]]
        return self.pick(fitting[-4:] if self.draw(st.booleans()) else fitting)

    def join(self, op, first, second):
        """An operator on two values of one rank, in either order."""
        pair = [first, second] if self.draw(st.booleans()) else [second, first]
        return self.keep(op, [name for name, _ in pair], np.broadcast_shapes(first[1], second[1]))


def single(build):
    name, shape = build.value()
    op = build.pick(["Sigmoid", "Relu", "Tanh", "Neg", "Abs", "Identity", "Softplus", "LeakyRelu", "Dropout"])
    build.keep(op, [name], shape)


def bounded(build):
    name, shape = build.value()
    build.keep("Clip", [name, build.constant(np.float32(-0.5)), build.constant(np.float32(0.7))], shape)


def squared(build):
    name, shape = build.value()
    build.keep("Pow", [build.keep("Tanh", [name], shape), build.constant(np.float32(2))], shape)


def two(build):
    first = build.value()
    second = build.value(lambda shape: len(shape) == len(first[1]) and broadcasts(first[1], shape))
    if len(second[1]) == len(first[1]) and broadcasts(first[1], second[1]):
        build.join(build.pick(["Add", "Sub", "Mul", "Mul", "Max", "Min", "Sum"]), first, second)


def broadcasts(shape, other):
    return all(1 in (a, b) or a == b for a, b in zip(shape, other, strict=True))


def ratio(build):
    name, shape = build.value()
    below, _ = build.value(lambda other: other == shape)
    if dict(build.values)[below] == shape:
        above_one = build.keep("Add", [build.keep("Abs", [below], shape), build.constant(np.float32(1))], shape)
        build.keep("Div", [name, above_one], shape)


def chosen(build):
    (name, shape), (other, other_shape) = build.value(), build.value()
    if other_shape == shape:
        build.nodes.append(helper.make_node("Greater", [name, other], [f"more{len(build.nodes)}"]))
        build.keep("Where", [build.nodes[-1].output[0], other, name], shape)


def with_constant(build):
    name, shape = build.value()
    kinds = [(), (1,), (1,) * (len(shape) + 1), (1, *shape)] + ([shape, shape[-1:]] if shape else [])
    if len(shape) == 1 and shape[0] == 1:
        kinds += [(3,)]
    size = build.pick(kinds)
    op = build.pick(["Add", "Sub", "Mul", "Div", "Max"])
    array = build.numbers(*size) + np.float32(2.0 if op == "Div" else 0.0)
    inputs = [name, build.constant(array)]
    if op == "Div" or build.draw(st.booleans()):
        pass
    else:
        inputs.reverse()
    row = size[1:] if len(size) == len(shape) + 1 else size
    build.keep(op, inputs, tuple(np.broadcast_shapes(shape, row)))


def under_constant(build):
    name, shape = build.value()
    above_one = build.keep("Add", [build.keep("Abs", [name], shape), build.constant(np.float32(1))], shape)
    build.keep("Div", [build.constant(build.numbers(*shape)), above_one], shape)


def beside(build):
    first = build.value(lambda shape: len(shape) > 0)
    if not first[1]:
        return
    axis = build.draw(st.integers(-len(first[1]), -1))
    without_axis = lambda shape: tuple(n for at, n in enumerate(shape) if at - len(shape) != axis)  # noqa: E731
    others = [
        build.value(lambda shape: len(shape) == len(first[1]) and without_axis(shape) == without_axis(first[1]))
        for _ in range(build.draw(st.integers(1, 2)))
    ]
    parts = [first, *others]
    if any(len(shape) != len(first[1]) or without_axis(shape) != without_axis(first[1]) for _, shape in parts):
        return
    total = sum(shape[axis] for _, shape in parts)
    shape = tuple(total if at - len(first[1]) == axis else n for at, n in enumerate(first[1]))
    build.keep("Concat", [name for name, _ in parts], shape, axis=axis if build.draw(st.booleans()) else axis + len(shape) + 1)


def dense(build):
    name, shape = build.value(lambda shape: len(shape) > 0)
    if not shape:
        return
    size = build.pick([1, 3, DIM])
    weight = build.numbers(shape[-1], size)
    build.keep("MatMul", [name, build.constant(weight)], (*shape[:-1], size))


def onto_vector(build):
    name, shape = build.value(lambda shape: len(shape) > 0)
    if shape:
        build.keep("MatMul", [name, build.constant(build.numbers(shape[-1]))], shape[:-1])


def gemm(build):
    name, shape = build.value(lambda shape: len(shape) == 1)
    if len(shape) != 1:
        return
    size, turned = build.pick([1, 3, DIM]), build.draw(st.booleans())
    weight = build.numbers(size, shape[0]) if turned else build.numbers(shape[0], size)
    inputs = [name, build.constant(weight)]
    bias = build.pick([None, (size,), (1, size), (1,), ()])
    inputs += [build.constant(build.numbers(*bias))] if bias is not None else []
    build.keep("Gemm", inputs, (size,), transB=int(turned), alpha=build.pick([1.0, 0.5, -2.0]), beta=build.pick([1.0, 0.25]))


def reduced(build):
    name, shape = build.value(lambda shape: len(shape) > 0)
    if not shape:
        return
    negative_axes = build.draw(st.sets(st.integers(-len(shape), -1), min_size=1, max_size=len(shape)))
    axes = [at if build.draw(st.booleans()) else at + len(shape) + 1 for at in negative_axes]
    keep = build.draw(st.booleans())
    reduced_shape = tuple(
        1 if at - len(shape) in negative_axes else n for at, n in enumerate(shape) if keep or at - len(shape) not in negative_axes
    )
    op = build.pick(["ReduceSum", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2"])
    build.keep(op, [name, build.constant(np.array(axes))], reduced_shape, keepdims=int(keep))


def reshaped(build):
    name, shape = build.value()
    size = int(np.prod(shape))
    options = [[-1, size], [-1, 1, size], [0, size], [0, -1], [-1, size, 1]] + ([[-1]] if size == 1 else [])
    options += [[-1, 2, size // 2], [0, size // 2, 2]] if size % 2 == 0 else []
    options = [target for target in options if 0 not in target[1:]]
    target = build.pick(options)
    build.keep("Reshape", [name, build.constant(np.array(target))], tuple(size if n == -1 else n for n in target[1:]))


def by_count(build):
    """A shape read from the batch at hand, as exporters write it."""
    name, shape = build.value()
    count = build.keep("Shape", [name], None, end=1)
    build.values.pop()
    size = int(np.prod(shape))
    if build.draw(st.booleans()):
        target, op, result_shape = [1, size], "Reshape", (1, size)
    else:
        wide = tuple(3 if n == 1 else n for n in shape)
        target, op, result_shape = [*wide], "Expand", wide
    batch_shape = build.keep("Concat", [count, build.constant(np.array(target, np.int64))], None, axis=0)
    build.values.pop()
    build.keep(op, [name, batch_shape], result_shape)


def filled(build):
    """A constant row for every pair, made from the number of pairs at hand."""
    name, shape = build.value()
    count = build.keep("Shape", [name], None, end=1)
    target = build.keep("Concat", [count, build.constant(np.array(shape, np.int64))], None, axis=0)
    fill = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.25])
    build.nodes.append(helper.make_node("ConstantOfShape", [target], ["full" + target], value=fill))
    del build.values[-2:]
    if shape and build.draw(st.booleans()):
        build.keep("Concat", ["full" + target, name], (*shape[:-1], 2 * shape[-1]), axis=-1)
    else:
        build.keep(build.pick(["Add", "Sub", "Mul", "Max"]), ["full" + target, name], shape)


def unsqueezed(build):
    name, shape = build.value(lambda shape: len(shape) < 3)
    at = build.draw(st.integers(1, len(shape) + 1))
    build.keep("Unsqueeze", [name, build.constant(np.array([at]))], (*shape[: at - 1], 1, *shape[at - 1 :]))


def squeezed(build):
    name, shape = build.value(lambda shape: 1 in shape)
    if 1 not in shape:
        return
    if build.draw(st.booleans()):
        build.keep("Squeeze", [name], tuple(n for n in shape if n != 1))
    else:
        at = shape.index(1)
        build.keep("Squeeze", [name, build.constant(np.array([at + 1]))], shape[:at] + shape[at + 1 :])


def flattened(build):
    name, shape = build.value()
    build.keep("Flatten", [name], (int(np.prod(shape)),), axis=1)


def sliced(build):
    name, shape = build.value(lambda shape: max(shape, default=1) > 1)
    if max(shape, default=1) == 1:
        return
    at = build.pick([at for at, n in enumerate(shape) if n > 1])
    low = build.draw(st.integers(0, shape[at] - 1))
    high = build.draw(st.integers(low + 1, shape[at]))
    axis = at + 1 if build.draw(st.booleans()) else at - len(shape)
    bounds = [build.constant(np.array([number])) for number in (low, build.pick([high, high - shape[at] or 99]), axis)]
    build.keep("Slice", [name, *bounds], (*shape[:at], high - low, *shape[at + 1 :]))


def split(build):
    name, shape = build.value(lambda shape: max(shape, default=1) > 1)
    if max(shape, default=1) == 1:
        return
    at = build.pick([at for at, n in enumerate(shape) if n > 1])
    first = build.draw(st.integers(1, shape[at] - 1))
    sizes = [first, shape[at] - first]
    names = build.keep("Split", [name, build.constant(np.array(sizes))], None, outputs=2, axis=at + 1)
    build.values += [(output, (*shape[:at], n, *shape[at + 1 :])) for output, n in zip(names, sizes, strict=True)]


def normed(build):
    name, shape = build.value(lambda shape: len(shape) == 1)
    if len(shape) == 1:
        gamma, beta, mean, variance = (build.numbers(*shape) for _ in range(4))
        build.keep("BatchNormalization", [name, *(build.constant(array) for array in (gamma, beta, mean, variance + 2))], shape)


def layer_normed(build):
    name, shape = build.value(lambda shape: len(shape) > 0)
    if not shape:
        return
    narrow = (*shape[:-1], 1)
    last = build.constant(np.array([-1]))
    middle = build.keep("Sub", [name, build.keep("ReduceMean", [name, last], narrow)], shape)
    spread = build.keep("ReduceMean", [build.keep("Mul", [middle, middle], shape), last], narrow)
    below = build.keep("Sqrt", [build.keep("Add", [spread, build.constant(np.float32(0.1))], narrow)], narrow)
    build.keep("Div", [middle, below], shape)


def softened(build):
    name, shape = build.value(lambda shape: len(shape) > 0)
    if shape:
        build.keep("Softmax", [name], shape, axis=-1)


def rows_by_columns(build):
    (first, shape), (second, other) = build.value(lambda shape: len(shape) == 1), build.value(lambda shape: len(shape) == 1)
    if len(shape) == len(other) == 1 and shape == other:
        row = build.keep("Unsqueeze", [first, build.constant(np.array([1]))], (1, *shape))
        column = build.keep("Unsqueeze", [second, build.constant(np.array([2]))], (*shape, 1))
        build.keep("MatMul", [row, column], (1, 1))


def contracted(build):
    (first, shape), (second, other) = build.value(lambda shape: len(shape) == 1), build.value(lambda shape: len(shape) == 1)
    if len(shape) == len(other) == 1 and shape == other:
        build.keep("Einsum", [first, second], (), equation="bd,bd->b")


def looked_up(build):
    """Half of an id, looked up in a table of its own."""
    ids = build.pick(["user", "item", "genre"])
    half = build.keep("Div", [ids, build.constant(np.array([2]))], None)
    build.values.pop()
    build.keep("Gather", [build.constant(table(6, DIM, build.draw(st.integers(0, 9)))), half], (DIM,))


def as_double(build):
    name, shape = build.value()
    wide = build.keep("Cast", [name], None, to=TensorProto.DOUBLE)
    build.values.pop()
    if build.draw(st.booleans()):
        wide = build.keep("Mul", [wide, build.constant(np.array(0.3))], None)
        build.values.pop()
    build.keep("Cast", [wide], shape, to=TensorProto.FLOAT)


STEPS = [
    single,
    bounded,
    squared,
    two,
    two,
    two,
    ratio,
    chosen,
    with_constant,
    with_constant,
    under_constant,
    beside,
    beside,
    dense,
]
STEPS += [dense, onto_vector, gemm, reduced, reduced, reshaped, by_count, unsqueezed, squeezed, flattened, sliced, split, normed]
STEPS += [filled, layer_normed, softened, rows_by_columns, contracted, looked_up, as_double]


@st.composite
def scorers(draw):
    """A random scorer: operators on what has been made so far, both sides joined, one number at the end, and a tail."""
    build = Builder(draw)
    (user, _), (item, _) = build.values[:2]
    joined = [
        build.keep(op, [user, item], (2 * DIM if op == "Concat" else DIM,), **({"axis": 1} if op == "Concat" else {}))
        for op in draw(st.lists(st.sampled_from(["Add", "Mul", "Concat"]), min_size=1, max_size=3))
    ]
    for _ in range(draw(st.integers(1, 12))):
        draw(st.sampled_from(STEPS))(build)
    numbers = []
    for name, shape in build.values[-draw(st.integers(1, 3)) :]:
        flat = build.keep("Flatten", [name], (int(np.prod(shape)),), axis=1)
        numbers.append(build.keep("MatMul", [flat, build.constant(build.numbers(int(np.prod(shape)), 1))], (1,)))
    numbers += [build.keep("MatMul", [name, "column"], (1,)) for name in draw(st.sampled_from([[], [item], [user, item]]))]
    numbers += [build.keep("ReduceSum", [draw(st.sampled_from(joined)), "last"], (1,))] if draw(st.booleans()) else []
    score = build.keep("Sum", numbers, (1,))
    for _ in range(draw(st.integers(0, 3))):
        score = output_activation(build, score)
    note("\n".join(helper.printable_node(node) for node in build.nodes))
    return network_of(build.nodes, build.constants, score)


def output_activation(build, name):
    op = build.pick(["Sigmoid", "Tanh", "Add", "Mul", "Sub", "Div", "Clip", "HardSigmoid", "Relu", "Elu", "Squeeze", "Neg", "From"])
    shape = (1,)
    if op in ("Add", "Mul", "Sub", "Div"):
        return build.keep(op, [name, build.constant(np.float32(build.pick([-2, -0.5, 0.25, 1, 3])))], shape)
    if op == "From":
        return build.keep("Sub", [build.constant(np.float32(0.5)), name], shape)
    if op == "Clip":
        return build.keep(op, [name, build.constant(np.float32(-0.5)), build.constant(np.float32(0.5))], shape)
    if op == "Squeeze":
        return build.keep("Reshape", [name, build.constant(np.array([-1, 1]))], shape)
    return build.keep(op, [name], shape)


LAW = settings(max_examples=100, suppress_health_check=list(HealthCheck))


@LAW
@given(scorers())
def test_partial_evaluation_keeps_every_score(network):
    assume(np.isfinite(network_scores(network)).all())
    try:
        result = evaluated(network, evaluate)
    except (NotSeparable, ExportRefused):
        return
    assert_same_scores(network, result)


@settings(LAW, max_examples=30)
@given(scorers())
def test_the_fallback_keeps_every_score(network):
    assume(np.isfinite(network_scores(network)).all())
    try:
        result = evaluated(network, fallback)
    except ExportRefused:
        return
    assert_same_scores(network, result)
