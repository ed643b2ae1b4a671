"""`recoserve batch`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from recoserve.batch.plan import make_plan
from recoserve.bundle.repository import find_bundle
from recoserve.commands.arguments import BundleArgument, FilterOption, JsonOption, ProviderOption, parse_external_id, parse_filter
from recoserve.commands.terminal import err, out, print_json
from recoserve.errors import OperatorError
from recoserve.recommend.requests import SelectionOptions
from recoserve.scheduling.loader import load_model
from recoserve.settings import load_settings

INTERRUPTED = 130  # the exit code of a program that SIGINT ended


def batch(
    bundle: BundleArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.parquet", help="The file to write.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each user.")] = 100,
    exclude_item: Annotated[list[str] | None, typer.Option(help="An item to recommend to nobody; may be given again.")] = None,
    exclude_seen: Annotated[bool, typer.Option("--exclude-seen", help="Leave out each user's own interactions.")] = False,
    filter: FilterOption = "{}",
    provider: ProviderOption = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of one inference; 0: as many as the CPUs that the process may use, or 1 for a small model."),
    ] = None,
    batch_rows: Annotated[int, typer.Option(min=1, help="Users ranked in one run.")] = 256,
    part_seconds: Annotated[float, typer.Option(min=0, help="How often the users ranked so far are written to the disk.")] = 10.0,
    restart: Annotated[bool, typer.Option("--restart", help="Discard what an interrupted run has finished.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write every user's top k to a Parquet file; after an interruption, the same command continues."""
    if find_spec("pyarrow") is None:
        raise OperatorError("a Parquet file needs pyarrow: pip install 'recoserve[batch]'")
    from recoserve.batch.run import refuse_finished, write_all  # here, since it imports pyarrow

    refuse_finished(output)
    settings = load_settings(provider=provider, threads=threads)
    try:
        model = load_model(find_bundle(bundle), settings.provider, settings.threads, settings.retrieval)
        excluded_ids = [parse_external_id(model.bundle.items, item) for item in exclude_item or []]
        clauses = SelectionOptions.from_document({"filter": parse_filter(filter)}, settings).clauses
        plan = make_plan(model.bundle, k, exclude_seen, excluded_ids, clauses)
        summary = write_all(model, plan, output, batch_rows, part_seconds, restart)
    except KeyboardInterrupt:
        err.print("interrupted; to continue, run the same command again", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json({"output": str(output), **summary.document(), "plan": plan.document()})
    else:
        out.print(Text(f"{output}: {summary.in_words()}"), soft_wrap=True)
