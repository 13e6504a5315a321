"""What a query looks up by row, found without that: a row's id is its own, so nothing need be shuffled by it.

The view of a source holds, for each row of the spine, the versions that row meets. `spine LEFT JOIN trips ON
trips.row_id = spine.row_id` looks them up by row again; the same rows come from the versions themselves under the
condition of the view. And where each row of the result is a row of the spine, the spine's other columns can come along.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol, TypeGuard

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from nightloop.sql.columns import DIALECT

_ROW, _SPINE = "row_id", "spine"
# what makes more or fewer rows of a result than it joins; a function that the parser does not know may do so too
_ROW_CHANGING = ("where", "group", "having", "qualify", "distinct", "limit", "offset", "laterals", "match", "sample")
_ROW_CHANGING_FUNCTIONS = (exp.AggFunc, exp.UDTF, exp.Explode, exp.Inline, exp.Stack, exp.Anonymous)


class Condition(Protocol):
    """Which versions a row meets, as SQL over two aliases."""

    def __call__(self, *, row: str, version: str) -> str: ...


def join_versions(sql: str, conditions: Mapping[str, Condition]) -> tuple[str, frozenset[str]]:
    """Return the query with those joins rewritten, and the sources of which it now joins versions, without `row_id`.

    A source that the query also reads in another way, even once, is left as it is.
    """
    try:
        statement = sqlglot.parse_one(sql, read=DIALECT)
    except SqlglotError:
        return sql, frozenset()
    found: dict[str, list[tuple[int, int, str]]] = {name: [] for name in conditions}
    for name, alias, spine, equality in _joins_by_row(statement, conditions):
        places = [part.meta for part in equality.find_all(exp.Identifier)]
        text = conditions[name](row=f"`{spine}`", version=f"`{alias}`")
        found[name].append((min(place["start"] for place in places), max(place["end"] for place in places) + 1, text))
    tables = [table.name.lower() for table in statement.find_all(exp.Table)]
    direct = frozenset(name for name, edits in found.items() if edits and len(edits) == tables.count(name))
    # from the end on, so that the places of earlier edits stay true
    for start, end, text in sorted((edit for name in direct for edit in found[name]), reverse=True):
        sql = f"{sql[:start]}({text}){sql[end:]}"
    return sql, direct


def carry_columns(sql: str, columns: Mapping[str, str]) -> str | None:
    """Return the query with these columns of the spine (name in the result → column) beside its own.

    None if it may leave a row of the spine out or makes one of several, or does not say which row is which.
    """
    try:
        select = sqlglot.parse_one(sql, read=DIALECT)
    except SqlglotError:
        return None
    if not isinstance(select, exp.Select) or any(select.args.get(part) for part in _ROW_CHANGING):
        return None
    base, joins = _base_of(select), select.args.get("joins") or []
    is_shadowed = any(cte.alias.lower() == _SPINE for cte in select.find_all(exp.CTE))
    if base is None or is_shadowed or any(not _keeps_rows(join) or join.side != "LEFT" for join in joins):
        return None
    if any(output.find(*_ROW_CHANGING_FUNCTIONS) for output in select.selects):
        return None
    spine = base.alias_or_name
    ids = [one.unalias() for one in select.selects if one.alias_or_name.lower() == _ROW]
    if [isinstance(one, exp.Column) and (one.table.lower(), one.name.lower()) for one in ids] != [
        (spine.lower(), _ROW)
    ]:
        return None
    begin = base.this.meta["start"]
    tokens = Dialect.get_or_raise(DIALECT).tokenize(sql)
    # the last FROM ahead of the spine's name: `IS DISTINCT FROM` in an output brings such a token too
    place = max(token.start for token in tokens if token.token_type is TokenType.FROM and token.start < begin)
    carried = "".join(f", `{spine}`.`{column}` AS `{name}`" for name, column in columns.items())
    # on a line of its own: a `-- comment` may end the one before
    return f"{sql[:place].rstrip()}\n{carried}\n{sql[place:]}"


def _joins_by_row(statement: exp.Expr, sources: Collection[str]) -> Iterator[tuple[str, str, str, exp.EQ]]:
    """Yield source, its alias, the spine's alias and the equality of each join of the spine that may be rewritten."""
    named = {cte.alias.lower() for cte in statement.find_all(exp.CTE)}
    # the versions have no `row_id`: a query that shows or reads it otherwise than in the join keeps the view
    stars = [star for star in statement.find_all(exp.Star) if not isinstance(star.parent, exp.Count)]
    rows = [column for column in statement.find_all(exp.Column) if column.name.lower() == _ROW]
    if stars or named & {_SPINE, *sources} or any(not column.table for column in rows):
        return
    for select in statement.find_all(exp.Select):
        if (base := _base_of(select)) is None:
            continue
        for join in select.args.get("joins") or []:
            table, alias = join.this, join.this.alias_or_name
            is_used_once = sum(column.table.lower() == alias.lower() for column in rows) == 1
            if not _is_plain(table) or table.name.lower() not in sources or not _keeps_rows(join) or not is_used_once:
                continue
            sides = {(alias.lower(), _ROW), (base.alias_or_name.lower(), _ROW)}
            for equality in join.args["on"].flatten() if isinstance(join.args["on"], exp.And) else [join.args["on"]]:
                if isinstance(equality, exp.EQ) and _sides(equality) == sides:
                    yield table.name.lower(), alias, base.alias_or_name, equality


def _base_of(select: exp.Select) -> exp.Table | None:
    """Return the spine if the query starts from it."""
    base = select.args["from_"].this if select.args.get("from_") else None
    return base if _is_plain(base) and base.name.lower() == _SPINE else None


def _is_plain(table: exp.Expr | None) -> TypeGuard[exp.Table]:
    """Say whether this is a view by its name alone, not a sample or a pivot of it."""
    extras = ("db", "pivots", "sample", "laterals", "joins", "version")
    return isinstance(table, exp.Table) and not any(table.args.get(extra) for extra in extras)


def _keeps_rows(join: exp.Join) -> bool:
    """Say whether this is a left or an inner join by a condition."""
    return bool(join.args.get("on")) and (join.side, join.kind, join.method) in {
        ("LEFT", "", ""),
        ("LEFT", "OUTER", ""),
        ("", "", ""),
        ("", "INNER", ""),
    }


def _sides(equality: exp.EQ) -> set[tuple[str, str]]:
    columns = [side for side in (equality.left, equality.right) if isinstance(side, exp.Column)]
    return {(column.table.lower(), column.name.lower()) for column in columns}
