"""The command line: `recoserve …`. Exit codes: 0 done, 1 the input is wrong, 2 wrong usage."""

import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recoserve import demo, strict_json
from recoserve.batch.plan import make_plan
from recoserve.bundle import contract
from recoserve.bundle.archive import Bundle, open_bundle, read_manifest
from recoserve.bundle.manifest import Manifest, document
from recoserve.bundle.repository import find_bundle, find_bundles
from recoserve.bundle.vocabulary import ExternalId, Vocabulary
from recoserve.errors import BundleInvalid, MalformedJson, OperatorError, RecoserveError, RequestError, SettingsInvalid
from recoserve.inspection import report
from recoserve.inspection.chart import item_map
from recoserve.inspection.drawing import svg
from recoserve.inspection.items import readable
from recoserve.inspection.page import html
from recoserve.recommend.recommender import recommend_now
from recoserve.recommend.requests import RecommendRequest, SelectionOptions
from recoserve.scheduling.loader import load_model
from recoserve.settings import Settings, load_settings
from recoserve.web import problems
from recoserve.web.encoders import recommendation
from recoserve.web.json_route import encoded, validated
from recoserve.web.server import serve as run_server

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Recommendations in production from a trained user-item embedding model.",
)
out, err = Console(highlight=False), Console(stderr=True, highlight=False)

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a folder of NAME/VERSION/ bundles.")]
Provider = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="ONNX Runtime execution provider.")]
Filter = Annotated[str, typer.Option("--filter", metavar="JSON", help='Clauses on item columns: {"genres": {"any": ["Comedy"]}}.')]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

MAPS = {".html": html, ".svg": svg}


def main() -> None:
    """The program; a user's mistake ends in one clear message and exit code 1, never in a traceback."""
    for point in entry_points(group="recoserve.commands"):
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name)(command)
    try:
        app()
    except RecoserveError as error:
        _fail(error)
    except OSError as error:
        _fail(RecoserveError(f"{error.filename}: {error.strerror}" if error.filename else str(error)))


@app.command()
def verify(bundle: BundleFolder, provider: Provider = None, as_json: AsJson = False) -> None:
    """Every check that the service does before it serves; exit 1 and a list of what is wrong."""
    folder = find_bundle(bundle)
    settings = load_settings(provider=provider)
    try:
        model = load_model(folder, settings.provider, settings.threads, settings.retrieval)
    except BundleInvalid as error:
        if as_json:
            print(_json({"bundle": str(bundle), "valid": False, "problems": error.problems}))
            raise typer.Exit(1) from None
        raise
    if as_json:
        print(_json({"bundle": str(bundle), "valid": True, "problems": []}))
        return
    info = model.manifest
    users = len(model.bundle.golden.user_row)
    shape = f"dimension {info.dim}" if info.dim else "no vectors"
    out.print(f"ok: {info.name} {info.version}: {len(info.files)} files, {info.users} users, {info.items} items, {shape}")
    out.print(f"ok: the golden sample of {users} users agrees on {model.provider}")


