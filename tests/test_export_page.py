"""docs/export.md: its code is run as it stands, top to bottom, in one folder."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text()
KINDS = re.findall(r"```(python|bash)\n(.*?)```", PAGE.partition("## Options")[0], re.DOTALL)


def program(folder):
    """Every block as one Python program, each command line as a process of its own."""
    lines = ["import os, subprocess, sys", f"os.chdir({str(folder)!r})"]
    for language, block in KINDS:
        commands = [shlex.split(line)[1:] for line in block.splitlines()] if language == "bash" else []
        lines += (
            [block]
            if language == "python"
            else [f"subprocess.run([sys.executable, '-m', 'recoserve', *{arguments}], check=True)" for arguments in commands]
        )
    return "\n".join(lines)


def test_every_block_does_what_the_page_says(tmp_path):
    """Eight bundles, one of each kind. `architectures:build`, which the page names for a state_dict, is the page's own NeuMF."""
    neumf = next(block for language, block in KINDS if "class NeuMF" in block).partition("\n\n\nprint")[0]
    (tmp_path / "architectures.py").write_text(f"import torch\n\nusers, movies = 60, 500\n\n\n{neumf}\n\n\nbuild = NeuMF\n")

    done = subprocess.run([sys.executable, "-c", program(tmp_path)], capture_output=True, text=True, timeout=600)

    assert done.returncode == 0, done.stderr[-3000:]
    bundles = {path.parent.relative_to(tmp_path / "models").as_posix() for path in tmp_path.glob("models/*/*/manifest.json")}
    assert bundles == {"dot/1", "mlp/1", "towers/1", "neumf/1", "tables/1", "mlp/2", "neumf/2", "neumf/3"}
    assert re.search(r"towers version 1, .* 17 dimensions, its own score is dot", done.stdout)
    assert "operators run for each pair" in done.stdout
