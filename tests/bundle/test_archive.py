"""A bundle is whole or it is refused, with what is wrong (cases 49 to 58 and 63)."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

from recoserve.bundle import contract, manifest
from recoserve.bundle.archive import Draft, open_bundle, read_manifest
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
    """Change the protocol buffer, external data left where it is, and make the manifest agree."""
    model = onnx.load(folder / name, load_external_data=False)
    change(model)
    (folder / name).write_bytes(model.SerializeToString())
    reseal(folder)


def external(model, **members):
    (table,) = [tensor for tensor in model.graph.initializer if tensor.name == contract.ITEM_TABLE]
    kept = {entry.key: entry.value for entry in table.external_data} | members
    del table.external_data[:]
    for key, value in kept.items():
        table.external_data.add(key=key, value=value)


def test_a_whole_bundle_opens_with_all_that_was_put_in(bundle):
    opened = open_bundle(bundle)

    assert sorted(opened.manifest.sizes) == FILES
    assert (len(opened.users), len(opened.items), opened.manifest.dim) == (6, 8, 2)
    assert [opened.item_metadata.metadata(row) for row in range(8)] == METADATA
    assert [opened.interactions.of(row).tolist() for row in range(3)] == [[0, 4], [], [6]]


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_flipped_bit_in_any_file_is_named(own_bundle, name, place):
    """Case 50, the manifest included."""
    body = bytearray((own_bundle / name).read_bytes())
    body[int(place * len(body))] ^= 1
    (own_bundle / name).write_bytes(body)

    assert name in problems(own_bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(own_bundle, name):
    """Case 51."""
    (own_bundle / name).unlink()

    assert f"{name}: missing" in problems(own_bundle)


def test_a_file_that_cannot_be_read_is_named(own_bundle):
    """Whatever the system says of it; here a folder that loops stands in for a refused permission."""
    (own_bundle / "items.jsonl").unlink()
    (own_bundle / "items.jsonl").symlink_to("items.jsonl")

    assert "items.jsonl" in problems(own_bundle)


@pytest.mark.parametrize("name", ["extra.bin", ".hidden", "model.onnx.data"])
def test_a_file_beyond_the_manifest_is_named(own_bundle, name):
    """Case 51."""
    (own_bundle / name).write_bytes(b"x")

    assert f"{name}: not in the manifest" in problems(own_bundle)


def test_every_wrong_file_is_listed_not_only_the_first(own_bundle):
    (own_bundle / "golden.npz").unlink()
    (own_bundle / "extra").write_bytes(b"x")
    (own_bundle / "tensors.bin").write_bytes(b"short")

    assert len(problems(own_bundle).splitlines()) == 3


def test_a_folder_without_a_manifest_is_no_bundle(own_bundle):
    (own_bundle / "manifest.json").unlink()

    assert "half-written" in problems(own_bundle)


@pytest.mark.parametrize("body", [b"", b"\x08\x08", b"not a graph at all"])
def test_an_empty_or_foreign_graph_is_refused(own_bundle, body):
    """Case 49."""
    (own_bundle / "model.onnx").write_bytes(body)
    reseal(own_bundle)

    assert "model.onnx" in problems(own_bundle)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_graph_is_refused(own_bundle, share):
    """Case 49."""
    body = (own_bundle / "model.onnx").read_bytes()
    (own_bundle / "model.onnx").write_bytes(body[: int(share * len(body))])
    reseal(own_bundle)

    assert "model.onnx" in problems(own_bundle)


@pytest.mark.parametrize("location", ["../tensors.bin", "/etc/passwd", "sub/tensors.bin", "", "nowhere.bin"])
def test_external_data_outside_the_bundle_is_refused(own_bundle, location):
    """Case 52."""
    edit_graph(own_bundle, lambda model: external(model, location=location))

    assert "lies outside the bundle's own files" in problems(own_bundle)


def test_external_data_behind_a_link_is_refused(own_bundle, tmp_path):
    """Case 52: the bytes are the right ones, but not the bundle's."""
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
    """Case 53. An offset of 4000 lies within the file, and the tensor as well, but not where the other graphs have it."""
    edit_graph(own_bundle, lambda model: external(model, **members))
    found = problems(own_bundle)

    assert "offset or length" in found or "does not fit" in found or "lies elsewhere than in another graph" in found


@pytest.mark.parametrize("changes", [{"users": 7}, {"items": 9}, {"dim": 3}, {"interactions": 2}])
def test_counts_that_disagree_are_refused(own_bundle, changes):
    """Case 54."""
    reseal(own_bundle, **changes)

    assert problems(own_bundle)


@pytest.mark.parametrize(("changes", "says"), [({"users": 7}, "user_id_rows is not 7"), ({"items": 9}, "item_id_rows is not 9")])
def test_counts_that_disagree_are_refused_without_vectors_too(tmp_path, changes, says):
    """A model that is no dot product has no tables to tell: its graphs' own counts are held against the manifest's."""
    import torch

    def score(_, left, right):
        return torch.relu(left + right).sum(-1)

    export_model(torch_model(*random_tables(6, 8), score), tmp_path / "bundle")
    assert read_manifest(tmp_path / "bundle").dim is None
    reseal(tmp_path / "bundle", **changes)

    assert says in problems(tmp_path / "bundle")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_in_a_table_are_refused(own_bundle, value):
    """Case 55."""
    table = np.memmap(own_bundle / "tensors.bin", np.float32, mode="r+")
    table[-1] = value
    table.flush()
    reseal(own_bundle)

    assert "holds NaN or infinity" in problems(own_bundle)


