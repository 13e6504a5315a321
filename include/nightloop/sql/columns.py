"""Which columns a SELECT reads, what each of its outputs is made from, and which names it gets wrong."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope

from nightloop.fault import Fault, NightloopError

DIALECT = "spark"
EVERY = "*"  # stands for the records of a view, where they are counted and none of their columns is read
Views = Mapping[str, Collection[str]]
ViewColumn = tuple[str, str]


@dataclass(frozen=True)
class UnknownColumn:
    """A column that none of the views in its reach has."""

    node: exp.Column
    name: str
    views: tuple[str, ...]
    known: frozenset[str]


class TracedSelect:
    """One SELECT whose every column has been led back to the view it comes from. Names are in lower case."""

    def __init__(self, text: str, views: Views) -> None:
        """Parse and qualify.

        Raises:
            NightloopError: the text is no SELECT that can be traced.
        """
        schema: dict[str, object] = {view: dict.fromkeys(columns, "string") for view, columns in views.items()}
        try:
            parsed = sqlglot.parse_one(text, read=DIALECT)
            # not validated here: `find_unknown` tells unknown columns with their line
            qualified = qualify(parsed, schema=schema, dialect=DIALECT, validate_qualify_columns=False)
            scopes = traverse_scope(qualified)
        except SqlglotError as error:
            found = " ".join(str(error).split())[:160]
            raise NightloopError(Fault("folder SQL", "one SELECT over its views", found, "correct it")) from None
        self._root = scopes[-1]  # inner queries come first
        self._scope_of = {id(column): scope for scope in scopes for column in scope.columns}
        self._scopes = scopes

    @property
    def outputs(self) -> tuple[str, ...]:
        return _names(self._root)

    def origins(self, output: str) -> frozenset[ViewColumn]:
        """Return the columns of views whose values an output is made from; conditions and joins do not count."""
        return frozenset(self._follow(self._root, output.lower()))

    def columns_read(self) -> frozenset[ViewColumn]:
        """Return every column of a view that the query touches, in conditions and joins as well."""
        columns = (column for scope in self._scopes for column in scope.columns)
        return frozenset(origin for column in columns for origin in self._resolve(column))

    def expression(self, output: str) -> str:
        """Return how an output is computed, as text with one layout; with WITH or UNION that is the whole query."""
        statement = self._root.expression
        if not isinstance(statement, exp.Select) or statement.args.get("with_") or statement.args.get("with"):
            return _layout(statement)
        found = next(one for one in statement.selects if one.alias_or_name.lower() == output)
        return _layout(found.unalias())

    def _follow(self, scope: Scope, output: str) -> Iterator[ViewColumn]:
        expression = scope.expression
        if isinstance(expression, exp.SetOperation):
            position = _names(scope).index(output)
            for side in scope.set_operation_scopes:
                yield from self._follow(side, _names(side)[position])
        elif isinstance(expression, exp.Select):
            for select in expression.selects:
                if select.alias_or_name.lower() == output:
                    yield from self._made_from(select, scope)
        else:  # a LATERAL VIEW: its rows are made from what it explodes
            yield from self._made_from(expression, scope)

    def _made_from(self, expression: exp.Expr, scope: Scope) -> Iterator[ViewColumn]:
        for column in expression.find_all(exp.Column):
            yield from self._resolve(column)
        if any(isinstance(count.this, (exp.Star, exp.Literal)) for count in expression.find_all(exp.Count)):
            tables = (source for _, source in scope.selected_sources.values())
            yield from ((table.name.lower(), EVERY) for table in tables if isinstance(table, exp.Table))

    def _resolve(self, column: exp.Column) -> Iterator[ViewColumn]:
        scope = self._scope_of.get(id(column))
        source = scope.sources.get(column.table) if scope is not None else None
        if isinstance(source, exp.Table):
            yield source.name.lower(), column.name.lower()
        elif isinstance(source, Scope):
            yield from self._follow(source, column.name.lower())


def find_unknown(statement: exp.Query, views: Views) -> Iterator[UnknownColumn]:
    """Yield the columns that do not exist, in inner queries too; a view without columns may have any."""
    lowered = {view.lower(): frozenset(column.lower() for column in columns) for view, columns in views.items()}
    checked: set[int] = set()  # a subquery's column that means an outer view stands in both scopes
    for scope in traverse_scope(statement):
        # a pivot makes columns of values, which only the data tells
        columns = [] if scope.pivots else [column for column in scope.columns if id(column) not in checked]
        for column in columns:
            checked.add(id(column))
            yield from _check(column, scope, lowered)


def _check(column: exp.Column, scope: Scope, views: Mapping[str, frozenset[str]]) -> Iterator[UnknownColumn]:
    if isinstance(column.this, exp.Star):
        return
    first, *fields = [part.name for part in column.parts]
    reach = list(_reach(scope))
    # where no view is called `a`, `a.b` is a field of the column `a`
    if fields and (named := next((sources[first.lower()] for sources in reach if first.lower() in sources), None)):
        known = _columns_of(named, views)
        if known is not None and fields[0].lower() not in known:
            yield UnknownColumn(column, fields[0], (_name_of(named, first),), known)
        return
    if first.lower() in _aliases(scope):
        return
    near = {name: _columns_of(source, views) for sources in reach for name, source in sources.items()}
    if None in near.values() or any(first.lower() in (known or ()) for known in near.values()):
        return
    shown = tuple(sorted(_name_of(source, name) for sources in reach for name, source in sources.items()))
    yield UnknownColumn(column, first, shown, frozenset(name for known in near.values() for name in known or ()))


def _reach(scope: Scope) -> Iterator[dict[str, "exp.Table | Scope"]]:
    """Yield what a scope reads from, then what the queries around it do."""
    current: Scope | None = scope
    while current is not None:
        chosen = {name: source for name, (_, source) in current.selected_sources.items()}
        udtfs = {name: source for name, source in current.sources.items() if _is_udtf(source)}
        lateral = current.sources if _is_udtf(current) else {}
        yield {name.lower(): source for name, source in {**chosen, **udtfs, **lateral}.items()}
        # a WITH clause does not see the query around it
        current = current.parent if not current.is_cte else None


def _columns_of(source: "exp.Table | Scope", views: Mapping[str, frozenset[str]]) -> frozenset[str] | None:
    """Return the columns of a view or an inner query; None where they cannot be told."""
    if isinstance(source, exp.Table):
        return views.get(source.name.lower()) or None
    expression = source.expression
    holder = expression if _is_udtf(source) else expression.parent
    if isinstance(holder, (exp.CTE, exp.Subquery, exp.UDTF)) and holder.alias_column_names:
        return frozenset(name.lower() for name in holder.alias_column_names)
    if isinstance(expression, exp.SetOperation):
        return _columns_of(source.set_operation_scopes[0], views)
    if not isinstance(expression, exp.Select):
        return None
    named: set[str] = set()
    for select in expression.selects:
        if not select.is_star:
            named.add(select.alias_or_name.lower())
            continue
        qualifier = select.table.lower() if isinstance(select, exp.Column) else None
        (own, *_) = _reach(source)
        for name, inner in own.items():
            columns = _columns_of(inner, views) if qualifier in {None, name} else frozenset()
            if columns is None:
                return None
            named |= columns
    return frozenset(named)


def _aliases(scope: Scope) -> set[str]:
    """Return the outputs that a SELECT names itself: Spark lets its other outputs, GROUP BY and HAVING use them."""
    expression = scope.expression
    return (
        {one.alias.lower() for one in expression.selects if one.alias} if isinstance(expression, exp.Select) else set()
    )


def _name_of(source: "exp.Table | Scope", alias: str) -> str:
    return source.name if isinstance(source, exp.Table) else alias


def _names(scope: Scope) -> tuple[str, ...]:
    """Return the outputs of a query by position; a set operation is named by its first side."""
    expression = scope.expression
    return tuple(name.lower() for name in expression.named_selects) if isinstance(expression, exp.Query) else ()


def _is_udtf(source: "exp.Table | Scope") -> bool:
    return isinstance(source, Scope) and isinstance(source.expression, exp.UDTF)


def _layout(expression: exp.Expr) -> str:
    return expression.sql(dialect=DIALECT, comments=False, normalize_functions="upper")
