"""Makes the content of a bundle's map: where the items lie, and their titles and groups."""

from recoserve.bundle.archive import Bundle
from recoserve.bundle.arrays import Float32Array
from recoserve.inspection.drawing import Chart
from recoserve.inspection.items import ItemTitles, first_list_column
from recoserve.inspection.plane import Plane, plane
from recoserve.inspection.vectors import user_and_item_vectors


def item_map(bundle: Bundle) -> Chart:
    """The item vectors on a plane, grouped by the first column of lists; raises OperatorError where there are no vectors."""
    _, table = user_and_item_vectors(bundle)
    projection, items = plane(table), ItemTitles(bundle)
    rows = projection.rows.tolist()
    column, groups = first_list_column(map(items.metadata, rows)) or (None, ())
    return Chart(
        heading=f"{bundle.manifest.name} {bundle.manifest.version}: map of {_item_count_text(projection)}",
        description=_description(bundle, table, projection),
        plane=projection,
        titles=[items.title(row) for row in rows],
        column=column,
        groups=groups,
    )


def _item_count_text(projection: Plane) -> str:
    drawn, total = len(projection.rows), projection.row_count
    return f"{drawn:,} items" if drawn == total else f"{drawn:,} of {total:,} items, a sample"


def _description(bundle: Bundle, table: Float32Array, projection: Plane) -> str:
    vectors = f"{table.shape[1]} dimensions" + (", unit length" if bundle.manifest.similarity == "cosine" else "")
    share = f"{sum(projection.shares) * 100:.1f} %"
    return f"Item vectors ({vectors}) along the two axes of largest variance, which hold {share} of it"
