"""recoserve: a bundle on disk in, each user's exact top-k items out, over HTTP, from the command line or from Python."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recoserve.client import AsyncClient, Client

    __version__: str

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: a program that only serves or exports doesn't wait for the client."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("recoserve")
    else:
        from recoserve import client

        value = getattr(client, name)
    globals()[name] = value  # so that Python doesn't ask here again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
