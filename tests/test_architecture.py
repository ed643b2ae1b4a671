"""The doors between the rooms of docs/architecture.md, checked by reading imports. Each test names all its offenders at once."""

import ast
import sys
from collections import defaultdict

from tests.architecture import (
    FOLDERS,
    IMPORTS,
    MODULES,
    ROOT,
    TREES,
    assert_none,
    drawn_files,
    drawn_rooms,
    files,
    is_within,
    module_name,
    page_lines,
    relative_imports,
    room,
    room_imports,
)

MOST_LINES = 60

# Where each framework may be imported: modules, or rooms with all that lies in them.
SCRIPTS = ["recoserve_bench.http.servers", "recoserve_bench.retrieval.systems"]  # run apart, each by a Python with its framework
SEEDS = ["recoserve_bench.seeds", "recoserve_bench.scorers"]
FRAMEWORKS = {
    "ctypes": ["recoserve.malloc", "recoserve.search.kernel", "recoserve_bench.http.load"],
    "fastapi": ["recoserve.web", *SCRIPTS],
    "fastapi_offline": ["recoserve.web.app"],
    "h5py": ["recoserve_export.sources.keras_file"],
    "httpx": ["recoserve.client", "recoserve_bench.oracle.run"],
    "keras": ["recoserve_export.sources", "recoserve_export.zoo.architectures", *SEEDS],
    "matplotlib": ["recoserve_export.zoo.training.sweep_plot", "recoserve_bench.growth"],
    "onnx": [f"recoserve_export.{name}" for name in ("graph", "partial", "sources", "write")],
    "onnxruntime": [
        "recoserve.search.session",
        "recoserve_export.graph.onnx_runtime",
        "recoserve_bench.scorers.tiled",
        *SCRIPTS,
    ],
    "prometheus_client": ["recoserve.metrics", "recoserve.web.operations"],
    "pyarrow": ["recoserve.batch.parquet", "recoserve_bench.batch"],
    "safetensors": ["recoserve_export.sources.tables", *SEEDS],
    "starlette": ["recoserve.web", *SCRIPTS],
    "tensorflow": ["recoserve_export.sources.savedmodel_worker"],
    "tests": ["recoserve_bench.oracle"],  # the oracle of the tests, at any length
    "torch": ["recoserve_export.sources", "recoserve_export.zoo", *SEEDS],
    "uvicorn": ["recoserve.web.server", "recoserve.web.connection", *SCRIPTS],
}
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
LAZY = {"__getattr__", "__dir__"}
WEB_FRAMEWORKS = {"fastapi", "starlette", "uvicorn", "httpx", "http"}


def package(module):
    """The first name of a module's dotted ones."""
    return module.partition(".")[0]


def imports_within(*rooms):
    """The imports of all files in some rooms."""
    return [edge for edge in IMPORTS if any(is_within(edge.importer, name) for name in rooms)]


def test_the_page_draws_the_files_on_the_disk():
    drawn = drawn_files()

    assert_none(files() - set(drawn), "files that the tree of docs/architecture.md lacks")
    assert_none(set(drawn) - files(), "files in the tree of docs/architecture.md that are not there")
    assert len(drawn) == len(set(drawn))


def test_the_page_draws_the_imports_between_rooms():
    """Line by line, so that a line can be copied from the failure into the page."""
    drawn, real = set(page_lines(drawn_rooms())), set(page_lines(room_imports()))

    assert_none(real - drawn, "lines that docs/architecture.md lacks, as it should have them")
    assert_none(drawn - real, "lines of docs/architecture.md that no imports match")


def test_a_room_imports_only_rooms_that_stand_below_it_on_the_page():
    """A room without a line of its own imports nothing, so it stands below all others."""
    order = {name: number for number, name in enumerate(drawn_rooms())}
    pairs = [(importer, imported) for importer, targets in room_imports().items() for imported in targets]

    assert_none(
        [
            f"{importer} imports {imported}"
            for importer, imported in pairs
            if package(importer) == package(imported) and order.get(imported, len(order)) <= order.get(importer, -1)
        ],
        "imports of a room that stands above",
    )


def test_a_file_imports_only_files_that_stand_below_it_in_its_room():
    """The first file of a room in the page's tree is the one that others call, the last one knows none of its neighbours."""
    order = {path: number for number, path in enumerate(drawn_files())}
    numbers = {name: order.get(path.relative_to(ROOT).as_posix()) for name, path in MODULES.items()}  # None: an `__init__.py`
    drawn = [edge for edge in IMPORTS if numbers.get(edge.importer) is not None and numbers.get(edge.imported) is not None]

    assert_none(
        [edge for edge in drawn if room(edge.importer) == room(edge.imported) and numbers[edge.imported] <= numbers[edge.importer]],
        "imports of a file that stands above",
    )


def test_no_modules_import_each_other_in_a_circle():
    assert circle({name: [edge.imported for edge in IMPORTS if edge.importer == name] for name in MODULES}) == []


def test_no_rooms_import_each_other_in_a_circle():
    assert circle(room_imports()) == []


