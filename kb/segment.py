"""Cutting Chinese into words with jieba, taught the words of libraries."""

import logging
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from kb.wordlists import wordlist

_DEFAULT_CACHE = Path("var") / "jieba"
_lock = threading.Lock()
_cache_directory = _DEFAULT_CACHE


def use_cache(directory: Path) -> None:
    """Keep jieba's dictionary cache in this directory.

    Never the shared temporary directory: the cache is unmarshalled, so whoever may write it may
    run code as us.
    """
    global _cache_directory  # noqa: PLW0603  (one per process, set once at start)
    with _lock:
        _cache_directory = directory


@cache
def _tokenizer() -> Any:
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba imports what setuptools calls outdated
        import jieba  # noqa: PLC0415  (60 MB: only where Chinese is read)

        jieba.setLogLevel(logging.CRITICAL)
        _cache_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        tokenizer = jieba.Tokenizer()
        tokenizer.tmp_dir = str(_cache_directory)
        tokenizer.initialize()
        for word in sorted(wordlist("library_zh")):
            tokenizer.add_word(word)
    return tokenizer


def words(text: str) -> list[str]:
    """The words of a Chinese text, in order."""
    cut: list[str] = _tokenizer().lcut(text, HMM=False)
    return cut
