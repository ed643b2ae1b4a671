"""The command line: `recoserve …`. Exit codes: 0 done, 1 the input is wrong, 2 wrong usage.

A command is imported only when it is called. So `recoserve --help` doesn't wait for the imports of all commands, and a command that
is missing or broken doesn't break the others.
"""

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from recoserve.commands.terminal import err
from recoserve.errors import BundleInvalid, OperatorError, RecoserveError, RequestError

GROUP = "recoserve.commands"  # the group of entry points by which other packages add commands


class Command(NamedTuple):
    """The description of a command, known without importing it.

    `help`: the beginning of the command's own docstring. `location`: MODULE:FUNCTION, empty for a command that is an entry point.
    `install`: what to do if the command can't be imported.
    """

    help: str
    location: str = ""
    install: str = "reinstall recoserve"


COMMANDS = {
    "demo": Command("Serve the built-in bundle: a made-up library of books and its readers.", "recoserve.commands.serve:demo"),
    "serve": Command("Serve a bundle, or all models of a folder, over HTTP.", "recoserve.commands.serve:serve"),
    "verify": Command(
        "Check a bundle as the service does before it serves; if it fails, list what is wrong and exit with 1.",
        "recoserve.commands.verify:verify",
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
    """A group that imports each of its commands when that command is called.

    `commands` holds a stand-in for each, with its name and its help, for the list of commands and for suggestions after a
    misspelt name; `resolve_command` imports the real one. Entry points are looked up only when the list is shown or a name isn't
    built in.
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
        command = _load(self._entry_points[name]) if name else None  # no name where click parses without failing, as for completion
        return name, command, arguments

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ImportError as error:  # a command may import a package only when it comes to need it
            raise _unavailable(self._entry_points[ctx.invoked_subcommand], error) from error

    def _add_entry_points(self) -> None:
        for entry_point in entry_points(group=GROUP):
            if entry_point.name not in self.commands:
                self._add(entry_point)

    def _add(self, entry_point: EntryPoint) -> None:
        name = entry_point.name
        self._entry_points[name] = entry_point
        self.commands[name] = TyperCommand(name, help=_description(entry_point).help)


def _position(name: str) -> int:
    """A command's place in the list: those of `COMMANDS` in their order, then those of other packages."""
    return list(COMMANDS).index(name) if name in COMMANDS else len(COMMANDS)


def _description(entry_point: EntryPoint) -> Command:
    distribution = entry_point.dist.name if entry_point.dist else "another package"
    return COMMANDS.get(entry_point.name, Command(f"A command of {distribution}.", install=f"reinstall {distribution}"))


def _load(entry_point: EntryPoint) -> Any:
    """The command of an entry point, which is a function or a `typer.Typer`; raises OperatorError if it can't be imported."""
    group = typer.Typer()
    try:
        command = entry_point.load()
        if isinstance(command, typer.Typer):
            group.add_typer(command, name=entry_point.name)
        else:
            group.command(entry_point.name)(command)
        return typer.main.get_group(group).commands[entry_point.name]
    except Exception as error:  # a module can raise anything while it is imported
        raise _unavailable(entry_point, error) from error


def _unavailable(entry_point: EntryPoint, error: Exception) -> OperatorError:
    reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
    line = " ".join(reason.split())
    return OperatorError(f"recoserve {entry_point.name} can't run: {line}; to mend it: {_description(entry_point).install}")


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
    """Print the message, and what is wrong with which field of a request; exit with 1."""
    lines = error.problems if isinstance(error, BundleInvalid) else (str(error),)
    if isinstance(error, RequestError):
        from recoserve.web.problems import pointer  # here, so that the command line starts without the web framework

        lines += tuple(f"{pointer(field.path)}: {field.detail}" for field in error.fields)
    for line in lines:
        err.print("[red]error:[/red]", end=" ")
        print(line, file=sys.stderr)
    raise SystemExit(1)
