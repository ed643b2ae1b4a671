"""A bundle that differs from its manifest in any way is refused, with a message that names the file at fault."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

from recoserve.bundle import contract
from recoserve.bundle.archive import open_bundle, read_manifest
from recoserve.bundle.draft import Draft
from recoserve.bundle.repository import find_bundle
from recoserve.errors import BundleInvalid, ExportRefused
from recoserve.scheduling.loader import load_model
from recoserve.search.query import Query
from recoserve_export import export_model
from tests.bundles import METADATA, make_bundle, reseal
from tests.export.models import random_tables, torch_model
from tests.server import until

GRAPHS = ["model.onnx", "recommend_query.onnx", "rescore.onnx", "score.onnx", "score_query.onnx", "screen.onnx", "user.onnx"]
ARRAYS = ["columns.bin", "golden.npz", "screen.bin", "seen_items.npy", "seen_offsets.npy", "tensors.bin"]
FILES = sorted([*GRAPHS, *ARRAYS, "columns.json", "items.jsonl"])


def problems(folder):
    with pytest.raises(BundleInvalid) as caught:
        load_model(folder)
    return "\n".join(caught.value.problems)


def edit_graph(folder, change, name="model.onnx"):
    """Change the graph's protocol buffer, not its external data, and write a manifest that agrees."""
    model = onnx.load(folder / name, load_external_data=False)
    change(model)
    (folder / name).write_bytes(model.SerializeToString())
    reseal(folder)


def set_external(model, **members):
    """Change where the item table says that its bytes are."""
    (table,) = [tensor for tensor in model.graph.initializer if tensor.name == contract.ITEM_TABLE]
    location = {entry.key: entry.value for entry in table.external_data} | members
    del table.external_data[:]
    for key, value in location.items():
        table.external_data.add(key=key, value=value)


