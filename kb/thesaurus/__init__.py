"""What patrons call things: concepts of library service in their many wordings."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kb.documents import concept_from_document
from kb.entries import Concept

_DIRECTORY = Path(__file__).parent
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def shipped_concepts() -> tuple[Concept, ...]:
    """The concepts that come with the product, in the files' order."""
    return tuple(
        concept_from_document(row)
        for path in sorted(_DIRECTORY.glob("*.yaml"))
        for row in yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)["concepts"]  # noqa: S506 (safe)
    )
