"""What was typed into a form that was refused, so that it can be shown again."""

from typing import Any


class Typed(dict[str, Any]):
    """The fields of a form by name; a field that was not typed is empty."""

    def __missing__(self, name: str) -> str:
        return ""
