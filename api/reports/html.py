"""A report as one HTML file that needs nothing else, and as the fragment of a page."""

from collections.abc import Callable

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.rendering import HERE
from api.reports.content import Amount, Cell, Content

environment = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def shown(value: Cell) -> str:
    """What people read in a cell."""
    return value.shown if isinstance(value, Amount) else value


environment.filters["shown"] = shown
environment.filters["drawn"] = Markup  # drawings are escaped where they are made


def write(content: Content) -> bytes:
    """The file, with its own style sheet inside."""
    template = environment.get_template("reports/file.html")
    return template.render(content=content, cases=None).encode()


def fragment(content: Content, *, cases: Callable[[str], str]) -> Markup:
    """The same report for a page of ours, which has its own style sheet.

    `cases` gives the address of the questions behind a rate.
    """
    template = environment.get_template("reports/report.html")
    return Markup(template.render(content=content, cases=cases))  # noqa: S704 - made of escaped parts
