"""Write a new row at once.

The unit of work is made for graphs of objects: for one row that nothing depends on, it takes
five times as long as the INSERT itself. A turn of a conversation adds half a dozen such rows.
"""

from functools import cache
from typing import NamedTuple

from sqlalchemy import Insert, insert, inspect
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from tracker.columns import Base


class _Shape(NamedTuple):
    """How rows of a model are written."""

    insert: Insert
    names: frozenset[str]  # of all columns
    optional: frozenset[str]  # of those that are NULL when nothing is said
    keys: tuple[str, ...]  # of the primary key


def store(session: Session, row: Base) -> None:
    """Insert a new row, which then belongs to the session as if it had been read by it.

    Its foreign keys must be set as numbers: relationships are not followed. What the model or
    the database fills in, besides the id, is read when it is asked for.
    """
    shape = _shape(type(row))
    state = inspect(row)
    for name in shape.optional.difference(state.dict):
        set_committed_value(row, name, None)
    values = {name: value for name, value in state.dict.items() if name in shape.names}
    result = session.connection().execute(shape.insert, values)
    for name, value in zip(shape.keys, result.inserted_primary_key or (), strict=True):
        set_committed_value(row, name, value)
    make_transient_to_detached(row)
    session.add(row)


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
