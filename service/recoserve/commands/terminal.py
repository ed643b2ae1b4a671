"""How the commands print: tables and text with `out` to standard output, notices with `err` to standard error."""

from rich.console import Console

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print a value as one line of JSON, with numbers as the service writes them."""
    from recoserve.web.encoders import to_json  # here, so that a command that prints text doesn't load it

    print(to_json(value).decode())
