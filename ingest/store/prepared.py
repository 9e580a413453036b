"""Statements of the read path, compiled once and handed to SQLite's driver as they are.

A recommendation asks two small questions of the ledger. SQLite answers each in some 30 microseconds; putting the
statement together and wrapping the result took ten times that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, CompoundSelect, Connection, Insert, Select, bindparam

LEAST_PADDED = 16


class Prepared:
    """One SELECT whose parameters all have names. Safe to share between threads and databases."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, Sequence[str] | None, Mapping[str, Any]]] = {}

    def rows(self, connection: Connection, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """Run it; rows are read by place."""
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            compiled = self._statement.compile(dialect=dialect)
            self._compiled[dialect.name] = (str(compiled), compiled.positiontup, dict(compiled.params))
        sql, positions, defaults = self._compiled[dialect.name]
        values = {**defaults, **parameters}
        if positions is None:
            return connection.exec_driver_sql(sql, values).all()
        driver = connection.connection.dbapi_connection
        assert driver is not None
        cursor = driver.cursor()
        cursor.execute(sql, tuple(values[name] for name in positions))
        found: Sequence[Sequence[Any]] = cursor.fetchall()
        return found


class PreparedIn:
    """A SELECT of rows whose column is among some ids, one prepared statement for each power of two of them."""

    def __init__(self, statement: Select[*tuple[Any, ...]], column: ColumnElement[str]) -> None:
        self._statement = statement
        self._column = column
        self._by_size: dict[int, Prepared] = {}

    def rows(self, connection: Connection, ids: Sequence[str]) -> Sequence[Sequence[Any]]:
        """Run it; no ids give no rows."""
        if not ids:
            return []
        size = max(LEAST_PADDED, 1 << (len(ids) - 1).bit_length())
        if size not in self._by_size:
            places: list[BindParameter[str]] = [bindparam(f"id_{place}") for place in range(size)]
            self._by_size[size] = Prepared(self._statement.where(self._column.in_(places)))
        padded = [*ids, *[ids[-1]] * (size - len(ids))]  # an id that is asked for twice is still found once
        return self._by_size[size].rows(connection, {f"id_{place}": item_id for place, item_id in enumerate(padded)})


class PreparedMany:
    """One INSERT of many rows, given as tuples in the order of `columns`. Safe to share between threads."""

    def __init__(self, statement: Insert, columns: Sequence[str]) -> None:
        self._statement = statement
        self._columns = tuple(columns)
        self._compiled: dict[str, tuple[str, Sequence[str] | None]] = {}

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert them inside the connection's transaction."""
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            compiled = self._statement.compile(dialect=dialect, column_keys=list(self._columns))
            self._compiled[dialect.name] = (str(compiled), compiled.positiontup)
        sql, positions = self._compiled[dialect.name]
        if positions is None:
            connection.exec_driver_sql(sql, [dict(zip(self._columns, row, strict=True)) for row in rows])
            return
        order = [self._columns.index(name) for name in positions]
        connection.exec_driver_sql(sql, [tuple(row[place] for place in order) for row in rows])
