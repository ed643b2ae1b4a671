"""recoserve: a bundle on disk in, each user's exact top-k items out, over HTTP, from the command line or from Python."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recoserve.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the client when it is first used: whoever only exports or serves doesn't wait for it."""
    if name == "__version__":
        return version("recoserve")
    if name in __all__:
        from recoserve import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
