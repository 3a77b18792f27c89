"""The knowledge base that a new library starts from."""

from pathlib import Path

STARTER = Path(__file__).parent / "kb.yaml"
