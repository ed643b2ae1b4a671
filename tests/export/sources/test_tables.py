"""Plain tables from `.npy` and `.safetensors` files."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recoserve.errors import ExportRefused
from recoserve_export import export_model
from recoserve_export.sources.tables import from_safetensors
from tests.export.models import brute_force


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_npy_tables_of_any_float_are_exported(dtype, tables, tmp_path, target, top_k):
    """Small integers are exact in each dtype, so that the rankings are equal."""
    for name, table in zip(("u.npy", "v.npy"), tables, strict=True):
        np.save(tmp_path / name, table.astype(dtype))

    export_model((tmp_path / "u.npy", tmp_path / "v.npy"), target, similarity="dot")

    assert top_k(target, [0], 3)[0].tolist() == [[8, 6, 4]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_safetensors_of_any_float_are_exported(dtype, tables, tmp_path, target, top_k):
    """The tensors are recognised by name; further tensors of other shapes do no harm."""
    named = dict(zip(("model.user_factors", "model.movie_factors"), tables, strict=True))
    tensors = {name: torch.from_numpy(table).to(dtype) for name, table in named.items()}
    save_file(
        {**tensors, "user_counts": torch.zeros(7), "steps": torch.zeros(2, 2, dtype=torch.int64)}, tmp_path / "films.safetensors"
    )

    report = export_model(tmp_path / "films.safetensors", target, similarity="dot")

    assert report.name == "parity"
    assert top_k(target, [0], 3)[0].tolist() == [[8, 6, 4]]


def test_safetensors_are_mapped_not_read(vectors, tmp_path):
    """A table of many gigabytes costs no memory until its rows are used."""
    save_file(dict(zip(("user", "item"), map(torch.from_numpy, vectors), strict=True)), tmp_path / "a.safetensors")

    source = from_safetensors(tmp_path / "a.safetensors")

    assert isinstance(source.users.values, np.memmap)
    assert np.array_equal(vectors[1], source.items.values)


def test_tensors_with_other_names_are_listed_in_a_refusal(vectors, tmp_path, target, top_k):
    """--user-input and --item-input name tensors here."""
    save_file(dict(zip(("w", "h"), map(torch.from_numpy, vectors), strict=True)), tmp_path / "mf.safetensors")

    with pytest.raises(ExportRefused, match=r"h, w.*--user-input"):
        export_model(tmp_path / "mf.safetensors", target)
    export_model(tmp_path / "mf.safetensors", target, user_input="w", item_input="h")

    assert brute_force(*vectors, 3, cosine=True)[1].tolist() == top_k(target, range(40), 3)[0].tolist()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x05",
        (2**60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (9).to_bytes(8, "little") + b'{"a": 1} ',
        (67).to_bytes(8, "little") + b'{"user":{"dtype":"F32","shape":[9,9],"data_offsets":[0,324]},"b":{}}',
        (61).to_bytes(8, "little") + b'{"user":{"dtype":"F32","shape":[9,9],"data_offsets":[0,324]}}',
        (61).to_bytes(8, "little") + b'{"user":{"dtype":"F32","shape":[9,9],"data_offsets":[-9,24]}}',
    ],
)
def test_a_damaged_safetensors_file_is_refused(body, tmp_path, target):
    """Cut off, no header, a header of another kind, data beyond the file."""
    (tmp_path / "x.safetensors").write_bytes(body)

    with pytest.raises(ExportRefused, match=r"not a \.safetensors file, or cut off"):
        export_model(tmp_path / "x.safetensors", target)


def test_npy_files_that_hold_no_table_are_refused(tmp_path, target):
    """Pickled objects are never loaded; archives, other files and absent ones are named."""
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "archive.npz", np.zeros(3))
    (tmp_path / "text.npy").write_text("1 2 3")

    for name, message in [
        ("pickled.npy", "pickled"),
        ("archive.npz", "archive"),
        ("text.npy", "not a .npy"),
        ("no.npy", "No such"),
    ]:
        with pytest.raises(ExportRefused, match=message):
            export_model((tmp_path / name, tmp_path / name), target)
