"""The command line: `recoserve …`. Exit codes: 0 done, 1 the input is wrong, 2 wrong usage.

A command is imported when it is called: `recoserve --help` waits for no command's imports, and a command that is missing or
broken costs no other one anything.
"""

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from recoserve.commands.terminal import err
from recoserve.errors import BundleInvalid, OperatorError, RecoserveError, RequestError

GROUP = "recoserve.commands"  # of the entry points by which other packages add commands


class Command(NamedTuple):
    """What is known of a command without importing it.

    `help`: the beginning of its own docstring. `location`: MODULE:FUNCTION, empty where it is the entry point of another package.
    `install`: what to do where it can't be imported.
    """

    help: str
    location: str = ""
    install: str = "reinstall recoserve"


COMMANDS = {
    "demo": Command("Serve the built-in bundle: a made-up library of books and its readers.", "recoserve.commands.serve:demo"),
    "serve": Command("Serve a bundle, or all models of a folder, over HTTP.", "recoserve.commands.serve:serve"),
    "verify": Command(
        "Check a bundle as the service does before it serves; exit 1 and list what is wrong.", "recoserve.commands.verify:verify"
    ),
    "inspect": Command(
        "Show what a bundle holds: counts, dimension, similarity, graphs, sizes, provenance, metrics, vectors.",
        "recoserve.commands.inspect:inspect",
    ),
    "recommend": Command(
        "Recommend items to a user as the service does, without a server.", "recoserve.commands.recommend:recommend"
    ),
    "batch": Command(
        "Write every user's top k to a Parquet file; after an interruption, the same command continues.",
        "recoserve.commands.batch:batch",
    ),
    "export": Command(
        "Export a trained model as a bundle, after checking that the bundle ranks and scores as the model does.",
        install="pip install 'recoserve[export]'",
    ),
    "train": Command(
        "Train a model on a ratings file and write it as a verified bundle.", install="pip install 'recoserve[train]'"
    ),
    "bench": Command(
        "Measure this product and its peers side by side, on the same data.",
        install="pip install -e '.[bench]' in a checkout of the sources",
    ),
}


class CommandGroup(TyperGroup):
    """Commands that are imported when they are called.

    `commands` holds a stand-in for each, with its name and its help, for the list of commands and for suggestions after a
    misspelt name; `resolve_command` imports the real one. The entry points of other packages are looked for when the list is
    shown or a name isn't built in.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._entry_points: dict[str, EntryPoint] = {}
        for name, command in COMMANDS.items():
            if command.location:
                self._add(EntryPoint(name, command.location, GROUP))

    def list_commands(self, ctx: Any) -> list[str]:
        self._add_entry_points()
        return sorted(super().list_commands(ctx), key=_position)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._add_entry_points()
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, arguments = super().resolve_command(ctx, args)
        return name, name and _load(self._entry_points[name]), arguments

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ImportError as error:  # of a package that a command imports only where it needs it
            raise _unavailable(self._entry_points[ctx.invoked_subcommand], error) from error

    def _add_entry_points(self) -> None:
        for entry_point in entry_points(group=GROUP):
            if entry_point.name not in self.commands:
                self._add(entry_point)

    def _add(self, entry_point: EntryPoint) -> None:
        name = entry_point.name
        self._entry_points[name] = entry_point
        self.commands[name] = TyperCommand(name, help=_described(entry_point).help)


def _position(name: str) -> int:
    """Commands of this product in the order of the table, then others."""
    return list(COMMANDS).index(name) if name in COMMANDS else len(COMMANDS)


def _described(entry_point: EntryPoint) -> Command:
    distribution = entry_point.dist.name if entry_point.dist else "another package"
    return COMMANDS.get(entry_point.name, Command(f"A command of {distribution}.", install=f"reinstall {distribution}"))


def _load(entry_point: EntryPoint) -> Any:
    """Import a function or a `typer.Typer` and make a command of it; raises OperatorError where that fails."""
    holder = typer.Typer()
    try:
        command = entry_point.load()
        if isinstance(command, typer.Typer):
            holder.add_typer(command, name=entry_point.name)
        else:
            holder.command(entry_point.name)(command)
        return typer.main.get_group(holder).commands[entry_point.name]
    except Exception as error:  # a module can raise anything while it is imported
        raise _unavailable(entry_point, error) from error


def _unavailable(entry_point: EntryPoint, error: Exception) -> OperatorError:
    reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
    line = " ".join(reason.split())
    return OperatorError(f"recoserve {entry_point.name} can't run: {line}; to mend it: {_described(entry_point).install}")


app = typer.Typer(cls=CommandGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def recoserve() -> None:
    """Recommendations in production from a trained user-item embedding model."""


def main() -> None:
    """Run the program; a user's mistake ends in one clear message and exit code 1, never in a traceback."""
    try:
        app()
    except RecoserveError as error:
        _fail(error)
    except OSError as error:
        _fail(RecoserveError(f"{error.filename}: {error.strerror}" if error.filename else str(error)))


def _fail(error: RecoserveError) -> None:
    """Print the message, and which fields are at fault, and exit with 1."""
    lines = error.problems if isinstance(error, BundleInvalid) else (str(error),)
    if isinstance(error, RequestError):
        from recoserve.web.problems import pointer  # here: only a command that has loaded the web framework raises this

        lines += tuple(f"{pointer(field.path)}: {field.detail}" for field in error.fields)
    for line in lines:
        err.print("[red]error:[/red]", end=" ")
        print(line, file=sys.stderr)
    raise SystemExit(1)
