"""A handful of items whose metadata has a column of every kind, and one that can't be filtered by."""

from recoserve.bundle.columns import Columns

SHOP = [
    {"genres": ["Comedy", "Drama"], "year": 1990, "new": True, "price": 9.5},
    {"genres": ["Drama"], "year": 2001, "new": False, "price": 12},
    {"genres": [], "year": None, "odd": 1},
    {"odd": "one"},
    {"genres": "Comédie", "year": 1990},
]
COLUMNS = Columns.from_metadata(SHOP, len(SHOP))
