"""`recoserve inspect`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from recoserve.bundle.archive import Bundle, open_bundle, read_manifest
from recoserve.bundle.manifest import Manifest
from recoserve.bundle.repository import find_bundle
from recoserve.commands.arguments import BundleArgument, JsonOption, parse_external_id
from recoserve.commands.terminal import out, print_json
from recoserve.errors import OperatorError
from recoserve.inspection import report
from recoserve.inspection.chart import item_map
from recoserve.inspection.drawing import svg
from recoserve.inspection.items import readable
from recoserve.inspection.page import html

MAP_WRITERS = {".html": html, ".svg": svg}


def inspect(
    bundle: BundleArgument,
    nearest: Annotated[
        list[str] | None,
        typer.Option(metavar="ID_OR_TITLE", help=f"The {report.NEAREST} items nearest to this one, by cosine; may be given again."),
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", metavar="FILE.html|FILE.svg", help="Write a map of the item vectors.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a bundle holds: counts, dimension, similarity, graphs, sizes, provenance, metrics, vectors."""
    if map_file and map_file.suffix not in MAP_WRITERS:
        raise typer.BadParameter("the file's name must end in .html or .svg", param_hint="--map")
    folder = find_bundle(bundle)
    if nearest or map_file:
        _inspect_vectors(open_bundle(folder), nearest or [], map_file, as_json)
    else:
        _inspect_manifest(folder, as_json)


def _inspect_manifest(folder: Path, as_json: bool) -> None:
    manifest = read_manifest(folder)
    try:
        lengths, reason = report.lengths(open_bundle(folder)), ""
    except OperatorError as error:  # the files are damaged or hold no vectors; the manifest can be shown nevertheless
        lengths, reason = None, str(error).splitlines()[0]
    if as_json:
        print_json({**manifest.document(), "vectors": report.length_values(lengths) if lengths else None})
        return
    _print_manifest(
        manifest, report.length_lines(lengths, manifest.similarity == "cosine") if lengths else [f"not shown: {reason}"]
    )


def _print_manifest(manifest: Manifest, length_lines: list[str]) -> None:
    table = Table(show_header=False, box=None)
    rows: list[tuple[str, str]] = [
        ("model", f"{manifest.name} {manifest.version}, created {manifest.created}"),
        ("similarity", f"{manifest.similarity}, {'no vectors' if manifest.dim is None else f'dimension {manifest.dim}'}"),
        ("users", f"{manifest.users:,} ({manifest.ids['user']} ids)"),
        ("items", f"{manifest.items:,} ({manifest.ids['item']} ids)"),
        ("interactions", f"{manifest.interactions:,}"),
        *_rows_under("lengths", length_lines),
        ("graphs", ", ".join(f"{role}: {file}" for role, file in manifest.graphs.items())),
        *_rows_under("source", _member_lines(manifest.source)),
        *_rows_under("parity", _member_lines(manifest.parity)),
        *_rows_under("metrics", _member_lines(manifest.metrics)),
        *_rows_under("files", [f"{entry.bytes:>12,} bytes  {entry.path}" for entry in manifest.files]),
    ]
    for name, text in rows:
        table.add_row(name, Text(text))
    out.print(table)


def _rows_under(name: str, lines: Iterable[str]) -> list[tuple[str, str]]:
    """A row of the table for each line, with the name beside the first line only."""
    return [(name if index == 0 else "", line) for index, line in enumerate(lines)]


def _member_lines(members: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in members.items()]


def _inspect_vectors(bundle: Bundle, ids_or_titles: list[str], map_file: Path | None, as_json: bool) -> None:
    items = [report.nearest(bundle, text, parse_external_id(bundle.items, text)) for text in ids_or_titles]
    item_map_summary = _write_map(bundle, map_file) if map_file else None
    if as_json:
        print_json({"nearest": items, "map": item_map_summary})
        return
    for item in items:
        _print_nearest(item)
    if item_map_summary:
        out.print(Text("{file}: {drawn:,} of {items:,} items".format(**item_map_summary)), soft_wrap=True)


def _print_nearest(item: dict[str, Any]) -> None:
    out.print(Text(f"nearest to {item['title']} ({readable(str(item['item_id']))})", style="bold"))
    table = Table("item_id", "cosine", "title", box=None)
    for neighbour in item["items"]:
        table.add_row(Text(readable(str(neighbour["item_id"]))), f"{neighbour['score']:.4f}", Text(neighbour["title"]))
    out.print(table)


def _write_map(bundle: Bundle, path: Path) -> dict[str, Any]:
    """Write the map; return its file, the number of items drawn and of all items, and each axis's share of the variance."""
    chart = item_map(bundle)
    path.write_text(MAP_WRITERS[path.suffix](chart), encoding="utf-8")
    return {"file": str(path), "drawn": len(chart.titles), "items": chart.plane.row_count, "variance_shares": chart.plane.shares}
