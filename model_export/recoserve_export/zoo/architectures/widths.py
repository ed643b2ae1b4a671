"""Widths that the architectures of both frameworks share."""

HIDDEN = 64  # width of the layer after the embeddings


def genre_width(dim: int) -> int:
    """The width of a genre's vector, if users and items have `dim`: 2/5 of that, rounded up; 3 → 2, 50 → 20."""
    return (2 * dim + 4) // 5
