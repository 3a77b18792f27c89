"""Learned arrays on disk: plain arrays and JSON, memory-mapped, checked, never executed."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_STATE = "state.json"
_PACKAGE = Path(__file__).parent
Arrays = dict[str, NDArray[Any]]


def save(directory: Path, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
    """Write arrays and state so that a reader sees all of them or nothing."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=directory.parent))
    try:
        sums = {}
        for name, array in arrays.items():
            np.save(draft / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
            sums[name] = _checksum(draft / f"{name}.npy")
        text = json.dumps(state, ensure_ascii=False)
        document = {"sums": sums, "state": text, "state_sum": crc32(text.encode())}
        (draft / _STATE).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        if directory.exists():
            shutil.rmtree(directory)
        draft.rename(directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(directory: Path) -> tuple[Arrays, dict[str, Any]] | None:
    """What `save` wrote, memory-mapped; None where it is missing or damaged."""
    try:
        document = json.loads((directory / _STATE).read_text(encoding="utf-8"))
        if crc32(document["state"].encode()) != document["state_sum"]:
            return None
        arrays: Arrays = {}
        for name, expected in document["sums"].items():
            path = directory / f"{name}.npy"
            if _checksum(path) != expected:
                return None
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
            arrays[name] = np.asarray(mapped)  # a slice of a plain array costs a tenth
        return arrays, json.loads(document["state"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # whatever is wrong with it, it is rebuilt


def forget_others(directory: Path) -> None:
    """Remove the earlier states of the same owner: directories named `<owner>-<key>`."""
    owner = directory.name.rsplit("-", 1)[0]
    for other in directory.parent.glob(f"{owner}-*"):
        if other != directory and other.name.rsplit("-", 1)[0] == owner:
            shutil.rmtree(other, ignore_errors=True)


def key_of(texts: Iterable[str]) -> str:
    """A name for what was learned from these texts by this very code."""
    # A unit separator between them: "ab", "c" must not be "a", "bc".
    whole = "\x1f".join([_code(), *texts])
    return sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:24]


@cache
def _code() -> str:
    """A digest of the package's own files: another version learns anew."""
    digest = sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        if path.suffix in (".py", ".yaml", ".txt", ".npy") and path.parent.name != "starter":
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _checksum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total = crc32(block, total)
    return total
