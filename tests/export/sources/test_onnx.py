"""ONNX models of any exporter: which are read, which are refused, and where tensors may lie."""

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from recoserve.errors import ExportRefused
from recoserve_export.graph.lookups import row_counts
from recoserve_export.graph.program import Program
from recoserve_export.sources.onnx import load, read_network

RNG = np.random.default_rng(0)
USERS, ITEMS = RNG.standard_normal((7, 4)).astype(np.float32), RNG.standard_normal((11, 4)).astype(np.float32)
TENSORS = {
    "users": USERS,
    "items": ITEMS,
    "last": np.array([1]),
    "genres": RNG.standard_normal((3, 2)).astype(np.float32),
    "weight": RNG.standard_normal((10, 1)).astype(np.float32),
}
IDS = "int64[B] user, int64[B] item"
LOOKUP = "u = Gather (users, user)\n i = Gather (items, item)\n p = Mul (u, i)\n"
DOT = f"{LOOKUP} score = ReduceSum <keepdims = 0> (p, last)"
BRANCHES = "then_branch = t () => (a) { a = Identity (user) }, else_branch = e () => (b) { b = Neg (user) }"
BRANCHING = f"y = If (user) <{BRANCHES}>\n {DOT.replace('users, user', 'users, y')}"
PAIRS = {"user": np.array([0, 6, 3, 3]), "item": np.array([10, 0, 5, 4])}


def model(body=DOT, inputs=IDS, outputs="float[B] score", opset=20, imports=""):
    """A model of `body`, with those of TENSORS that it reads as initializers."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}{imports}]> g ({inputs}) => ({outputs}) {{ {body} }}'
    model_proto = onnx.parser.parse_model(text)
    read = {name for node in model_proto.graph.node for name in node.input}
    model_proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in TENSORS.items() if name in read)
    return model_proto


def saved(model_proto, folder):
    path = folder / "films.onnx"
    path.write_bytes(model_proto.SerializeToString())
    return path


def file_and_network_scores(source, values):
    """The scores of the file as it is, and those of the network that was read from it."""
    network = source.network
    dtypes = {name: declared.dtype for name, declared in network.inputs.items()}
    program = Program(network.nodes, network.constants, dtypes, [network.output], network.opset)
    (scores,) = program.run({name: network.inputs[name].batch(array) for name, array in values.items()})
    return source.scores(values), scores.reshape(-1)


@pytest.fixture
def beside(tmp_path):
    """A function that saves the dot model with its user table in another file, and with what it says of that file."""
    (tmp_path / "films.bin").write_bytes(b"\0" * 4096 + USERS.tobytes())

    def save(location="films.bin", offset="4096", length=str(USERS.nbytes), dims=(7, 4), data_type=onnx.TensorProto.FLOAT):
        model_proto = model()
        (tensor,) = [initializer for initializer in model_proto.graph.initializer if initializer.name == "users"]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.dims[:] = dims
        tensor.data_type = data_type
        for key, value in {"location": location, "offset": offset, "length": length}.items():
            if value is not None:
                tensor.external_data.add(key=key, value=value)
        return saved(model_proto, tmp_path)

    return save


@pytest.mark.parametrize(
    "model_proto",
    [
        model(),
        model(f"c = Constant <value = int64[1] {{1}}> ()\n {LOOKUP} s = ReduceSum (p, c)\n score = Identity (s)"),
        model("u = Gather (users, user)\n i = Gather (items, item)\n c = Concat <axis = 1> (u, i, i)\n b = Slice (c, a, z, last)\n"
              " score = MatMul (b, weight)\n a = Constant <value_ints = [0]> ()\n z = Constant <value_ints = [10]> ()"),
        model(inputs="int32[B] user, int32[B] item"),
        model("v = Cast <to = 7> (user)\n" + DOT.replace("users, user", "users, v"), inputs="float[B] user, int64[B] item"),
        model(f"{LOOKUP} s = ReduceSum <axes = [1], keepdims = 1> (p)\n score = Squeeze <axes = [1]> (s)", opset=11),
        model(f"{LOOKUP} q = ReduceMean <axes = [1], keepdims = 0> (p)\n score = Sigmoid (q)", opset=13),
    ],
    ids=["plain", "constant", "unordered", "int32", "float ids", "opset 11", "opset 13"],
)  # fmt: skip
def test_a_network_scores_as_its_file_does(model_proto, tmp_path):
    """Whatever its operator set, its ids' dtype, and the order that its nodes are written in."""
    if model_proto.graph.node[0].op_type != "Constant":
        model_proto.graph.node.sort(key=lambda node: node.op_type != "Constant")
    source = load(saved(model_proto, tmp_path), None, None)

    file_scores, network_scores = file_and_network_scores(source, PAIRS)

    assert (source.user, source.item, source.network.opset >= 13) == ("user", "item", True)
    assert np.allclose(file_scores, network_scores, rtol=1e-6)
    assert len(set(file_scores)) == len(file_scores)


