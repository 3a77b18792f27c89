"""What can be wrong with a knowledge base or a file of one."""

from collections.abc import Sequence
from pathlib import Path


class KnowledgeError(Exception):
    """Something about the knowledge base is wrong."""

    status = 400


class BadFile(KnowledgeError):
    """The file holds rows that cannot be used; `rows` names each of them."""

    status = 422

    def __init__(self, path: Path | str, rows: Sequence[str]) -> None:
        self.path = str(path)
        self.rows = tuple(rows)
        shown = "; ".join(self.rows[:5])
        more = f"; and {len(self.rows) - 5} more" if len(self.rows) > 5 else ""
        super().__init__(f"{Path(path).name}: {shown}{more}")


class BadEntry(KnowledgeError):
    """The entry lacks something that every entry needs."""

    status = 422


class NoModel(KnowledgeError):
    """No sentence model can be read where one was named."""

    status = 500


class UnknownEntry(KnowledgeError):
    """This library has no entry with that key."""

    status = 404
