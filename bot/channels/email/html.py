"""The text of an HTML mail, for mails that bring no plain text of their own."""

import re
from html.parser import HTMLParser

_SILENT = {"script", "style", "head", "title", "template"}
_BLOCKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol"}
_QUOTE = "blockquote"
_SPACE = re.compile(r"\s+")
MAX_HTML = 1_000_000  # characters


def text_of_html(html: str) -> str:
    """Words and line breaks; what a mail program marks as quoted begins with ">"."""
    reader = _Reader()
    reader.feed(html[:MAX_HTML])
    reader.close()
    return reader.text


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = [""]
        self._silent = 0
        self._quoted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        if tag == _QUOTE:
            self._break()
            self._quoted += 1
        elif tag in _BLOCKS:
            self._break()

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        if tag == _QUOTE:
            self._break()
            self._quoted = max(0, self._quoted - 1)
        elif tag in _BLOCKS:
            self._break()

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if not self._lines[-1].strip() and self._quoted:
            self._lines[-1] = ">" * min(self._quoted, 5) + " "
        self._lines[-1] += _SPACE.sub(" ", data)

    def _break(self) -> None:
        if self._lines[-1].strip():
            self._lines.append("")

    @property
    def text(self) -> str:
        return "\n".join(" ".join(line.split()) for line in self._lines).strip()
