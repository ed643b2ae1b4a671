"""The content of a bundle's map: where its items lie, their titles and groups."""

from recoserve.bundle.archive import Bundle
from recoserve.bundle.arrays import Float32Array
from recoserve.inspection.drawing import Chart
from recoserve.inspection.items import ItemTitles, first_list_column
from recoserve.inspection.plane import Plane, plane
from recoserve.inspection.vectors import user_and_item_vectors


def item_map(bundle: Bundle) -> Chart:
    """The item vectors on a plane, coloured by the first column of lists; raises OperatorError where there are no vectors."""
    _, table = user_and_item_vectors(bundle)
    projection, items = plane(table), ItemTitles(bundle)
    rows = projection.rows.tolist()
    column, groups = first_list_column(map(items.metadata, rows)) or (None, ())
    return Chart(
        heading=f"{bundle.manifest.name} {bundle.manifest.version}: map of {_count(projection)}",
        description=_description(bundle, table, projection),
        plane=projection,
        titles=[items.title(row) for row in rows],
        column=column,
        groups=groups,
    )


def _count(projection: Plane) -> str:
    drawn = len(projection.rows)
    return f"{drawn:,} items" if drawn == projection.row_count else f"{drawn:,} of {projection.row_count:,} items, a sample"


def _description(bundle: Bundle, table: Float32Array, projection: Plane) -> str:
    vectors = f"{table.shape[1]} dimensions" + (", unit length" if bundle.manifest.similarity == "cosine" else "")
    share = f"{sum(projection.shares) * 100:.1f} %"
    return f"Item vectors ({vectors}) along the two axes of largest variance, which hold {share} of it"
