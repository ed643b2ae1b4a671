"""The table of operators: every property that it claims is true in ONNX Runtime, and no other file has a list of operators."""

import ast
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import recoserve_export
from recoserve_export.graph.operators import OPERATORS, names, properties

OPSET = 20
RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.uniform(-2, 2, shape).astype(np.float32)


def integers(*shape):
    return RNG.integers(1, 5, shape)


def booleans(*shape):
    return RNG.random(shape) < 0.5


SHAPE = (3, 4)
# Inputs for the operators that don't take float32 arrays of SHAPE; nothing in here may be negative where a logarithm would be NaN.
INPUTS = {
    "And": [booleans(*SHAPE), booleans(*SHAPE)],
    "BatchNormalization": [numbers(*SHAPE), numbers(4), numbers(4), numbers(4), np.abs(numbers(4)) + 1],
    "Bernoulli": [np.full((8, 8), 0.5, np.float32)],
    "Clip": [numbers(*SHAPE), np.float32(-0.5), np.float32(0.5)],
    "Dropout": [numbers(*SHAPE)],
    "Einsum": [numbers(*SHAPE), numbers(*SHAPE)],
    "Expand": [numbers(3, 1), np.array([1, 4])],
    "Gather": [numbers(*SHAPE), np.array([2, 0, 1, 1])],
    "GatherND": [numbers(*SHAPE), np.array([[2], [0], [1], [1]])],
    "Gemm": [numbers(3, 4), numbers(4, 2), numbers(3, 2)],
    "Log": [np.abs(numbers(*SHAPE)) + 1],
    "MatMul": [numbers(3, 4), numbers(4, 2)],
    "Mod": [integers(*SHAPE), integers(*SHAPE)],
    "Multinomial": [np.zeros((4, 64), np.float32)],
    "Or": [booleans(*SHAPE), booleans(*SHAPE)],
    "Pow": [np.abs(numbers(*SHAPE)), numbers(*SHAPE)],
    "RandomNormal": [],
    "RandomUniform": [],
    "ReduceMean": [numbers(*SHAPE), np.array([1])],
    "ReduceSum": [numbers(*SHAPE), np.array([1])],
    "Reshape": [numbers(*SHAPE), np.array([2, 6])],
    "Slice": [numbers(*SHAPE), np.array([1]), np.array([3]), np.array([1])],
    "Split": [numbers(*SHAPE)],
    "Sqrt": [np.abs(numbers(*SHAPE))],
    "Squeeze": [numbers(3, 1, 4)],
    "Unsqueeze": [numbers(*SHAPE), np.array([1])],
    "Where": [booleans(*SHAPE), numbers(*SHAPE), numbers(*SHAPE)],
    "Xor": [booleans(*SHAPE), booleans(*SHAPE)],
}
ATTRIBUTES = {
    "Cast": {"to": onnx.TensorProto.DOUBLE},
    "Concat": {"axis": 1},
    "Einsum": {"equation": "bd,bd->b"},
    "Gemm": {"alpha": 0.5, "beta": 2.0},
    "Mod": {"fmod": 0},
    "Multinomial": {"sample_size": 32},
    "RandomNormal": {"shape": [4, 4]},
    "RandomUniform": {"shape": [4, 4]},
    "Split": {"num_outputs": 2, "axis": 1},
}


def inputs_of(name):
    if name in INPUTS:
        return [np.asarray(array) for array in INPUTS[name]]
    return [numbers(*SHAPE) for _ in range(max(properties(name).min_inputs, 1 if properties(name).max_inputs else 2))]


def run(name, inputs):
    """The first output of the operator."""
    return runner(name, inputs)(inputs)


