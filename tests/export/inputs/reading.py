"""How the tests read one feature, `genre`, of three items."""

import numpy as np

from recoserve_export.graph.network import Input
from recoserve_export.inputs.features import read_features
from recoserve_export.inputs.ids import read_ids

INT, FLOAT = np.dtype(np.int64), np.dtype(np.float32)
ITEMS = read_ids("item", [30, 10, 20], 3)


def read_feature(values, dtype=INT, shape=(), rows=None, items=ITEMS, names=None):
    """The values of `genre` as a list, and the warnings."""
    table_rows = {} if rows is None else {"genre": rows}
    row_names = None if names is None else {"genre": names}
    features, warnings = read_features({"genre": values}, {"genre": Input("genre", dtype, shape)}, table_rows, items, row_names)
    assert features["genre"].dtype == dtype
    return features["genre"].tolist(), warnings
