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
from recoserve.commands.arguments import BundleArgument, JsonOption, external_id
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
        *_named_once("lengths", length_lines),
        ("graphs", ", ".join(f"{role}: {file}" for role, file in manifest.graphs.items())),
        *_named_once("source", _pairs(manifest.source)),
        *_named_once("parity", _pairs(manifest.parity)),
        *_named_once("metrics", _pairs(manifest.metrics)),
        *_named_once("files", [f"{entry.bytes:>12,} bytes  {entry.path}" for entry in manifest.files]),
    ]
    for name, text in rows:
        table.add_row(name, Text(text))
    out.print(table)


def _named_once(name: str, lines: Iterable[str]) -> list[tuple[str, str]]:
    """Rows of a table, the name beside the first line alone."""
    return [(name if index == 0 else "", line) for index, line in enumerate(lines)]


def _pairs(members: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in members.items()]


def _inspect_vectors(bundle: Bundle, texts: list[str], map_file: Path | None, as_json: bool) -> None:
    neighbours = [report.nearest(bundle, text, external_id(bundle.items, text)) for text in texts]
    item_map_summary = _write_map(bundle, map_file) if map_file else None
    if as_json:
        print_json({"nearest": neighbours, "map": item_map_summary})
        return
    for item in neighbours:
        _print_nearest(item)
    if item_map_summary:
        out.print(Text("{file}: {drawn:,} of {items:,} items".format(**item_map_summary)), soft_wrap=True)


def _print_nearest(item: dict[str, Any]) -> None:
    out.print(Text(f"nearest to {item['title']} ({readable(str(item['item_id']))})", style="bold"))
    table = Table("item_id", "cosine", "title", box=None)
    for near in item["items"]:
        table.add_row(Text(readable(str(near["item_id"]))), f"{near['score']:.4f}", Text(near["title"]))
    out.print(table)


def _write_map(bundle: Bundle, path: Path) -> dict[str, Any]:
    """Write the map and return its summary: the file, how many items of how many it shows, the variance along each axis."""
    chart = item_map(bundle)
    path.write_text(MAP_WRITERS[path.suffix](chart), encoding="utf-8")
    return {"file": str(path), "drawn": len(chart.titles), "items": chart.plane.row_count, "variance_shares": chart.plane.shares}
