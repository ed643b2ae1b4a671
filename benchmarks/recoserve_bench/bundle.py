"""Tables as a bundle, by `recoserve export` itself."""

import subprocess
import sys
import zlib
from pathlib import Path

import recoserve_export
from recoserve_bench import machine
from recoserve_bench.errors import SystemFailed


def bundle_of(users: Path, items: Path, *companions: str) -> Path:
    """A bundle beside the tables, kept for the next run; made again where the exporter has changed since.

    `companions` are further options of `recoserve export`. Raises SystemFailed where it refuses.
    """
    exporter = sorted(Path(recoserve_export.__file__).parent.rglob("*.py"))
    edition = zlib.crc32(b"".join(path.read_bytes() for path in exporter), zlib.crc32(" ".join(companions).encode()))
    bundle = items.parent / f"{items.stem}-{users.stem}-{edition:08x}"
    if not bundle.exists():
        command = [sys.executable, "-P", "-m", "recoserve", "export", "--name", "bench", "-o", str(bundle), *companions]
        tables = ["--user-embeddings", str(users), "--item-embeddings", str(items)]
        done = subprocess.run([*command, *tables], capture_output=True, text=True, env=machine.environment(own=True), check=False)
        if done.returncode:
            raise SystemFailed(f"recoserve export failed: {done.stderr.strip()}")
    return bundle