@app.command()
def inspect(
    bundle: BundleFolder,
    nearest: Annotated[
        list[str] | None,
        typer.Option(metavar="ID_OR_TITLE", help=f"The {report.NEAREST} items nearest to this one, by cosine; may be given again."),
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", metavar="FILE.html|FILE.svg", help="Write a map of the item vectors.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What is inside: counts, dimension, similarity, graphs, sizes, provenance, metrics, and what the vectors look like."""
    if map_file and map_file.suffix not in MAPS:
        raise typer.BadParameter("the file's name must end in .html or .svg", param_hint="--map")
    folder = find_bundle(bundle)
    if nearest or map_file:
        _inspect_vectors(open_bundle(folder), nearest or [], map_file, as_json)
        return
    found = read_manifest(folder)
    try:
        lengths, why = report.lengths(open_bundle(folder)), ""
    except OperatorError as error:  # what the manifest says can be shown all the same
        lengths, why = None, str(error).splitlines()[0]
    if as_json:
        print(_json({**document(found), "vectors": report.length_values(lengths) if lengths else None}))
        return
    _print_manifest(found, report.length_lines(lengths, found.similarity == "cosine") if lengths else [f"not shown: {why}"])


@app.command()
def recommend(
    bundle: BundleFolder,
    user: Annotated[str, typer.Option(help="The user's id.")],
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    exclude_item: Annotated[list[str] | None, typer.Option(help="An item never in the answer; may be given again.")] = None,
    exclude_seen: Annotated[bool, typer.Option(help="Leave out the user's own interactions.")] = False,
    candidate_item: Annotated[list[str] | None, typer.Option(help="Rank these items alone; may be given again.")] = None,
    filter: Filter = "{}",
    diversity: Annotated[float, typer.Option(help="0: the plain top-k; up to 1: items unlike each other.")] = 0.0,
    fallback: Annotated[Literal["popular"] | None, typer.Option(help="For a user whom the bundle doesn't know.")] = None,
    metadata: Annotated[bool, typer.Option(help="Add each item's metadata.")] = False,
    provider: Provider = None,
    as_json: AsJson = False,
) -> None:
    """The same answer as the service, without a server."""
    settings = load_settings(provider=provider)
    model = load_model(find_bundle(bundle), settings.provider, settings.threads, settings.retrieval)
    users, items = model.bundle.users, model.bundle.items
    fields = {
        "user_id": _external(users, user),
        "k": k,
        "exclude_item_ids": [_external(items, item) for item in exclude_item or []],
        "exclude_seen": exclude_seen,
        "candidate_item_ids": [_external(items, item) for item in candidate_item] if candidate_item else None,
        "filter": _filter(filter),
        "diversity": diversity,
        "fallback": fallback,
        "include": ["metadata"] if metadata or not as_json else [],
    }
    wanted = validated(RecommendRequest, fields, settings)
    answer = recommendation(wanted, recommend_now(model, wanted))
    if as_json:
        print(_json(answer))
        return
    _print_items(answer)


@app.command()
def batch(
    bundle: BundleFolder,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.parquet", help="The file to write.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each user.")] = 100,
    exclude_item: Annotated[list[str] | None, typer.Option(help="An item in no list; may be given again.")] = None,
    exclude_seen: Annotated[bool, typer.Option("--exclude-seen", help="Leave out each user's own interactions.")] = False,
    filter: Filter = "{}",
    provider: Provider = None,
    threads: Annotated[int | None, typer.Option(help="Threads for inference; 0: the container's CPU limit.")] = None,
    batch_rows: Annotated[int, typer.Option(min=1, help="Users ranked in one run.")] = 256,
    part_seconds: Annotated[float, typer.Option(min=0, help="What is ranked is safe on the disk this often.")] = 10.0,
    restart: Annotated[bool, typer.Option("--restart", help="Give up what an interrupted run has finished.")] = False,
    as_json: AsJson = False,
) -> None:
    """The top k of every user, to a Parquet file; interrupted, the same command goes on."""
    if find_spec("pyarrow") is None:
        raise OperatorError("a Parquet file needs pyarrow: pip install 'recoserve[batch]'")
    from recoserve.batch.run import refuse_finished, write_all

    refuse_finished(output)
    settings = load_settings(provider=provider, threads=threads)
    try:
        model = load_model(find_bundle(bundle), settings.provider, settings.threads, settings.retrieval)
        excluded = [_external(model.bundle.items, item) for item in exclude_item or []]
        clauses = validated(SelectionOptions, {"filter": _filter(filter)}, settings).conditions
        plan = make_plan(model.bundle, k, exclude_seen, excluded, clauses)
        done = write_all(model, plan, output, batch_rows, part_seconds, restart)
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on with what is finished", soft_wrap=True)
        raise typer.Exit(130) from None
    if as_json:
        print(_json({"output": str(output), **done.document(), "plan": plan.document()}))
        return
    out.print(Text(f"{output}: {done.told()}"), soft_wrap=True)


@app.command()
def serve(
    models: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE_OR_FOLDER", help="A bundle, or a folder of NAME/VERSION/ bundles.")
    ] = None,
    default_model: Annotated[str | None, typer.Option(help="The model that answers where a request names none.")] = None,
    or_demo: Annotated[bool | None, typer.Option("--or-demo", help="Serve the demo where the folder holds no bundle.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one.")] = None,
    provider: Provider = None,
    threads: Annotated[int | None, typer.Option(help="Threads for inference; 0: the container's CPU limit.")] = None,
    retrieval: Annotated[
        Literal["exact", "plain"] | None, typer.Option(help="By proved bounds, or by a full scan; the same answers.")
    ] = None,
    max_k: Annotated[int | None, typer.Option(help="Largest k that a request may ask for.")] = None,
    max_list_ids: Annotated[int | None, typer.Option(help="Most ids in one list of a request.")] = None,
    max_answer_items: Annotated[int | None, typer.Option(help="Most items in one answer: a batch's users times k.")] = None,
    max_batch_rows: Annotated[int | None, typer.Option(help="Most users answered in one run.")] = None,
    max_queue_rows: Annotated[int | None, typer.Option(help="Users waiting or being answered at once.")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="Largest request body.")] = None,
    request_timeout_ms: Annotated[int | None, typer.Option(help="A request's deadline.")] = None,
    drain_seconds: Annotated[float | None, typer.Option(help="After SIGTERM: time served on while not ready.")] = None,
    log_format: Annotated[Literal["json", "text"] | None, typer.Option(help="For machines or for people.")] = None,
) -> None:
    """Serve a bundle, or all models of a folder, over HTTP. Each option has an environment variable, RECOSERVE_ and its name."""
    options = {name: value for name, value in locals().items() if value is not None}
    settings = load_settings(**options)
    run_server(settings, _served_bundles(settings))


@app.command("demo")
def serve_demo(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one.")] = None,
) -> None:
    """Serve the built-in bundle: a made-up library of books and its readers."""
    settings = load_settings(host=host, port=port, log_format="text")
    run_server(settings, [demo.BUNDLE], _invite)


def _served_bundles(settings: Settings) -> list[Path]:
    """One of each model, the default one first."""
    if settings.models is None:
        raise SettingsInvalid("name a bundle or a models folder: recoserve serve BUNDLE_OR_FOLDER, or set RECOSERVE_MODELS")
    bundles = find_bundles(demo.BUNDLE if settings.or_demo and not _holds_folders(settings.models) else settings.models)
    default = next(iter(bundles)) if settings.default_model is None else settings.default_model
    if default not in bundles:
        raise SettingsInvalid(f"default model {default}: there is no such model; choose one of {', '.join(bundles)}")
    return [bundles.pop(default), *bundles.values()]


def _holds_folders(path: Path) -> bool:
    """Whether somebody has put a model there. A broken one counts: it must be an error, never the demo in its place."""
    return path.is_dir() and any(
        item.name == contract.MANIFEST or (item.is_dir() and item.name[0] != ".") for item in path.iterdir()
    )


def _invite(url: str) -> None:
    body = '{"user_id": 42, "k": 10, "include": ["metadata"]}'
    out.print(f"\nThe demo library answers on {url}. Try:\n", style="bold")
    print(f"  curl -s {url}/recommend -H 'Content-Type: application/json' -d '{body}'\n", flush=True)
    out.print(f"In a browser: {url}/   Stop: Ctrl-C\n")


def _external(vocabulary: Vocabulary, text: str) -> ExternalId:
    """A word of the command line as an id: a number where the bundle's ids are numbers."""
    if vocabulary.id_type is str:
        return text
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 30 else text


def _filter(text: str) -> Any:
    """A filter from the command line; raises MalformedJson."""
    try:
        return strict_json.parse(text.encode())
    except MalformedJson as error:
        raise MalformedJson(f"--filter: {error}") from None


def _print_manifest(found: Manifest, lengths: list[str]) -> None:
    table = Table(show_header=False, box=None)
    rows: list[tuple[str, object]] = [
        ("model", f"{found.name} {found.version}, created {found.created}"),
        ("similarity", f"{found.similarity}, {'no vectors' if found.dim is None else f'dimension {found.dim}'}"),
        ("users", f"{found.users:,} ({found.ids['user']} ids)"),
        ("items", f"{found.items:,} ({found.ids['item']} ids)"),
        ("interactions", f"{found.interactions:,}"),
        *(("lengths" if not place else "", line) for place, line in enumerate(lengths)),
        ("graphs", ", ".join(f"{role}: {file}" for role, file in found.graphs.items())),
        *(("source" if not place else "", f"{key}: {value}") for place, (key, value) in enumerate(found.source.items())),
        *(("parity" if not place else "", f"{key}: {value}") for place, (key, value) in enumerate(found.parity.items())),
        *(("metrics" if not place else "", f"{key}: {value}") for place, (key, value) in enumerate(found.metrics.items())),
        *(("files" if not place else "", f"{entry.bytes:>12,} bytes  {entry.path}") for place, entry in enumerate(found.files)),
    ]
    for name, value in rows:
        table.add_row(name, Text(str(value)))
    out.print(table)


def _inspect_vectors(bundle: Bundle, texts: list[str], map_file: Path | None, as_json: bool) -> None:
    answers = [report.nearest(bundle, text, _external(bundle.items, text)) for text in texts]
    drawn = _write_map(bundle, map_file) if map_file else None
    if as_json:
        print(_json({"nearest": answers, "map": drawn}))
        return
    for answer in answers:
        _print_nearest(answer)
    if drawn:
        out.print(Text("{file}: {drawn:,} of {items:,} items".format(**drawn)), soft_wrap=True)


def _print_nearest(answer: dict[str, Any]) -> None:
    out.print(Text(f"nearest to {answer['title']} ({readable(str(answer['item_id']))})", style="bold"))
    table = Table("item_id", "cosine", "title", box=None)
    for item in answer["items"]:
        table.add_row(Text(readable(str(item["item_id"]))), f"{item['score']:.4f}", Text(item["title"]))
    out.print(table)


def _write_map(bundle: Bundle, path: Path) -> dict[str, Any]:
    chart = item_map(bundle)
    path.write_text(MAPS[path.suffix](chart), encoding="utf-8")
    return {"file": str(path), "drawn": len(chart.titles), "items": chart.plane.of, "variance_shares": chart.plane.shares}


def _print_items(answer: dict[str, Any]) -> None:
    columns = list(dict.fromkeys(name for item in answer["items"] for name in item["metadata"]))
    table = Table("item_id", "score", *columns, box=None)
    for item in answer["items"]:
        cells = [item["metadata"].get(name, "") for name in columns]
        shown = [", ".join(map(str, cell)) if isinstance(cell, list) else str(cell) for cell in cells]
        table.add_row(str(item["item_id"]), f"{item['score']:.4f}", *map(Text, shown))  # a title is no markup
    out.print(table)


def _json(value: object) -> str:
    return encoded(value).decode()


def _fail(error: RecoserveError) -> None:
    """Print the message, and which fields are at fault, and exit with 1."""
    lines = error.problems if isinstance(error, BundleInvalid) else (str(error),)
    if isinstance(error, RequestError):
        lines += tuple(f"{problems.pointer(field.path)}: {field.detail}" for field in error.fields)
    for line in lines:
        err.print("[red]error:[/red]", end=" ")
        print(line, file=sys.stderr)
    raise SystemExit(1)
