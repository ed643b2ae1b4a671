"""The command line as a list of commands: what `--help` costs, and what a broken command costs the others."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import typer

from recoserve import cli
from tests.command_line import assert_mistake, recoserve, with_path

COMMANDS = ["demo", "serve", "verify", "inspect", "recommend", "batch", "export", "train", "bench"]
HEAVY = ["fastapi", "httpx", "numpy", "onnx", "onnxruntime", "prometheus_client", "pyarrow", "pydantic", "torch", "uvicorn"]

# Name of the entry point -> where it says that its command is, and what the line for a person must hold.
BROKEN = {
    "absent": ("no_such_package.command:run", "No module named 'no_such_package'"),
    "nameless": ("broken_commands:no_such_function", "no attribute 'no_such_function'"),
    "raising": ("raising_commands:run", "RuntimeError: half installed"),
    "importing": ("importing_commands:run", "No module named 'no_such_library'"),
    "wordy": ("broken_commands:not_a_command", "TypeError"),
}


@pytest.fixture
def broken(tmp_path):
    """A folder for PYTHONPATH with a distribution, `breaker`, whose commands are all broken."""
    metadata = tmp_path / "breaker-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: breaker\nVersion: 1.0\n")
    lines = [f"{name} = {location}" for name, (location, _) in BROKEN.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[recoserve.commands]", *lines]))
    (tmp_path / "broken_commands.py").write_text("not_a_command = 5\n")
    (tmp_path / "raising_commands.py").write_text("raise RuntimeError('half\\ninstalled')\n")
    (tmp_path / "importing_commands.py").write_text("def run():\n    import no_such_library\n")
    return tmp_path


def test_help_lists_every_command_and_imports_none():
    program = (
        "import sys; sys.argv = ['recoserve', '--help']\n"
        "from recoserve.cli import main\n"
        "try: main()\n"
        f"finally: print('imported:', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    listed = [line.split()[1] for line in process.stdout.partition("Commands")[2].splitlines() if line[:2] == "│ "]
    assert [name for name in listed if name in COMMANDS] == COMMANDS
    assert process.stdout.endswith("imported: []\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_is_the_beginning_of_the_commands_own(name):
    """It stands in a table, so that the list of commands needs no import; here the two are compared."""
    command = typer.main.get_command(cli.app).resolve_command(typer.Context(typer.main.get_command(cli.app)), [name])[1]

    assert command.help.startswith(cli.COMMANDS[name].help)


def test_every_entry_point_of_this_product_stands_in_the_table():
    """With its help, and with what to install where it can't be imported."""
    names = {point.name for point in entry_points(group=cli.GROUP) if point.dist.name == "recoserve"}

    assert names == {name for name, command in cli.COMMANDS.items() if not command.location}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_command_is_one_line_that_says_why_and_what_to_install(broken, name):
    process = recoserve(name, **with_path(broken))

    assert_mistake(process, f"recoserve {name} can't run", BROKEN[name][1], "reinstall breaker")
    assert len(process.stderr.splitlines()) == 1


def test_broken_commands_cost_no_other_command_anything(broken, bundle):
    helped = recoserve("--help", **with_path(broken))

    assert (helped.returncode, helped.stderr) == (0, "")
    assert all(name in helped.stdout for name in [*COMMANDS, *BROKEN])
    assert recoserve("verify", bundle, **with_path(broken)).returncode == 0
    assert "BUNDLE" in recoserve("export", "--help", **with_path(broken)).stdout


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("export", "recoserve_export", "[export]"), ("bench", "recoserve_bench", "[bench]")]
)
def test_a_package_that_can_not_be_imported_breaks_its_own_command_alone(tmp_path, bundle, name, package, extra):
    """As where the wheel doesn't hold it, or a dependency of it is missing."""
    (tmp_path / f"{package}.py").write_text("raise ImportError('No module named onnx')")

    assert_mistake(recoserve(name, **with_path(tmp_path)), f"recoserve {name}", "No module named onnx", "pip install", extra)
    assert recoserve("verify", bundle, **with_path(tmp_path)).returncode == 0


def test_export_without_onnx_names_the_extra(tmp_path):
    (tmp_path / "onnx.py").write_text("raise ImportError('No module named onnx')")
    (tmp_path / "model.onnx").write_bytes(b"")

    process = recoserve("export", tmp_path / "model.onnx", "-o", tmp_path / "bundle", **with_path(tmp_path))
    assert_mistake(process, "onnx", "pip install 'recoserve[export]'")


def test_a_misspelt_command_is_wrong_usage_and_the_nearest_name_is_suggested():
    process = recoserve("exprot")

    assert process.returncode == 2
    assert "'export'" in process.stderr


def test_a_command_of_an_entry_point_shows_its_own_help():
    assert "--user-embeddings" in recoserve("export", "--help", COLUMNS="200").stdout
    assert "retrieval" in recoserve("bench", "--help").stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["verify"], ["recommend", "x"], ["serve", "--port", "http"]])
def test_wrong_usage_is_exit_code_2(arguments):
    assert recoserve(*arguments).returncode == 2