def runner(name, inputs):
    """A function of inputs like these that returns the first output of the operator, in a model of its own."""
    input_names = [f"x{index}" for index in range(len(inputs))]
    outputs = ["y", "z"] if name == "Split" else ["y"]
    node = helper.make_node(name, input_names, outputs, **ATTRIBUTES.get(name, {}))
    values = [
        helper.make_tensor_value_info(input_name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for input_name, array in zip(input_names, inputs, strict=True)
    ]
    graph = helper.make_graph([node], "one", values, [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(["y"], dict(zip(input_names, arrays, strict=True)))[0]


def claiming(has):
    return pytest.mark.parametrize("name", sorted(names(has)))


def test_every_operator_takes_as_many_inputs_as_onnx_says():
    schemas = {name: onnx.defs.get_schema(name, OPSET) for name in OPERATORS}
    wrong = [
        name
        for name, schema in schemas.items()
        if (properties(name).min_inputs, properties(name).max_inputs)
        != (schema.min_input, None if schema.max_input > 1000 else schema.max_input)
    ]

    assert wrong == []


@claiming(lambda operator: operator.elementwise)
def test_a_result_depends_on_the_numbers_at_its_own_position_only(name):
    inputs = inputs_of(name)
    before = run(name, inputs)
    for array in inputs:
        if array.shape == SHAPE:
            array[1, 2] = not array[1, 2] if array.dtype == bool else array[1, 2] + 1
    after = run(name, inputs)
    elsewhere = np.ones(SHAPE, bool)
    elsewhere[1, 2] = False

    assert before.shape == SHAPE
    np.testing.assert_array_equal(before[elsewhere], after[elsewhere])


@claiming(lambda operator: operator.broadcasts)
@pytest.mark.parametrize("narrow", [(1, 4), (3, 1), (4,), ()])
def test_a_narrow_input_is_repeated_to_the_shape_of_the_others(name, narrow):
    for index in range(len(inputs_of(name))):
        inputs = inputs_of(name)
        inputs[index] = np.ascontiguousarray(inputs[index][: 1 if narrow[:1] != (3,) else 3, : narrow[-1] if narrow else 1])
        inputs[index] = inputs[index].reshape(narrow)
        repeated = [np.broadcast_to(array, SHAPE).copy() for array in inputs]

        if len(inputs) > 1:
            np.testing.assert_array_equal(run(name, inputs), run(name, repeated))


@claiming(lambda operator: operator.affine)
def test_a_result_is_affine_in_each_input_that_is_claimed(name):
    """f(t * x + (1 - t) * y) = t * f(x) + (1 - t) * f(y), with the other inputs held constant."""
    for index in properties(name).affine:
        inputs = inputs_of(name)
        first = inputs[index]
        second = np.asarray(numbers(*first.shape), np.float32)

        def result(array, index=index, inputs=inputs):
            return run(name, [*inputs[:index], array, *inputs[index + 1 :]]).astype(np.float64)

        mixed = result(np.asarray(0.25 * first + 0.75 * second, np.float32))
        np.testing.assert_allclose(mixed, 0.25 * result(first) + 0.75 * result(second), rtol=1e-4, atol=1e-5)


@claiming(lambda operator: operator.increasing_function is not None)
def test_an_increasing_function_is_the_one_that_is_computed_in_float64(name):
    function = properties(name).increasing_function
    values = np.linspace(-3, 3, 101)
    assert function is not None

    np.testing.assert_allclose(run(name, [values.astype(np.float32)]), function(values), rtol=1e-5)
    assert (np.diff(function(values)) > 0).all()
    assert (np.diff(run(name, [values.astype(np.float32)])) > 0).all()


@claiming(lambda operator: operator.keeps_numbers)
def test_a_result_holds_the_first_inputs_numbers_in_their_order(name):
    inputs = inputs_of(name)

    np.testing.assert_array_equal(run(name, inputs).reshape(-1), inputs[0].reshape(-1))


@claiming(lambda operator: operator.changes_dtype)
def test_a_result_has_another_dtype(name):
    inputs = inputs_of(name)
    if name == "CastLike":
        inputs[1] = inputs[1].astype(np.float64)

    assert run(name, inputs).dtype != inputs[0].dtype


@claiming(lambda operator: operator.content_inputs is not None)
def test_only_the_shape_or_the_dtype_of_further_inputs_is_read(name):
    inputs = inputs_of(name)
    count = properties(name).content_inputs
    others = [numbers(*array.shape) for array in inputs[count:]]

    np.testing.assert_array_equal(run(name, inputs), run(name, [*inputs[:count], *others]))


@claiming(lambda operator: operator.batch_placeholder is not None)
@pytest.mark.parametrize("batch", [2, 3])
def test_a_shape_with_the_placeholder_fits_any_batch(name, batch):
    array = numbers(batch, 4)

    np.testing.assert_array_equal(run(name, [array, np.array([properties(name).batch_placeholder, 4])]), array)


@claiming(lambda operator: operator.lookup)
def test_a_lookup_takes_rows_of_its_first_input(name):
    table, index = inputs_of(name)

    np.testing.assert_array_equal(run(name, [table, index]), table[index.reshape(-1)])


@claiming(lambda operator: operator.identity_of_one)
def test_a_single_input_is_returned_unchanged(name):
    array = numbers(*SHAPE)

    np.testing.assert_array_equal(run(name, [array]), array)


@claiming(lambda operator: operator.random)
def test_a_random_operator_draws_other_numbers_each_time(name):
    inputs = inputs_of(name)
    draw = runner(name, inputs)

    assert not np.array_equal(draw(inputs), draw(inputs))


def test_an_operator_without_a_row_has_no_properties():
    assert not any((properties("Softmax").elementwise, properties("Softmax").affine, properties("Softmax").content_inputs))


def test_no_other_file_of_the_rooms_has_a_list_of_operators():
    """Two or more names of operators in one tuple, list, set or dict: they would have to be kept in step with the table by hand."""
    root = Path(recoserve_export.__file__).parent
    paths = [*(root / "graph").rglob("*.py"), *(root / "partial").rglob("*.py"), root / "sources/onnx_tidy.py"]
    offenders = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in paths
        if path.name != "operators.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if sum(name in OPERATORS for name in _strings(node)) > 1
    ]

    assert offenders == []


def _strings(node):
    """The strings that a literal collection, or the alternatives of a match, hold."""
    entries = getattr(node, "elts", []) or getattr(node, "keys", []) or getattr(node, "patterns", [])
    entries = [entry.value if isinstance(entry, ast.MatchValue) else entry for entry in entries]
    return [entry.value for entry in entries if isinstance(entry, ast.Constant) and isinstance(entry.value, str)]