def test_scores_are_the_dot_products_that_the_file_computes(tmp_path):
    """As float64, one a pair."""
    file_scores, _ = file_and_network_scores(load(saved(model(), tmp_path)), PAIRS)

    assert file_scores.dtype == np.float64
    assert np.allclose((USERS[PAIRS["user"]] * ITEMS[PAIRS["item"]]).sum(1), file_scores, rtol=1e-5)


def test_further_inputs_are_features_of_the_item(tmp_path):
    """Of any width; a column of codes and a row of numbers alike."""
    body = "g = Gather (genres, genre)\n h = Squeeze (g, last)\n u = Gather (users, user)\n i = Gather (items, item)\n"
    body += "j = Mul (i, tags)\n c = Concat <axis = 1> (u, j, h)\n score = MatMul (c, weight)"
    source = load(saved(model(body, f"{IDS}, int64[B, 1] genre, float[B, 4] tags"), tmp_path), features=["genre"])

    file_scores, network_scores = file_and_network_scores(
        source, {**PAIRS, "genre": np.array([0, 1, 2, 1]), "tags": np.ones((4, 4), np.float32)}
    )

    assert source.features == ("genre", "tags")
    assert [source.network.inputs[name].shape for name in source.features] == [(1,), (4,)]
    assert np.allclose(file_scores, network_scores)


def test_an_input_called_item_goes_before_one_called_item_genre(tmp_path):
    """Two inputs that are both named like the item are listed in a refusal."""
    inputs = "int64[B] user_id, int64[B] item, int64[B] item_genre"
    body = DOT.replace("(users, user)", "(users, user_id)").replace("(items, item)", "(items, j)")
    model_proto = model(f"j = Add (item, item_genre)\n {body}", inputs)

    assert load(saved(model_proto, tmp_path)).item == "item"
    twins = model(f"j = Add (item_a, item_b)\n {body}", "int64[B] user_id, int64[B] item_a, int64[B] item_b")
    with pytest.raises(ExportRefused, match="inputs of the model are: user_id, item_a, item_b"):
        load(saved(twins, tmp_path))
    assert load(saved(twins, tmp_path), features=["item_b"]).item == "item_a"


def test_functions_inside_the_model_are_inlined(tmp_path):
    """Some exporters write a function for each layer."""
    text = f"""<ir_version: 8, opset_import: ["" : 20, "own" : 1]> g ({IDS}) => (float[B] score) {{
        u = Gather (users, user)  i = Gather (items, item)  score = own.dot (u, i) }}
        <domain: "own", opset_import: ["" : 20]> dot (a, b) => (s) {{ p = Mul (a, b)
        c = Constant <value = int64[1] {{1}}> ()  s = ReduceSum <keepdims = 0> (p, c) }}"""
    model_proto = onnx.parser.parse_model(text)
    model_proto.graph.initializer.extend(numpy_helper.from_array(TENSORS[name], name) for name in ("users", "items"))
    source = load(saved(model_proto, tmp_path))

    file_scores, network_scores = file_and_network_scores(source, PAIRS)

    assert {"Gather", "Mul", "ReduceSum"} == {node.op_type for node in source.network.nodes}
    assert np.allclose(file_scores, network_scores)


