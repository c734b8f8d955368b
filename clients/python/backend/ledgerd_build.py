"""Builds the wheel of this directory (PEP 517), with nothing but Python: the same bytes each time.

The package is pure Python without dependencies, and what its metadata are stands in pyproject.toml.
"""

from __future__ import annotations

import base64
import hashlib
import io
import pathlib
import re
import tarfile
import zipfile
from collections.abc import Iterator

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_EPOCH = (1980, 1, 1, 0, 0, 0)


def _project() -> dict[str, str]:
    # Python 3.10 reads no TOML: of this file's own, the strings of [project] are enough.
    section = (_ROOT / "pyproject.toml").read_text("utf-8").split("[project]\n")[1].split("\n[")[0]
    return dict(re.findall(r'^([a-z-]+) = "(.*)"$', section, re.MULTILINE))


def _metadata() -> bytes:
    p = _project()
    lines = [
        "Metadata-Version: 2.4", f"Name: {p['name']}", f"Version: {p['version']}", f"Summary: {p['description']}",
        f"License-Expression: {p['license']}", "License-File: LICENSE", f"Requires-Python: {p['requires-python']}",
        "Classifier: Programming Language :: Python :: 3", "Classifier: Typing :: Typed",
        "Description-Content-Type: text/markdown", "", (_ROOT / "README.md").read_text("utf-8"),
    ]  # fmt: skip
    return "\n".join(lines).encode()


def _sources() -> Iterator[pathlib.Path]:
    for path in sorted((_ROOT / "src").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _name() -> str:
    p = _project()
    return f"{p['name']}-{p['version']}"


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    info = f"{_name()}.dist-info"
    files = {path.relative_to(_ROOT / "src").as_posix(): path.read_bytes() for path in _sources()}
    files[f"{info}/licenses/LICENSE"] = (_ROOT / "LICENSE").read_bytes()
    files[f"{info}/METADATA"] = _metadata()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: ledgerd_build\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = f"{_name()}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, wheel), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    name = f"{_name()}.tar.gz"
    files = [_ROOT / "pyproject.toml", _ROOT / "README.md", _ROOT / "LICENSE", pathlib.Path(__file__).resolve(), *_sources()]
    with tarfile.open(pathlib.Path(sdist_directory, name), "w:gz") as archive:
        data = _metadata()
        entry = tarfile.TarInfo(f"{_name()}/PKG-INFO")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
        for path in files:
            archive.add(path, f"{_name()}/{path.relative_to(_ROOT).as_posix()}")
    return name