def test_a_bundle_opens_with_everything_that_was_exported(bundle):
    opened = open_bundle(bundle)

    assert sorted(opened.manifest.sizes) == FILES
    assert (len(opened.users), len(opened.items), opened.manifest.dim) == (6, 8, 2)
    assert [opened.item_metadata[row] for row in range(8)] == METADATA
    assert [opened.interactions.of(row).tolist() for row in range(3)] == [[0, 4], [], [6]]


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999])
def test_a_file_with_one_flipped_bit_is_named(own_bundle, name, fraction):
    """At the start, in the middle and at the end; in the manifest too."""
    body = bytearray((own_bundle / name).read_bytes())
    body[int(fraction * len(body))] ^= 1
    (own_bundle / name).write_bytes(body)

    assert name in problems(own_bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(own_bundle, name):
    (own_bundle / name).unlink()

    assert f"{name}: missing" in problems(own_bundle)


def test_a_file_that_cannot_be_read_is_named(own_bundle):
    """A link to itself stands in for a file without permission: the system refuses to open either."""
    (own_bundle / "items.jsonl").unlink()
    (own_bundle / "items.jsonl").symlink_to("items.jsonl")

    assert "items.jsonl" in problems(own_bundle)


@pytest.mark.parametrize("name", ["extra.bin", ".hidden", "model.onnx.data"])
def test_a_file_beyond_the_manifest_is_named(own_bundle, name):
    (own_bundle / name).write_bytes(b"x")

    assert f"{name}: not in the manifest" in problems(own_bundle)


def test_every_file_at_fault_is_listed_not_only_the_first(own_bundle):
    (own_bundle / "golden.npz").unlink()
    (own_bundle / "extra").write_bytes(b"x")
    (own_bundle / "tensors.bin").write_bytes(b"short")

    assert len(problems(own_bundle).splitlines()) == 3


def test_a_folder_without_a_manifest_is_no_bundle(own_bundle):
    (own_bundle / "manifest.json").unlink()

    assert "half-written" in problems(own_bundle)


@pytest.mark.parametrize("body", [b"", b"\x08\x08", b"not a graph at all"])
def test_an_empty_or_foreign_graph_is_refused(own_bundle, body):
    (own_bundle / "model.onnx").write_bytes(body)
    reseal(own_bundle)

    assert "model.onnx" in problems(own_bundle)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_graph_is_refused(own_bundle, fraction):
    body = (own_bundle / "model.onnx").read_bytes()
    (own_bundle / "model.onnx").write_bytes(body[: int(fraction * len(body))])
    reseal(own_bundle)

    assert "model.onnx" in problems(own_bundle)


@pytest.mark.parametrize("location", ["../tensors.bin", "/etc/passwd", "sub/tensors.bin", "", "nowhere.bin"])
def test_external_data_outside_the_bundle_is_refused(own_bundle, location):
    edit_graph(own_bundle, lambda model: set_external(model, location=location))

    assert "lies outside the bundle's own files" in problems(own_bundle)


def test_external_data_behind_a_link_is_refused(own_bundle, tmp_path):
    """The bytes are the right ones, but they are not in the bundle."""
    shutil.move(own_bundle / "tensors.bin", tmp_path / "elsewhere.bin")
    (own_bundle / "tensors.bin").symlink_to(tmp_path / "elsewhere.bin")

    assert "tensors.bin: must be a plain file" in problems(own_bundle)


@pytest.mark.parametrize(
    "members",
    [
        {"offset": "-4096"},
        {"offset": "1" + "0" * 18},
        {"offset": "9" * 40},
        {"length": "-1"},
        {"length": "4"},
        {"offset": "4000"},
        {"length": "1e3"},
    ],
)
def test_a_wrong_offset_or_length_is_refused(own_bundle, members):
    """With an offset of 4000 the tensor still lies within the file, but not where the other graphs have it."""
    edit_graph(own_bundle, lambda model: set_external(model, **members))
    message = problems(own_bundle)

    assert "offset or length" in message or "does not fit" in message or "lies at other bytes than in another graph" in message


@pytest.mark.parametrize("changes", [{"users": 7}, {"items": 9}, {"dim": 3}, {"interactions": 2}])
def test_counts_that_disagree_are_refused(own_bundle, changes):
    reseal(own_bundle, **changes)

    assert problems(own_bundle)


@pytest.mark.parametrize(
    ("changes", "problem"), [({"users": 7}, "user_id_rows must be 7"), ({"items": 9}, "item_id_rows must be 9")]
)
def test_counts_that_disagree_are_refused_without_vectors_too(tmp_path, changes, problem):
    """A model that is no dot product has no tables whose shapes could differ; its graphs hold the counts as constants."""
    import torch

    def score(_, user_vectors, item_vectors):
        return torch.relu(user_vectors + item_vectors).sum(-1)

    export_model(torch_model(*random_tables(6, 8), score), tmp_path / "bundle")
    assert read_manifest(tmp_path / "bundle").dim is None
    reseal(tmp_path / "bundle", **changes)

    assert problem in problems(tmp_path / "bundle")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_in_a_table_are_refused(own_bundle, value):
    table = np.memmap(own_bundle / "tensors.bin", np.float32, mode="r+")
    table[-1] = value
    table.flush()
    reseal(own_bundle)

    assert "holds NaN or infinity" in problems(own_bundle)


def test_zero_rows_are_accepted_and_score_zero(tmp_path):
    """A vector of zeros has cosine 0 with every other."""
    users, items = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    users[1], items[2] = 0, 0
    export_model((users, items), tmp_path / "b")
    model = load_model(tmp_path / "b")

    rankings = model.rank([Query(user, 3) for user in range(3)])
    assert [ranking.item_rows.tolist() for ranking in rankings] == [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert [ranking.scores.tolist() for ranking in rankings] == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_pickled_array_is_never_read(own_bundle, tmp_path):
    """Loading it would run the code in it."""

    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    np.save(own_bundle / "seen_items.npy", np.array([Payload()], object), allow_pickle=True)
    np.savez(own_bundle / "golden.npz", user_row=np.array([Payload()], object))
    reseal(own_bundle)

    assert "pickled" in problems(own_bundle) or "not a NumPy archive" in problems(own_bundle)
    assert not (tmp_path / "ran").exists()


def test_a_wrong_dtype_is_refused(own_bundle):
    np.save(own_bundle / "seen_items.npy", np.array([0.0, 4.0, 6.0]))
    reseal(own_bundle)

    assert "int32 or int64" in problems(own_bundle)


@pytest.mark.parametrize("missing", ["user_row", "score", "sample_item"])
def test_a_golden_sample_that_lacks_an_array_is_refused(own_bundle, missing):
    with np.load(own_bundle / "golden.npz") as arrays:
        others = {name: array for name, array in arrays.items() if name != missing}
    np.savez(own_bundle / "golden.npz", **others)
    reseal(own_bundle)

    assert missing in problems(own_bundle)


def test_an_operator_set_from_the_future_is_refused(own_bundle):
    edit_graph(own_bundle, lambda model: setattr(model.opset_import[0], "version", 999))

    assert "operator set 999" in problems(own_bundle)


def test_a_custom_domain_is_refused(own_bundle):
    """Its operators would come from a library that nobody checked."""

    def change(model):
        model.opset_import.add(domain="evil.example", version=1)
        model.graph.node.add(op_type="Run", domain="evil.example", input=["user_id"], output=["nothing"])

    edit_graph(own_bundle, change)

    assert "evil.example" in problems(own_bundle)


def test_a_valid_bundle_with_wrong_scores_fails_its_golden_sample(own_bundle):
    """The users' vectors are exchanged, so that even users like odd items."""
    table = np.memmap(own_bundle / "tensors.bin", np.float32, mode="r+", shape=(6, 2))
    table[:] = table[:, ::-1].copy()
    table.flush()
    reseal(own_bundle)

    assert "golden sample" in problems(own_bundle)


def test_a_graph_with_other_inputs_is_refused(own_bundle):
    shutil.copy(own_bundle / "score.onnx", own_bundle / "model.onnx")
    reseal(own_bundle)

    assert "its inputs and outputs" in problems(own_bundle)


def test_a_draft_that_is_not_published_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), Draft(tmp_path / "b") as draft:
        draft.add_array("a.npy", np.zeros(3))
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_a_draft_never_replaces_existing_files(bundle, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")

    with pytest.raises(ExportRefused, match="already exists"):
        make_bundle(tmp_path / "folder")
    assert (tmp_path / "folder" / "file").read_text() == "mine"


def test_the_manifest_names_the_source_and_the_parity_figures(bundle):
    document = read_manifest(bundle).document()

    assert document["format_version"] == 1
    assert {"framework", "versions"} <= set(document["source"])
    assert document["parity"] and document["created"].endswith("Z")


WRITE_MANY = """
import shutil, sys
from pathlib import Path
from recoserve.bundle.archive import read_manifest
from recoserve.bundle.draft import Draft
source, models = map(Path, sys.argv[1:])
manifest = read_manifest(source)
members = {name: getattr(manifest, name) for name in manifest.__dataclass_fields__ if name != "files"}
for version in range(1, 10_000):
    with Draft(models / str(version)) as draft:
        for name in manifest.sizes:
            shutil.copy(source / name, draft.folder)
        draft.publish(**{**members, "version": str(version)})
"""


@pytest.mark.parametrize("seconds", [0.31, 0.42, 0.53, 0.64])
def test_a_killed_writer_leaves_complete_bundles_and_no_others(bundle, tmp_path, seconds):
    """SIGKILL at any step: every visible bundle opens, and the highest version is served."""
    writer = subprocess.Popen([sys.executable, "-c", WRITE_MANY, bundle, tmp_path / "evens"])
    until(lambda: (tmp_path / "evens" / "3").exists())
    time.sleep(seconds)
    writer.kill()
    writer.wait()

    versions = sorted(int(folder.name) for folder in (tmp_path / "evens").iterdir() if folder.name[0] != ".")
    assert versions == list(range(1, len(versions) + 1))
    assert find_bundle(tmp_path).name == str(versions[-1])
    for version in versions[-20:]:
        assert open_bundle(tmp_path / "evens" / str(version)).manifest.version == str(version)
