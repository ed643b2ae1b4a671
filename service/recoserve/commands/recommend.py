"""`recoserve recommend`."""

from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from recoserve.bundle.repository import find_bundle
from recoserve.commands.arguments import BundleArgument, FilterOption, JsonOption, ProviderOption, parse_external_id, parse_filter
from recoserve.commands.terminal import out, print_json
from recoserve.recommend import top_k
from recoserve.recommend.requests import RecommendRequest
from recoserve.scheduling.loader import load_model
from recoserve.settings import load_settings
from recoserve.web.encoders import UserEncoder


def recommend(
    bundle: BundleArgument,
    user: Annotated[str, typer.Option(help="The user's id.")],
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    exclude_item: Annotated[list[str] | None, typer.Option(help="An item that is not recommended; may be given again.")] = None,
    exclude_seen: Annotated[bool, typer.Option(help="Leave out the user's own interactions.")] = False,
    candidate_item: Annotated[
        list[str] | None, typer.Option(help="An item to rank, in place of all items; may be given again.")
    ] = None,
    filter: FilterOption = "{}",
    diversity: Annotated[float, typer.Option(help="From 0, the plain top k, to 1: items less and less alike.")] = 0.0,
    fallback: Annotated[
        Literal["popular"] | None, typer.Option(help="popular: the most popular items for a user whom the bundle doesn't know.")
    ] = None,
    metadata: Annotated[bool, typer.Option(help="Add each item's metadata.")] = False,
    provider: ProviderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to a user as the service does, without a server."""
    settings = load_settings(provider=provider)
    model = load_model(find_bundle(bundle), settings.provider, settings.threads, settings.retrieval)
    users, items = model.bundle.users, model.bundle.items
    fields = {
        "user_id": parse_external_id(users, user),
        "k": k,
        "exclude_item_ids": [parse_external_id(items, item) for item in exclude_item or []],
        "exclude_seen": exclude_seen,
        "candidate_item_ids": [parse_external_id(items, item) for item in candidate_item] if candidate_item else None,
        "filter": parse_filter(filter),
        "diversity": diversity,
        "fallback": fallback,
        "include": ["metadata"] if metadata or not as_json else [],  # the table always shows metadata
    }
    request = RecommendRequest.from_document(fields, settings)
    work = top_k.for_user(model, request)
    (ranking,) = model.rank(work.queries)
    response = UserEncoder(request, work).document(ranking)
    if as_json:
        print_json(response)
    else:
        _print_items(response["items"])


def _print_items(items: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for item in items for name in item["metadata"]))
    table = Table("item_id", "score", *columns, box=None)
    for item in items:
        cells = [_cell_text(item["metadata"].get(name, "")) for name in columns]
        # As Text: rich takes a plain string for markup, in which a title such as "[Rec]" vanishes.
        table.add_row(str(item["item_id"]), f"{item['score']:.4f}", *map(Text, cells))
    out.print(table)


def _cell_text(cell: Any) -> str:
    return ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell)
