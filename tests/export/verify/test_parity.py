"""The gate, on graphs that are right and on graphs that are wrong."""

import shutil

import numpy as np
import pytest

from recoserve.errors import ExportRefused
from recoserve_export import export_model
from recoserve_export.graph.dot_score import EmbeddingTable, Formula
from recoserve_export.graph.monotone_tail import SIGMOID
from recoserve_export.verify import fresh_process, parity
from recoserve_export.verify.bundle_graphs import GraphOutputs
from recoserve_export.verify.reference import TableReference
from tests.export.models import random_tables

COSINE = Formula(cosine=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A bundle so large that only a sample of it is compared."""
    target = tmp_path_factory.mktemp("parity") / "bundle"
    export_model(random_tables(300, 20_000), target)
    return target


@pytest.fixture
def tables():
    return random_tables(300, 20_000)


def table_reference(users, items):
    return TableReference(EmbeddingTable("user_table", users), EmbeddingTable("item_table", items), COSINE)


def test_a_sample_of_users_is_ranked_over_the_whole_catalogue(exported, tables):
    """Beyond two million pairs, 64 users and 8,192 items are drawn, the first and the last rows among them."""
    figures = parity.check(exported, table_reference(*tables))

    assert tuple(figures[name] for name in ("pairs", "users", "k", "top_k_agreement")) == (64 * 8192, 64, 100, 1.0)
    assert figures["largest_difference"] < 1e-6


def test_graphs_of_other_tables_are_refused_with_the_figures(exported, tables):
    """Two items that changed places are enough."""
    users, items = tables
    items[[0, 1]] = items[[1, 0]]

    with pytest.raises(ExportRefused, match=r"parity failed.*differ from the model's by up to .* over 524288 pairs"):
        parity.check(exported, table_reference(users, items))


def test_a_saturated_sigmoid_hides_no_wrong_ranking(tmp_path):
    """Scores that are all 1 would tie; ranks are compared before the sigmoid."""
    users, items = (np.abs(table) * 10 for table in random_tables(20, 30))
    export_model((users, items), tmp_path / "bundle", similarity="dot")
    saturated = Formula(cosine=False, tail=SIGMOID)
    rows = np.arange(20)
    wrong = TableReference(EmbeddingTable("u", users), EmbeddingTable("i", items[::-1]), saturated)
    ones = np.ones((20, 30), np.float32)
    outputs = GraphOutputs(wrong.top(rows, 30)[0], ones, ones, np.ones((1, 1), np.float32))
    reference = TableReference(EmbeddingTable("u", users), EmbeddingTable("i", items), saturated)

    figures = parity._compare(reference, rows, np.arange(30), outputs)

    assert figures["largest_difference"] < 1e-6
    assert figures["top_k_agreement"] < 0.5


def test_graphs_that_cannot_run_are_refused(exported, tables, tmp_path):
    """A missing tensor file is a refusal with the runtime's reason."""
    broken = shutil.copytree(exported, tmp_path / "broken")
    (broken / "tensors.bin").unlink()

    with pytest.raises(ExportRefused, match="parity could not be checked"):
        parity.check(broken, table_reference(*tables))


def test_a_process_that_dies_while_it_writes_the_outputs_is_a_refusal(exported):
    """Its file is there, but cut off; without a message on stderr, the exit code is named."""
    dying = "import sys; open(sys.argv[4], 'wb').write(b'PK'); sys.exit(9)"

    with pytest.raises(ExportRefused, match=r"parity could not be checked.*exit code 9"):
        fresh_process.run_graphs(exported, np.arange(2), np.arange(2), 2, dying)
