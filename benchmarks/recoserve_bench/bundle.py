"""Tables as a bundle, by `recoserve export` itself."""

import subprocess
import sys
import zlib
from pathlib import Path

import recoserve_export
from recoserve_bench import machine
from recoserve_bench.errors import SystemFailed


def bundle_of(users: Path, items: Path, *options: str) -> Path:
    """The folder of a bundle beside the tables. It is reused by the next run, unless the exporter has changed in between.

    `options` are further ones of `recoserve export`. Raises SystemFailed where it refuses.
    """
    exporter = sorted(Path(recoserve_export.__file__).parent.rglob("*.py"))
    checksum = zlib.crc32(b"".join(path.read_bytes() for path in exporter), zlib.crc32(" ".join(options).encode()))
    bundle = items.parent / f"{items.stem}-{users.stem}-{checksum:08x}"
    if not bundle.exists():
        command = [sys.executable, "-P", "-m", "recoserve", "export", "--name", "bench", "-o", str(bundle), *options]
        tables = ["--user-embeddings", str(users), "--item-embeddings", str(items)]
        process = subprocess.run([*command, *tables], capture_output=True, text=True, env=machine.environment(), check=False)
        if process.returncode:
            raise SystemFailed(f"recoserve export failed: {process.stderr.strip()}")
    return bundle
