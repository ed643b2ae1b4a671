"""The packages as their files have them, and as docs/architecture.md draws them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/architecture.md"
FOLDERS = {"recoserve": "service", "recoserve_export": "model_export", "recoserve_bench": "benchmarks"}
SUBFOLDERS = {"recoserve_export.partial.rules": "recoserve_export.partial"}  # folder -> its room, which it is a part of
SUFFIXES = {".py", ".c", ".h"}
PLAIN_BASES = {"NamedTuple", "Protocol", "Generic", "Enum", "StrEnum", "Exception", "BaseModel"}


class Import(NamedTuple):
    """One module imported by another, by their full names; `at_once`: when the file is imported, not when a function is called."""

    importer: str
    imported: str
    at_once: bool

    def __str__(self):
        return f"{self.importer} imports {self.imported}"


def assert_none(offenders, rule):
    """Fail with the rule and every offender, a line for each; pytest alone would cut the list short."""
    assert not offenders, "\n  ".join([f"{rule}:", *sorted({str(offender) for offender in offenders})])


def source_files():
    """Path -> syntax tree of every Python file of the three packages."""
    return {
        path: ast.parse(path.read_text())
        for package, folder in FOLDERS.items()
        for path in sorted((ROOT / folder / package).rglob("*.py"))
    }


def module_name(path):
    """`service/recoserve/web/__init__.py` -> `recoserve.web`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts[1:]).removesuffix(".__init__")


TREES = source_files()
MODULES = {module_name(path): path for path in TREES}


def _imports(path) -> Iterator[Import]:
    tree = TREES[path]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    deferred = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in submodules]
        else:
            continue
        yield from (Import(module_name(path), name, id(node) not in deferred) for name in names)


IMPORTS = [edge for path in TREES for edge in _imports(path)]


def is_within(module, prefix):
    """Whether a module is `prefix` itself or lies below it."""
    return module == prefix or module.startswith(prefix + ".")


def room(module):
    """The folder of a module; a file at a package's root is a room of its own: `recoserve.web.app` -> `recoserve.web`."""
    parts = module.split(".")
    is_folder = MODULES[module].name == "__init__.py"
    folder = module if is_folder or len(parts) == 2 else ".".join(parts[:-1])
    return SUBFOLDERS.get(folder, folder)


def room_imports():
    """Room -> the rooms that its files import, sorted."""
    targets = {}
    for edge in IMPORTS:
        if edge.imported in MODULES and room(edge.imported) != room(edge.importer):
            targets.setdefault(room(edge.importer), set()).add(room(edge.imported))
    return {importer: sorted(imported) for importer, imported in targets.items()}


def page_lines(targets):
    """Rooms and what they import as the page has them, the package before the line: `recoserve: web → bundle, errors`."""
    lines = []
    for importer, imported in targets.items():
        package = importer.partition(".")[0]
        names = ", ".join(_short(name, package) for name in imported)
        lines.append(f"{package}: {_short(importer, package)} → {names}")
    return lines


def _short(name, package):
    return "__init__" if name == package else name.removeprefix(package + ".")


def undocumented(rooms):
    """The public functions, classes and methods of some rooms that have no docstring, by their full names.

    A method needs none where the class that it overrides describes it: a class of these packages, a framework's class, or the
    Protocol that it implements, whose docstring may describe all members at once; a class needs none where the module's docstring
    names it, as a tree of errors does.
    """
    described = {member.name for node in CLASSES.values() if _is_protocol(node) for member in _definitions(node)}
    return [
        f"{module_name(path)}.{name}"
        for path, tree in TREES.items()
        if room(module_name(path)) in rooms
        for name, node in _public(tree)
        if not ast.get_docstring(node) and node.name not in described and not _is_drawn(node, tree)
    ]


CLASSES = {node.name: node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _is_drawn(node, tree):
    return isinstance(node, ast.ClassDef) and node.name in (ast.get_docstring(tree) or "")


def _base_names(node):
    return [ast.unparse(base).partition("[")[0] for base in node.bases]


def _is_protocol(node):
    return "Protocol" in _base_names(node)


def _definitions(node):
    return [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def _public(node, prefix=""):
    """(dotted name, definition) of the public functions and classes of a module, and of their methods that override nothing."""
    for child in _definitions(node):
        is_overload = any("overload" in ast.unparse(decorator) for decorator in child.decorator_list)
        if not (child.name.startswith("_") or is_overload or (isinstance(node, ast.ClassDef) and _overrides(node, child.name))):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from _public(child, f"{prefix}{child.name}.")


def _overrides(node, method):
    """Whether a class inherits a method of this name, or may do so, as its base is a framework's."""
    for base in _base_names(node):
        if base in CLASSES:
            if any(child.name == method for child in _definitions(CLASSES[base])) or _overrides(CLASSES[base], method):
                return True
        elif base not in PLAIN_BASES:
            return True
    return False


def relative_imports():
    """Every relative import as `module: from .name`."""
    return [
        f"{module_name(path)}: from {'.' * node.level}{node.module or ''}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def _block(heading):
    """The lines of the first code block below a heading of the page."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1]
    return re.search(r"```\n(.*?)```", section, re.DOTALL)[1].splitlines()


def drawn_files():
    """The paths of the page's tree, from top to bottom."""
    folders, paths = [], []
    for line in _block("Files"):
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name] if name.endswith("/") else []
        if not name.endswith("/"):
            paths.append("".join(folders) + name)
    return paths


def drawn_rooms():
    """Room -> the rooms that it imports, by their full names, in the order of the page."""
    rooms, package = {}, ""
    for line in _block("Doors"):
        importer, _, imported = line.partition("→")
        if imported:
            rooms[_full(importer.strip(), package)] = [_full(name.strip(), package) for name in imported.split(",")]
        else:
            package = line.strip()
    return rooms


def _full(name, package):
    is_other = name.partition(".")[0] in FOLDERS
    return name if is_other else package if name == "__init__" else f"{package}.{name}"


def files():
    """The paths of all sources but `__init__.py`, from the repository's root."""
    return {
        path.relative_to(ROOT).as_posix()
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder / package).rglob("*")
        if path.suffix in SUFFIXES and path.name != "__init__.py"
    }
