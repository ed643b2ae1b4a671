"""`recoserve serve` and `recoserve demo`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from recoserve.bundle import contract
from recoserve.bundle.repository import find_bundles
from recoserve.commands.arguments import ProviderOption
from recoserve.commands.terminal import out
from recoserve.demo import BUNDLE
from recoserve.errors import SettingsInvalid
from recoserve.settings import Settings, load_settings
from recoserve.web import server


def _setting(name: str, *declarations: str, **options: Any) -> Any:
    """The option of a setting, with the setting's own description as its help."""
    return typer.Option(*declarations, help=Settings.model_fields[name].description, **options)


HostOption = Annotated[str | None, _setting("host")]
PortOption = Annotated[int | None, _setting("port")]


def serve(
    models: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE_OR_FOLDER", help=Settings.model_fields["models"].description)
    ] = None,
    default_model: Annotated[str | None, _setting("default_model")] = None,
    or_demo: Annotated[bool | None, _setting("or_demo", "--or-demo")] = None,
    host: HostOption = None,
    port: PortOption = None,
    provider: ProviderOption = None,
    threads: Annotated[int | None, _setting("threads")] = None,
    retrieval: Annotated[Literal["exact", "plain"] | None, _setting("retrieval")] = None,
    max_k: Annotated[int | None, _setting("max_k")] = None,
    max_list_ids: Annotated[int | None, _setting("max_list_ids")] = None,
    max_answer_items: Annotated[int | None, _setting("max_answer_items")] = None,
    max_batch_rows: Annotated[int | None, _setting("max_batch_rows")] = None,
    max_queue_rows: Annotated[int | None, _setting("max_queue_rows")] = None,
    max_body_bytes: Annotated[int | None, _setting("max_body_bytes")] = None,
    request_timeout_ms: Annotated[int | None, _setting("request_timeout_ms")] = None,
    drain_seconds: Annotated[float | None, _setting("drain_seconds")] = None,
    log_format: Annotated[Literal["json", "text"] | None, _setting("log_format")] = None,
) -> None:
    """Serve a bundle, or all models of a folder, over HTTP.

    Each option can be an environment variable too: RECOSERVE_MAX_K for --max-k, and RECOSERVE_MODELS for BUNDLE_OR_FOLDER.
    """
    settings = load_settings(**locals())
    server.serve(settings, _served_bundles(settings))


def demo(host: HostOption = None, port: PortOption = None) -> None:
    """Serve the built-in bundle: a made-up library of books and its readers."""
    settings = load_settings(host=host, port=port, log_format="text")
    server.serve(settings, [BUNDLE], _print_example)


def _served_bundles(settings: Settings) -> list[Path]:
    """The bundle of each model, the default model's first.

    Raises SettingsInvalid if no folder is named or the default model isn't there, and BundleInvalid if there is nothing to serve.
    """
    if settings.models is None:
        raise SettingsInvalid("name a bundle or a models folder: recoserve serve BUNDLE_OR_FOLDER, or set RECOSERVE_MODELS")
    bundles = find_bundles(BUNDLE if settings.or_demo and not _holds_models(settings.models) else settings.models)
    default = next(iter(bundles)) if settings.default_model is None else settings.default_model
    if default not in bundles:
        raise SettingsInvalid(f"default model {default}: there is no such model; choose one of {', '.join(bundles)}")
    return [bundles.pop(default), *bundles.values()]


def _holds_models(path: Path) -> bool:
    """Whether `path` holds a manifest or visible folders. They may be broken models: then an error is right, not the demo."""
    return path.is_dir() and any(
        entry.name == contract.MANIFEST or (entry.is_dir() and entry.name[0] != ".") for entry in path.iterdir()
    )


def _print_example(url: str) -> None:
    body = '{"user_id": 42, "k": 10, "include": ["metadata"]}'
    out.print(f"\nThe demo library answers on {url}. Try:\n", style="bold")
    print(f"  curl -s {url}/recommend -H 'Content-Type: application/json' -d '{body}'\n", flush=True)
    out.print(f"In a browser: {url}/   Stop: Ctrl-C\n")
