"""How the items are rotated before they are rounded, and that their leading dimensions are found again in the int8 copy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recoserve.bundle import contract
from recoserve.bundle.leading_dimensions import ENERGY_SHARE, count_leading_dimensions
from recoserve.bundle.tensors import read_int8_index
from recoserve_export.graph.dot_score import EmbeddingTable, Formula
from recoserve_export.write import int8_graphs, int8_index, tensors
from recoserve_export.write.rotation import ROUNDING_MARGIN, even_mix, random_rotation, rotation_of

COSINE, DOT = Formula(cosine=True), Formula(cosine=False)
ITEMS = 3_000


def along(energy, scale=1.0):
    """A function that draws rows with this `energy` [d] along axes that are no coordinates."""
    axes = np.sqrt(energy)[:, None] * random_rotation(len(energy)).T * scale
    return lambda rng: rng.standard_normal((ITEMS, len(energy))) @ axes


def one_huge_row(rng):
    items = rng.standard_normal((ITEMS, 32))
    items[77] *= 1e30
    return items


FALLING = np.arange(1.0, 65) ** -0.85  # 28 axes hold 0.78 of it, 24 hold 0.74
# Items, and how many of their dimensions lead; None where rounding decides.
TABLES = {
    "falling": (along(FALLING), 28),
    "falling slowly": (along(np.arange(1.0, 65) ** -0.1), 64),
    "falling fast": (along(np.arange(1.0, 65) ** -3), 24),
    "steps": (along(np.repeat([9.0, 1.0], [20, 32])), 20),
    "leading dimensions by a little": (along(np.repeat([0.78 / 20, 0.22 / 20], 20)), 20),
    "none by a little": (along(np.repeat([0.73 / 24, 0.27 / 20], [24, 20])), 44),
    "spike": (along(np.array([100.0] + [1e-6] * 31)), 12),
    "a direction and noise": (lambda rng: np.ones(48) + 0.3 * rng.standard_normal((ITEMS, 48)), 16),
    "33 dimensions": (along(np.repeat([9.0, 1.0], [15, 18])), 16),
    "50 dimensions": (along(np.arange(1.0, 51) ** -0.8), 24),
    "random": (lambda rng: rng.standard_normal((ITEMS, 64)), 64),
    "zeros": (lambda _: np.zeros((ITEMS, 16)), 16),
    "one row": (lambda rng: rng.standard_normal((1, 16)), 8),
    "fewer rows than dimensions": (lambda _: np.eye(40, 64), 32),
    "three rows many times": (lambda rng: rng.standard_normal((3, 32))[rng.integers(0, 3, ITEMS)], 12),
    "one huge row": (one_huge_row, 12),
    "tiny": (along(FALLING, 1e-25), 28),
    "denormals": (along(FALLING, 1e-40), None),
    "very large": (along(FALLING, 1e35), 28),
    **{f"{dim} of them": (along(np.array([100.0, *[1.0] * (dim - 1)])), dim if dim < 7 else 4) for dim in range(1, 8)},
}


def write_index(folder, items, formula):
    """The int8 index that an export writes, read again, and the energy of each of its dimensions."""
    table = EmbeddingTable("i", np.asarray(items, np.float32))
    tables = tensors.write(folder / contract.TENSORS, table, table, formula)
    int8_graphs.write(folder, *tables, int8_index.write(folder, table, formula), formula)
    index = read_int8_index(folder / contract.SCREEN_GRAPHS[contract.SCREEN], *items.shape)
    steps = np.repeat(index.step.astype(np.float64), contract.BLOCK)
    return index, ((np.concatenate(index.pieces, axis=1) * steps) ** 2).sum(axis=1)


@pytest.mark.parametrize("name", TABLES)
def test_the_leading_dimensions_are_found_again_in_the_int8_copy(name, tmp_path):
    """By their energy: no file says how many they are."""
    draw, leading = TABLES[name]
    _, energy = write_index(tmp_path, draw(np.random.default_rng(5)), DOT)

    assert np.isfinite(energy).all()
    assert leading in (None, count_leading_dimensions(energy))


@pytest.mark.parametrize("formula", [COSINE, DOT], ids=str)
@pytest.mark.parametrize("name", TABLES)
def test_every_rotation_is_orthogonal_and_even(name, formula, tmp_path):
    """No product changes, whatever the table holds, and energy is even among the leading dimensions and among the others."""
    items = TABLES[name][0](np.random.default_rng(6))
    multiplied = formula.vectors(np.asarray(items, np.float32)).astype(np.float32).astype(np.float64)
    dim, tolerance = items.shape[1], 1e-9 * (multiplied**2).sum()

    rotation = rotation_of(np.array_split(multiplied, 3), dim)
    energy = ((multiplied @ rotation) ** 2).sum(axis=0)
    even_splits = [
        leading
        for leading in range(1, dim + 1)
        if all(not len(energies) or np.ptp(energies) <= tolerance for energies in np.split(energy, [leading]))
    ]
    assert np.allclose(rotation @ rotation.T, np.eye(dim), rtol=0, atol=1e-12)
    assert even_splits
    in_file = write_index(tmp_path, items, formula)[0].rotation
    assert np.allclose(in_file @ in_file.T, np.eye(dim), rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_the_margin_covers_the_energy_that_rounding_takes_from_the_leading_dimensions(seed, tmp_path):
    """For any falling spectrum of any width, the int8 copy leads with as many dimensions as the export rotated for."""
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(8, 129))
    items = along(np.arange(1.0, dim + 1) ** -rng.uniform(0.2, 1.5))(rng)
    axes = np.linalg.eigvalsh(items.T @ items)[::-1]

    assert count_leading_dimensions(write_index(tmp_path, items, DOT)[1]) in {
        count_leading_dimensions(axes, ENERGY_SHARE + ROUNDING_MARGIN),
        count_leading_dimensions(axes),
    }


# Of subnormal energies the test's own sum rounds to 0.
ENERGIES = st.floats(0, 1e3, allow_subnormal=False) | st.floats(0, 1e80, allow_subnormal=False)


@given(arrays(np.float64, st.integers(1, 40), elements=ENERGIES))
def test_a_mix_is_orthogonal_and_leaves_every_dimension_the_mean(energy):
    """For any energies, zeros among them."""
    mix = even_mix(energy)

    assert np.allclose(mix @ mix.T, np.eye(len(energy)), rtol=0, atol=1e-12)
    assert np.allclose(energy @ mix**2, energy.mean(), rtol=1e-9, atol=0)