@pytest.mark.parametrize(
    ("model_proto", "message"),
    [
        (model(inputs="int64[1] user, int64[1] item"), r"'user' has the fixed shape \[1\].*dynamic batch axis"),
        (model(inputs="int64 user, int64[B] item"), "fixed shape"),
        (model(f"x = ReduceSum (tags, last)\n {DOT}", f"{IDS}, int64[B, N] tags"), "doesn't depend on the model's input 'tags'"),
        (model(inputs="int64[B, N] user, int64[B] item"), "every axis but the first"),
        (model(inputs="string[B] user, int64[B] item"), "takes string"),
        (model(outputs="float[B] score, float[B, 4] p"), r"2 outputs \(score, p\)"),
        (model(f"{LOOKUP} score = com.microsoft.Gelu (p)", imports=', "com.microsoft" : 1'), "com.microsoft.Gelu"),
        (model("score = Gather (nowhere, user)"), "'nowhere', which nothing in it computes"),
        (model(opset=99), "operator set 99; 1 to 24"),
        (model(inputs="int64[B] user, int64[B, 3] item"), r"'item' takes \[3\] values a row"),
        (model(BRANCHING), "branches or loops"),
    ],
    ids=["batch of one", "scalar", "unused", "open width", "text", "two outputs", "domain", "cut", "opset", "wide id", "if"],
)  # fmt: skip
def test_what_is_no_scorer_of_pairs_is_refused(model_proto, message, tmp_path):
    """The message names the input, the output, the operator or the value at fault."""
    with pytest.raises(ExportRefused, match=message):
        load(saved(model_proto, tmp_path))


def test_half_precision_is_refused(tmp_path):
    """It is too coarse for a parity check."""
    model_proto = model(f"h = Cast <to = 1> (halves)\n {DOT.replace('(items, item)', '(h, item)')}")
    model_proto.graph.initializer.append(numpy_helper.from_array(ITEMS.astype(np.float16), "halves"))

    with pytest.raises(ExportRefused, match="'halves' is float16"):
        load(saved(model_proto, tmp_path))


def test_text_is_refused_with_its_own_advice(tmp_path):
    """Weights in float32 would not help."""
    model_proto = model(
        f"t = Gather (names, user)\n e = Equal (t, t)\n v = Cast <to = 7> (e)\n {DOT.replace('users, user', 'users, v')}"
    )
    model_proto.graph.initializer.append(numpy_helper.from_array(np.array(["a", "b"], object), "names"))

    with pytest.raises(ExportRefused, match="'names' holds text: export the part of the model after its text lookup"):
        load(saved(model_proto, tmp_path))


def test_a_constant_node_with_its_data_in_another_file_is_refused(tmp_path):
    """Only initializers are read from other files."""
    model_proto = model(f"c = Constant <value = int64[1] {{1}}> ()\n {LOOKUP} score = ReduceSum <keepdims = 0> (p, c)")
    tensor = model_proto.graph.node[0].attribute[0].t
    tensor.name, tensor.data_location = "one", onnx.TensorProto.EXTERNAL

    with pytest.raises(ExportRefused, match=r"'one' lies in another file\. .* with this tensor inside the \.onnx file"):
        load(saved(model_proto, tmp_path))


MODEL_BYTES = model().SerializeToString()


@pytest.mark.parametrize(
    "body",
    [
        b"junk",
        MODEL_BYTES[:-40],
        MODEL_BYTES.replace(b"Gather", b"G\xffther", 1),
        MODEL_BYTES.replace(b"ReduceSum", b"RoundAbou"),
        b"",
    ],
    ids=["junk", "cut", "name", "operator", "empty"],
)
def test_a_damaged_file_is_refused(body, tmp_path):
    """Wherever the damage is; an empty file parses, as a model without a score."""
    (tmp_path / "films.onnx").write_bytes(body)

    with pytest.raises(ExportRefused):
        load(tmp_path / "films.onnx")


def test_no_byte_that_is_cut_or_changed_ends_in_a_traceback(tmp_path):
    """Files come from somebody else: the only error is ExportRefused."""
    rng = np.random.default_rng(0)
    refused = 0
    for offset in rng.integers(len(MODEL_BYTES), size=60):
        for body in (MODEL_BYTES[:offset], MODEL_BYTES[:offset] + bytes([rng.integers(256)]) + MODEL_BYTES[offset + 1 :]):
            (tmp_path / "films.onnx").write_bytes(body)
            try:
                load(tmp_path / "films.onnx")
            except ExportRefused:
                refused += 1

    assert refused >= 60, "each file that is cut short is refused; a changed byte may be one of a title or a number"


