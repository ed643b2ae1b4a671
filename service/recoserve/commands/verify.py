"""`recoserve verify`."""

import typer

from recoserve.bundle.repository import find_bundle
from recoserve.commands.arguments import BundleArgument, JsonOption, ProviderOption
from recoserve.commands.terminal import out, print_json
from recoserve.errors import BundleInvalid
from recoserve.scheduling.loader import load_model
from recoserve.search.model import Model
from recoserve.settings import load_settings


def verify(bundle: BundleArgument, provider: ProviderOption = None, as_json: JsonOption = False) -> None:
    """Check a bundle as the service does before it serves; if it fails, list what is wrong and exit with 1."""
    folder = find_bundle(bundle)
    settings = load_settings(provider=provider)
    try:
        model = load_model(folder, settings.provider, settings.threads, settings.retrieval)
    except BundleInvalid as error:
        if not as_json:
            raise
        print_json({"bundle": str(bundle), "valid": False, "problems": error.problems})
        raise typer.Exit(1) from None
    if as_json:
        print_json({"bundle": str(bundle), "valid": True, "problems": []})
    else:
        _print_checks(model)


def _print_checks(model: Model) -> None:
    manifest = model.manifest
    dimension = f"dimension {manifest.dim}" if manifest.dim else "no vectors"
    counts = f"{len(manifest.files)} files, {manifest.users} users, {manifest.items} items, {dimension}"
    out.print(f"ok: {manifest.name} {manifest.version}: {counts}")
    out.print(f"ok: the golden sample of {len(model.bundle.golden.user_row)} users agrees on {model.provider}")
