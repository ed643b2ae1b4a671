"""Picks the user's and the item's among the names of a model's inputs, parameters or tensors."""

import re
from collections.abc import Collection, Sequence

from recoserve.errors import ExportRefused

USER_WORDS = ("user",)
ITEM_WORDS = ("item", "movie", "book", "product")
REMEDY = "Pass --user-input NAME and --item-input NAME"


def pick_sides(
    kind: str,
    names: Sequence[str],
    user: str | None,
    item: str | None,
    features: Collection[str] = (),
    remedy: str = REMEDY,
) -> tuple[str, str]:
    """Of `names`, the user's and the item's; raises ExportRefused, with a list of all names, if that isn't certain.

    `kind` says in messages what has these names. `user` and `item` are the names themselves, if the caller knows them; `features`
    are names of neither side. A name that is a side's word, such as `item` or `item_id`, is preferred to one that contains it, such
    as `item_genre`.
    """
    listing = f"the {kind} are: {', '.join(names) or 'none'}. {remedy}"
    if unknown := [name for name in features if name not in names]:
        raise ExportRefused(f"no {unknown[0]!r} among them: {listing}")
    sides = (
        _pick("user", names, user, USER_WORDS, features, listing),
        _pick("item", names, item, ITEM_WORDS, features, listing),
    )
    if sides[0] == sides[1]:
        raise ExportRefused(f"{sides[0]!r} can't be both the user's and the item's: {listing}")
    if shared := set(sides) & set(features):
        raise ExportRefused(f"{shared.pop()!r} can't be a feature and also the user's or the item's: {listing}")
    return sides


def _pick(
    side: str, names: Sequence[str], explicit: str | None, words: Sequence[str], features: Collection[str], listing: str
) -> str:
    if explicit:
        matches, problem = [name for name in names if name == explicit], f"no {explicit!r} among them"
    else:
        matches = _named_like(words, [name for name in names if name not in features])
        problem = f"{len(matches) or 'none'} of them named like the {side} side"
    if len(matches) != 1:
        raise ExportRefused(f"can't tell which is the {side}'s ({problem}): {listing}")
    return matches[0]


def _named_like(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """The one name that is one of the words, perhaps with `id`; if there isn't exactly one, all names that contain a word."""
    exact = [name for name in names if re.sub(r"[^a-z]", "", name.lower()).removesuffix("id") in words]
    return exact if len(exact) == 1 else [name for name in names if any(word in name.lower() for word in words)]
