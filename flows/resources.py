"""Where the files that come with cityair lie: beside the package in a wheel, in config/ in a checkout."""

from pathlib import Path

import schemas
from schemas import indices


def places() -> tuple[Path, Path]:
    """Folders that may hold shipped files: the wheel's, then the checkout's."""
    package = Path(schemas.__file__).resolve().parent
    return package / "config", package.parent / "config"


def shipped(name: str) -> Path:
    """Find a shipped file or folder, such as ``gimhae.toml`` or ``maps``.

    Raises:
        FileNotFoundError: no shipped file has this name.
    """
    for place in places():
        if (place / name).exists():
            return place / name
    raise FileNotFoundError(f"cityair ships no {name!r}; looked in {' and '.join(map(str, places()))}")


def index(name: str) -> indices.Index:
    """Read a shipped air-quality index, such as ``korea`` or ``us-aqi``.

    Raises:
        FileNotFoundError: no shipped index has this name.
        ConfigurationError: its file does not hold together.
    """
    path = shipped(f"indices/{name}.toml")
    return indices.parse(path.read_bytes(), str(path))


def every_index() -> dict[str, indices.Index]:
    """Read every shipped air-quality index, by its name."""
    found = [index(path.stem) for path in sorted(shipped("indices").glob("*.toml"))]
    return {one.name: one for one in found}