def test_zero_rows_are_accepted_and_score_nothing(tmp_path):
    """Case 56: a vector without direction has cosine 0 with everything."""
    users, items = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    users[1], items[2] = 0, 0
    folder = make_bundle_of(tmp_path / "b", users, items)
    model = load_model(folder)

    answers = model.rank([Query(user, 3) for user in range(3)])
    assert [answer.item_rows.tolist() for answer in answers] == [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert [answer.scores.tolist() for answer in answers] == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def make_bundle_of(folder, users, items):
    from recoserve_export import export_model

    export_model((users, items), folder)
    return folder


def test_a_pickled_array_is_never_read(own_bundle, tmp_path):
    """Case 57: loading it would run what is in it."""

    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    np.save(own_bundle / "seen_items.npy", np.array([Payload()], object), allow_pickle=True)
    np.savez(own_bundle / "golden.npz", user_row=np.array([Payload()], object))
    reseal(own_bundle)

    assert "pickled" in problems(own_bundle) or "not a NumPy archive" in problems(own_bundle)
    assert not (tmp_path / "ran").exists()


def test_a_wrong_dtype_is_refused(own_bundle):
    """Case 57."""
    np.save(own_bundle / "seen_items.npy", np.array([0.0, 4.0, 6.0]))
    reseal(own_bundle)

    assert "int32 or int64" in problems(own_bundle)


@pytest.mark.parametrize("lack", ["user_row", "score", "sample_item"])
def test_a_golden_sample_that_lacks_a_part_is_refused(own_bundle, lack):
    with np.load(own_bundle / "golden.npz") as arrays:
        kept = {name: array for name, array in arrays.items() if name != lack}
    np.savez(own_bundle / "golden.npz", **kept)
    reseal(own_bundle)

    assert lack in problems(own_bundle)


def test_an_operator_set_from_the_future_is_refused(own_bundle):
    """Case 58."""
    edit_graph(own_bundle, lambda model: setattr(model.opset_import[0], "version", 999))

    assert "operator set 999" in problems(own_bundle)


def test_a_custom_domain_is_refused(own_bundle):
    """Case 58: its operators would come from a library that nobody checked."""

    def change(model):
        model.opset_import.add(domain="evil.example", version=1)
        model.graph.node.add(op_type="Run", domain="evil.example", input=["user_id"], output=["nothing"])

    edit_graph(own_bundle, change)

    assert "evil.example" in problems(own_bundle)


def test_a_valid_bundle_with_wrong_answers_fails_its_golden_sample(own_bundle):
    """Case 63: users exchanged, so that even users like odd items."""
    table = np.memmap(own_bundle / "tensors.bin", np.float32, mode="r+", shape=(6, 2))
    table[:] = table[:, ::-1].copy()
    table.flush()
    reseal(own_bundle)

    assert "golden sample" in problems(own_bundle)


def test_a_graph_with_other_inputs_is_refused(own_bundle):
    shutil.copy(own_bundle / "score.onnx", own_bundle / "model.onnx")
    reseal(own_bundle)

    assert "its inputs and outputs" in problems(own_bundle)


def test_a_draft_left_early_leaves_nothing(tmp_path):
    """Whatever stops the export, nothing of it stays where a bundle is looked for."""
    with pytest.raises(RuntimeError), Draft(tmp_path / "b") as draft:
        draft.add_array("a.npy", np.zeros(3))
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_a_draft_never_replaces_what_is_there(bundle, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")

    with pytest.raises(ExportRefused, match="already exists"):
        make_bundle(tmp_path / "taken")
    assert (tmp_path / "taken" / "file").read_text() == "mine"


def test_the_manifest_of_a_bundle_names_its_origin_and_its_proof(bundle):
    found = manifest.document(manifest.parse((bundle / "manifest.json").read_bytes()))

    assert found["format_version"] == 1
    assert {"framework", "versions"} <= set(found["source"])
    assert found["parity"] and found["created"].endswith("Z")


WRITE_MANY = """
import shutil, sys
from pathlib import Path
from recoserve.bundle import archive
source, models = map(Path, sys.argv[1:])
found = archive.read_manifest(source)
members = {name: getattr(found, name) for name in found.__dataclass_fields__ if name != "files"}
for version in range(1, 10_000):
    with archive.Draft(models / str(version)) as draft:
        for name in found.sizes:
            shutil.copy(source / name, draft.folder)
        draft.publish(**{**members, "version": str(version)})
"""


@pytest.mark.parametrize("seconds", [0.31, 0.42, 0.53, 0.64])
def test_a_writer_that_is_killed_leaves_whole_bundles_and_no_others(bundle, tmp_path, seconds):
    """kill -9 at any step: what can be seen is whole, and the highest version is served."""
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
