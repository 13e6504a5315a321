"""Where the columns of a folder's SQL come from."""

from collections.abc import Collection, Mapping

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage

from nightloop.sql.check import list_output

_DIALECT = "spark"


def find_origins(sql: str, views: Mapping[str, Collection[str]]) -> dict[str, tuple[str, str]]:
    """Return the view and column behind each output column that is made of one column only.

    >>> views = {"a": ["id", "x"], "b": ["id", "y"]}
    >>> find_origins("SELECT a.id AS k, a.x + b.y AS z FROM a JOIN b ON a.id = b.id", views)
    {'k': ('a', 'id')}
    """
    schema: dict[str, object] = {view: dict.fromkeys(columns, "string") for view, columns in views.items() if columns}
    origins = {}
    for column in list_output(sql, views) or ():
        try:
            nodes = [*lineage(column, sql, schema=schema, dialect=_DIALECT).walk()]
        except SqlglotError:
            continue
        leaves = {_name(node) for node in nodes if _is_leaf(node)}
        if len(leaves) == 1:
            origins[column] = leaves.pop()
    return origins


def _is_leaf(node: Node) -> bool:
    return not node.downstream and isinstance(node.expression, exp.Table)


def _name(node: Node) -> tuple[str, str]:
    return node.expression.name, node.name.rpartition(".")[2]
