"""The map of a bundle's items, ready to be drawn."""

from recoserve.bundle.archive import Bundle
from recoserve.inspection.drawing import Chart
from recoserve.inspection.items import Items, groups
from recoserve.inspection.plane import Plane, plane
from recoserve.inspection.vectors import Table, user_and_item_vectors


def item_map(bundle: Bundle) -> Chart:
    """The item vectors laid out flat, coloured by the first list-like column; raises OperatorError where there are no vectors."""
    _, table = user_and_item_vectors(bundle)
    flat, items = plane(table), Items(bundle)
    found = groups(items.metadata(int(row)) for row in flat.rows)
    return Chart(
        heading=f"{bundle.manifest.name} {bundle.manifest.version}: map of {_counted(flat)}",
        about=_about(bundle, table, flat),
        plane=flat,
        titles=[items.title(int(row)) for row in flat.rows],
        column=found[0] if found else None,
        groups=found[1] if found else (),
    )


def _counted(flat: Plane) -> str:
    drawn = len(flat.rows)
    return f"{drawn:,} items" if drawn == flat.of else f"{drawn:,} of {flat.of:,} items, a sample"


def _about(bundle: Bundle, table: Table, flat: Plane) -> str:
    vectors = f"{table.shape[1]} dimensions" + (", unit length" if bundle.manifest.similarity == "cosine" else "")
    return f"Item vectors ({vectors}) along the two axes of largest variance, which hold {sum(flat.shares) * 100:.1f} % of it"