def circle(targets):
    """The names along one circle of a graph {name: names that it leads to}; [] where there is none."""
    finished = set()

    def visit(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        for target in () if name in finished else targets.get(name, ()):
            if names := visit(target, [*path, name]):
                return names
        finished.add(name)
        return []

    return next((names for name in targets if (names := visit(name, []))), [])


def test_no_import_is_relative():
    """A relative import hides which door it takes."""
    assert_none(relative_imports(), "relative imports")


def test_the_service_imports_neither_the_exporter_nor_the_benchmarks():
    others = FOLDERS.keys() - {"recoserve"}

    assert_none([edge for edge in imports_within("recoserve") if package(edge.imported) in others], "imports of other packages")


def test_the_exporter_imports_the_services_bundles_and_errors_alone():
    allowed = ("recoserve_export", "recoserve.bundle", "recoserve.errors")
    lines = [edge for edge in imports_within("recoserve_export") if package(edge.imported) in FOLDERS]

    assert_none(
        [edge for edge in lines if not any(is_within(edge.imported, name) for name in allowed)],
        "imports of the service beyond its bundles and errors",
    )


def test_each_framework_is_imported_in_its_own_files():
    lines = [edge for edge in IMPORTS if package(edge.imported) in FRAMEWORKS]

    assert_none(
        [edge for edge in lines if not any(is_within(edge.importer, name) for name in FRAMEWORKS[package(edge.imported)])],
        "imports of a framework outside its files",
    )


def test_inward_of_the_web_nothing_knows_http():
    rooms = ("search", "scheduling", "recommend", "bundle", "errors")
    inner = imports_within(*(f"recoserve.{name}" for name in rooms))

    assert_none([edge for edge in inner if package(edge.imported) in WEB_FRAMEWORKS], "imports of HTTP inward of the web")


def test_inward_of_the_requests_nothing_validates_them():
    inner = imports_within("recoserve.search", "recoserve.scheduling", "recoserve.bundle", "recoserve.errors")

    assert_none([edge for edge in inner if package(edge.imported) == "pydantic"], "imports of pydantic inward of the requests")


def test_the_client_imports_what_goes_over_the_wire_and_no_more():
    """A program that calls a service loads no engine and no server."""
    allowed = ("recoserve.client", "recoserve.errors", "recoserve.web.schemas")
    heavy = {"fastapi", "starlette", "uvicorn", "onnxruntime", "numpy"}

    assert_none(
        [
            edge
            for edge in imports_within("recoserve.client")
            if package(edge.imported) in heavy
            or (package(edge.imported) in FOLDERS and not any(is_within(edge.imported, name) for name in allowed))
        ],
        "imports of the client that a caller has no use for",
    )


def test_the_bundle_room_needs_the_standard_library_and_numpy_alone():
    allowed = {*sys.stdlib_module_names, "numpy", "recoserve"}

    assert_none(
        [edge for edge in imports_within("recoserve.bundle") if package(edge.imported) not in allowed], "imports of other packages"
    )


def test_only_files_that_open_or_write_bundles_know_paths():
    """All others take bytes and arrays, so that they can be tested without a disk."""
    on_disk = tuple(f"recoserve.bundle.{name}" for name in ("archive", "draft", "files", "integrity", "repository", "tensors"))
    lines = [edge for edge in imports_within("recoserve.bundle") if edge.importer not in on_disk]

    assert_none([edge for edge in lines if edge.imported == "pathlib"], "imports of pathlib")


def test_settings_are_read_at_the_border():
    readers = [edge for edge in IMPORTS if edge.imported == "recoserve.settings"]
    border = {"recoserve.commands", "recoserve.web"}

    assert_none([edge for edge in readers if room(edge.importer) not in border], "imports of the settings inward of the border")


def test_a_command_line_starts_without_a_framework():
    """`recoserve --help` and `recoserve export --help` must not wait for torch: followed through all imports at load time."""
    heavy = {"torch", "keras", "tensorflow", "onnx", "safetensors", "matplotlib", "pyarrow"}
    at_load = defaultdict(list)
    for edge in IMPORTS:
        if edge.at_once:
            at_load[edge.importer].append(edge)
    loaded, pending = set(), ["recoserve.cli", "recoserve_export.cli", "recoserve_export.zoo.command", "recoserve_bench.command"]
    while pending:
        module = pending.pop()
        loaded.add(module)
        pending += [edge.imported for edge in at_load[module] if edge.imported in MODULES and edge.imported not in loaded]

    assert_none([edge for name in loaded for edge in at_load[name] if package(edge.imported) in heavy], "imports at load time")


def test_init_files_hold_a_docstring_and_define_nothing():
    """But for what imports a public name only when it is used: `__getattr__` and `__dir__` of PEP 562."""
    rooms = {module_name(path): tree for path, tree in TREES.items() if path.name == "__init__.py"}
    definitions = [(name, node) for name, tree in rooms.items() for node in tree.body if isinstance(node, DEFINITIONS)]

    assert_none([name for name, tree in rooms.items() if not ast.get_docstring(tree)], "rooms without a docstring")
    assert_none([f"{name} defines {node.name}" for name, node in definitions if node.name not in LAZY], "definitions")


def test_no_function_is_longer_than_60_lines():
    functions = [
        (f"{module_name(path)}.{node.name}", node.end_lineno - node.lineno + 1)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert_none([f"{name}: {lines} lines" for name, lines in functions if lines > MOST_LINES], "functions that are too long")