def test_tensors_beside_the_model_are_mapped(beside):
    """A table of any size costs no memory."""
    source = load(beside())

    assert isinstance(source.network.constants["users"], np.memmap)
    assert np.array_equal(USERS, source.network.constants["users"])
    file_scores, network_scores = file_and_network_scores(source, PAIRS)
    assert np.allclose((USERS[PAIRS["user"]] * ITEMS[PAIRS["item"]]).sum(1), file_scores, rtol=1e-5)
    assert np.array_equal(file_scores, network_scores)


@pytest.mark.parametrize(
    "lies",
    [
        {"location": "../outside.bin"},
        {"location": "{folder}/films.bin"},
        {"location": "link.bin"},
        {"location": "linked/films.bin"},
        {"location": ""},
        {"location": "."},
        {"location": "absent.bin"},
        {"offset": "-4"},
        {"offset": "4100"},
        {"offset": "x"},
        {"length": "9"},
        {"dims": (700000, 4)},
        {"dims": (-7, 4)},
        {"data_type": onnx.TensorProto.INT16},
        {"data_type": onnx.TensorProto.INT16, "length": None},
    ],
    ids=str,
)
def test_tensors_that_lie_elsewhere_are_refused_before_anything_is_read(lies, beside, tmp_path):
    """Only a plain file in the model's own folder is mapped, and only what is in it."""
    (tmp_path.parent / "outside.bin").write_bytes(b"\0" * 8192)
    (tmp_path / "link.bin").symlink_to(tmp_path / "films.bin")
    (tmp_path / "linked").symlink_to(tmp_path, target_is_directory=True)
    if "location" in lies:
        lies = {"location": lies["location"].format(folder=tmp_path)}

    with pytest.raises(ExportRefused, match="'users'"):
        load(beside(**lies))


LONG_LOOKUP = """t = Transpose <perm = [0, 1]> (users)
 m = Max (user)
 s = Shape (m)
 e = Expand (user, s)
 a = Constant <value_ints = [-1]> ()
 x = Unsqueeze (e, a)
 c = Concat <axis = -1> (x)
 u = GatherND (t, c)
 i = Gather (items, item)
 p = Mul (u, i)
 q = ReduceSum <keepdims = 0> (p, last)
 score = Identity (q)
"""


def test_nodes_that_return_their_input_are_taken_out(tmp_path):
    """torch's exporter writes `table[rows]` like this: it becomes a lookup, whose table has the number of rows."""
    source = load(saved(model(LONG_LOOKUP), tmp_path))

    file_scores, network_scores = file_and_network_scores(source, PAIRS)

    assert [node.op_type for node in source.network.nodes].count("Gather") == 2
    assert len(source.network.nodes) == 4
    assert row_counts(source.network) == {"user": 7, "item": 11}
    assert np.array_equal(file_scores, network_scores)


@pytest.mark.parametrize(
    "body",
    [
        LONG_LOOKUP.replace("perm = [0, 1]", "perm = [1, 0]")
        .replace("(t, c)", "(v, c)")
        .replace(" m =", " v = Transpose (t)\n m ="),
        LONG_LOOKUP.replace("(user)\n s", "(user, item)\n s"),
        LONG_LOOKUP.replace("s = Shape (m)", "s = Shape <start = 0, end = 1> (m)"),
    ],
    ids=["turned", "two", "part of a shape"],
)
def test_nodes_that_only_look_as_if_they_returned_their_input_stay(body, tmp_path):
    """The scores are still those of the file."""
    file_scores, network_scores = file_and_network_scores(load(saved(model(body), tmp_path)), PAIRS)

    assert np.allclose((USERS[PAIRS["user"]] * ITEMS[PAIRS["item"]]).sum(1), file_scores, rtol=1e-5)
    assert np.array_equal(file_scores, network_scores)


def test_constants_from_outside_the_model_are_never_copied():
    """The network holds the framework's own memory."""
    model_proto = model()
    (index,) = [index for index, tensor in enumerate(model_proto.graph.initializer) if tensor.name == "items"]
    del model_proto.graph.initializer[index]

    assert read_network(model_proto, {"items": ITEMS}).constants["items"] is ITEMS
