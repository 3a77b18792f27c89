"""Write one row at once, new or changed.

The unit of work is made for graphs of objects: for one row that nothing depends on, it takes
five times as long as the statement itself. A turn of a conversation writes seven of them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import (
    ColumnElement,
    Insert,
    Select,
    Update,
    bindparam,
    insert,
    inspect,
    update,
)
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from tracker.columns import Base

_Row = TypeVar("_Row", bound=Base)
HEARS = "tracker.rows"
"""Where a session's `info` names who hears of each row that is inserted here."""
Hears = Callable[[Session, type[Base], Mapping[str, Any]], None]


class _Shape(NamedTuple):
    """How rows of a model are written."""

    insert: Insert
    names: frozenset[str]  # of all columns
    optional: frozenset[str]  # of those that are NULL when nothing is said
    keys: tuple[str, ...]  # of the primary key


def add(session: Session, model: type[Base], values: Mapping[str, Any]) -> None:
    """Insert a row that nobody asks for again in this transaction."""
    session.connection().execute(_shape(model).insert, values)
    _tell(session, model, values)


def store(session: Session, model: type[_Row], values: Mapping[str, Any]) -> _Row:
    """Insert a row and return it as if the session had read it.

    What is not given and has no default is NULL. What the database fills in, besides the key,
    is read when it is asked for.
    """
    shape = _shape(model)
    known = dict.fromkeys(shape.optional) | dict(values)
    result = session.connection().execute(shape.insert, known)
    known |= zip(shape.keys, result.inserted_primary_key or (), strict=True)
    row = attach(session, model, known)
    _tell(session, model, known)
    return row


def columns_of(model: type[Base]) -> list[ColumnElement[Any]]:
    """What a statement for `read` selects: all columns, under the names of the attributes."""
    mapper = inspect(model)
    return [column.label(mapper.get_property_by_column(column).key) for column in mapper.columns]


def read(
    session: Session, model: type[_Row], statement: Select[Any], named: Mapping[str, Any]
) -> _Row | None:
    """The object of the one row that a statement of `columns_of` finds, as it is now."""
    session.flush()
    row = session.connection().execute(statement, named).first()
    if row is None:
        return None
    found = row._asdict()
    key = tuple(found[name] for name in _shape(model).keys)
    held = session.identity_map.get(session.identity_key(model, key))
    if not isinstance(held, model):
        return attach(session, model, found)
    for name, value in found.items():
        set_committed_value(held, name, value)
    return held


def attach(session: Session, model: type[_Row], values: Mapping[str, Any]) -> _Row:
    """The object of a stored row that the session does not hold yet, as if it had read it."""
    row = cast(_Row, inspect(model).class_manager.new_instance())
    inspect(row).dict.update(values)
    make_transient_to_detached(row)
    session.add(row)
    return row


def change(session: Session, row: Base, values: Mapping[str, Any]) -> None:
    """Write new values of a stored row, where they differ from those that it has."""
    new = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not new:
        return
    model = type(row)
    keys = {f"key_{name}": getattr(row, name) for name in _shape(model).keys}
    session.connection().execute(_update(model, tuple(new)), {**new, **keys})
    for name, value in new.items():
        set_committed_value(row, name, value)


@contextmanager
def savepoint(session: Session) -> Iterator[None]:
    """A savepoint of which the session forgets everything when it is undone.

    By itself it would keep the rows that were stored or changed here as they never were, and
    SQLite gives the number of a row that was undone to the next one.
    """
    known = set(session.identity_map.keys())
    try:
        with session.begin_nested():
            yield
    except BaseException:
        for row in session.identity_map.values():
            if inspect(row).key not in known:
                session.expunge(row)
        session.expire_all()
        raise


def _tell(session: Session, model: type[Base], values: Mapping[str, Any]) -> None:
    hears: Hears | None = session.info.get(HEARS)
    if hears is not None:
        hears(session, model, values)


@lru_cache(maxsize=1_000)
def _update(model: type[Base], names: tuple[str, ...]) -> Update:
    keys = [getattr(model, name) == bindparam(f"key_{name}") for name in _shape(model).keys]
    return update(model).where(*keys).values({name: bindparam(name) for name in names})


@cache
def _shape(model: type[Base]) -> _Shape:
    mapper = inspect(model)
    names = {mapper.get_property_by_column(column).key: column for column in mapper.columns}
    keys = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
    optional = {
        name
        for name, column in names.items()
        if column.default is None and column.server_default is None and name not in keys
    }
    return _Shape(insert(model), frozenset(names), frozenset(optional), keys)
