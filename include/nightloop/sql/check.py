"""Hold a folder's SQL to its contract: one deterministic SELECT over its declared views."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope

from nightloop.fault import Fault
from nightloop.sql.columns import DIALECT, find_unknown

_CLOCK = {
    "current_date", "curdate", "current_timestamp", "current_time", "localtimestamp", "localtime", "now", "sysdate",
    "getdate", "utc_timestamp",
}  # fmt: skip
_CLOCK_WITHOUT_ARGUMENTS = {"unix_timestamp", "to_unix_timestamp", "date", "timestamp"}
_CHANCE = {
    "rand", "random", "randn", "randstr", "uniform", "uuid", "generate_uuid", "shuffle",
    "monotonically_increasing_id", "spark_partition_id", "input_file_name", "input_file_block_start",
    "input_file_block_length", "newid",
}  # fmt: skip
_SESSION = {
    "current_user", "user", "session_user", "current_database", "current_schema", "current_catalog",
    "current_timezone", "version", "current_version", "current_path", "is_account_group_member",
}  # fmt: skip
_OUTSIDE = {
    "reflect", "try_reflect", "java_method", "assert_true", "raise_error", "read_files", "sql", "http_request",
    "ai_query", "secret", "try_secret", "read_kafka", "table_changes", "sql_keywords", "collations",
}  # fmt: skip
_UNORDERED = {
    "first", "first_value", "last", "last_value", "any_value", "collect_list", "array_agg", "array_unique_agg",
    "collect_set", "string_agg", "listagg", "group_concat", "approx_top_k",
}  # fmt: skip
_ORDER_FREE = {"sort_array", "array_sort", "size", "cardinality", "array_size", "array_max", "array_min"}
_MULTIPLYING = {
    "explode",
    "explode_outer",
    "posexplode",
    "posexplode_outer",
    "inline",
    "inline_outer",
    "stack",
    "unnest",
}
_ROW_WISE_ONLY = (exp.Group, exp.Distinct, exp.Join, exp.Limit, exp.Where, exp.Having, exp.Window, exp.AggFunc,
                  exp.Subquery, exp.Union, exp.Explode, exp.Lateral)  # fmt: skip


@dataclass(frozen=True)
class SqlContract:
    """What one SQL file may read and must return.

    `views` maps each view to its columns (an empty collection: not known). `returns` are output columns that must be
    there. `is_row_wise`: one row in, one row out, as in clean.sql.
    """

    views: Mapping[str, Collection[str]]
    returns: tuple[str, ...] = ()
    is_row_wise: bool = False


def check_sql(text: str, file: str, contract: SqlContract) -> list[Fault]:
    """Return everything that is wrong with a SQL file, each with its line; nothing when it may run."""
    try:
        statements = [statement for statement in sqlglot.parse(text, read=DIALECT) if statement is not None]
    except (ParseError, TokenError) as error:
        return [_explain_syntax(error, file)]
    # brackets nested too deep for the parser end in a RecursionError
    except (SqlglotError, RecursionError) as error:
        return [Fault(f"{file}:1", "one SELECT", _shorten(str(error)), "simplify it")]
    if len(statements) != 1:
        line = _line_of(statements[1]) if len(statements) > 1 else 1
        return [Fault(f"{file}:{line}", "one statement", f"{len(statements)} statements", "keep the SELECT alone")]
    (statement,) = statements
    if not isinstance(statement, exp.Query):
        return [Fault(f"{file}:{_line_of(statement)}", "a SELECT", statement.key.upper(), "folders only read")]
    _mark_lines(statement, text)
    faults = [*_check_nodes(statement, file, contract), *_check_tables(statement, file, contract)]
    # of a view that is not there every column would be a fault as well
    faults = faults or list(_check_columns(statement, file, contract))
    return sorted(faults, key=_by_line)


def is_one_query(text: str) -> bool:
    """Tell whether text in any dialect of SQL is one query and nothing else.

    >>> is_one_query("SELECT id FROM t"), is_one_query("SELECT 1; DROP TABLE t"), is_one_query("DELETE FROM t")
    (True, False, False)
    """
    try:
        statements = [each for each in sqlglot.parse(text) if each is not None]
    except SqlglotError:
        return False
    return len(statements) == 1 and isinstance(statements[0], exp.Query)


def check_condition(text: str, where: str, columns: Collection[str]) -> list[Fault]:
    """Check a SQL condition such as `tombstone` or `observed_when` over the given columns."""
    try:
        condition = sqlglot.parse_one(f"SELECT 1 WHERE {text}", read=DIALECT)
    except SqlglotError as error:
        return [Fault(where, "a SQL condition", _shorten(str(error)), "correct it")]
    contract = SqlContract({"row": columns})
    plain = condition.find(exp.Where)
    if plain is None or condition.find(exp.Subquery, exp.From, exp.Union, exp.AggFunc, exp.Window, exp.Group):
        return [Fault(where, "one condition on the row", text, "use the row's columns only")]
    faults = [
        Fault(where, fault.expected, fault.found, fault.remedy) for fault in _check_nodes(condition, where, contract)
    ]
    known = {column.lower() for column in columns}
    unknown = [column.name for column in condition.find_all(exp.Column) if known and column.name.lower() not in known]
    expected = f"one of the columns {_list(columns)}"
    return [*faults, *(Fault(where, expected, name, "correct its name") for name in unknown)]


def list_output(text: str, views: Mapping[str, Collection[str]]) -> list[str] | None:
    """Return the names of a SELECT's output columns, or None where they cannot be told."""
    try:
        statement = sqlglot.parse_one(text, read=DIALECT)
        if statement.find(exp.Star):
            schema: dict[str, object] = {view: dict.fromkeys(columns, "string") for view, columns in views.items()}
            statement = qualify(statement, schema=schema, dialect=DIALECT, validate_qualify_columns=False)
    except SqlglotError:
        return None
    if not isinstance(statement, exp.Query):
        return None
    names = [str(name) for name in statement.named_selects]
    return None if "*" in names else names


def normalise_sql(text: str) -> str:
    """Return SQL without comments and with one layout, so that only its meaning decides whether it changed.

    >>> normalise_sql("select a -- first" + chr(10) + "from raw") == normalise_sql("SELECT a FROM raw")
    True
    """
    return sqlglot.parse_one(text, read=DIALECT).sql(dialect=DIALECT, comments=False, normalize_functions="upper")


def _check_nodes(statement: exp.Expr, file: str, contract: SqlContract) -> Iterator[Fault]:
    for node in statement.walk():
        where = f"{file}:{_line_of(node)}"
        if isinstance(node, exp.Select) and any(hint for hint in (node.args.get("into"), node.args.get("sample"))):
            yield Fault(where, "a plain SELECT", "SELECT INTO or a sample", "remove it")
        if isinstance(node, exp.TableSample):
            yield Fault(where, "a deterministic SELECT", "TABLESAMPLE", "keep every row; sampling is chance")
        if isinstance(
            node, (exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Command, exp.QueryTransform)
        ):
            yield Fault(where, "a SELECT", node.key.upper(), "folders only read")
        if isinstance(node, (exp.Parameter, exp.Placeholder, exp.SessionParameter)):
            yield Fault(where, "fixed SQL", f"the variable {node.sql(dialect=DIALECT)}", "write the value out")
        if isinstance(node, (exp.Limit, exp.Offset)) and not contract.is_row_wise:
            yield Fault(where, "every row of the answer", node.key.upper(), "which rows stay would be chance")
        if contract.is_row_wise and isinstance(node, _ROW_WISE_ONLY):
            yield Fault(where, "one row out for each row in", node.key.upper(), "clean.sql only types and renames")
        if isinstance(node, exp.Func) or _is_bare_call(node):
            yield from _check_function(node, where)
            if contract.is_row_wise and _names_of(node) & _MULTIPLYING:
                yield Fault(where, "one row out for each row in", node.sql(dialect=DIALECT), "keep the array")


def _check_function(node: exp.Expr, where: str) -> Iterator[Fault]:
    names = _names_of(node)
    shown = node.sql(dialect=DIALECT)
    has_arguments = bool(list(node.iter_expressions())) and not _is_bare_call(node)
    window = node.find_ancestor(exp.Window)
    is_ordered = window is not None and bool(window.args.get("order"))
    if names & _CLOCK or (names & _CLOCK_WITHOUT_ARGUMENTS and not has_arguments):
        yield Fault(where, "SQL that does not ask the clock", shown, "use as_of or decision_time")
    elif names & _CHANCE:
        yield Fault(where, "SQL without chance or file names", shown, "the same rows must give the same answer")
    elif names & _SESSION:
        yield Fault(where, "SQL that does not ask the session", shown, "remove it")
    elif names & _OUTSIDE:
        yield Fault(where, "SQL functions only", shown, "remove it; folders run no other code")
    elif names & _UNORDERED and not is_ordered and not _is_sorted(node):
        yield Fault(where, "an aggregate that no order of rows changes", shown, "use max_by, min_by, max or sort_array")


def _check_tables(statement: exp.Query, file: str, contract: SqlContract) -> Iterator[Fault]:
    views = {view.lower() for view in contract.views}
    named = _ctes_read(statement)
    expected = f"one of the views {_list(contract.views)}"
    for table in statement.find_all(exp.Table):
        where = f"{file}:{_line_of(table)}"
        shown = table.sql(dialect=DIALECT)
        if isinstance(table.this, exp.Func):
            yield Fault(where, expected, f"the table function {shown}", "remove it")
        elif table.args.get("db") or table.args.get("catalog"):
            yield Fault(where, expected, f"the path or table {shown}", "read a view")
        elif table.args.get("version") or table.args.get("when") or table.args.get("changes"):
            yield Fault(where, "a view as it is", f"time travel in {shown}", "as-of views already are in the past")
        elif id(table) not in named and table.name.lower() not in views:
            yield Fault(where, expected, table.name, "correct the name or declare it")


def _check_columns(statement: exp.Query, file: str, contract: SqlContract) -> Iterator[Fault]:
    """Check the columns of declared views, and the output, as far as they can be told without a database."""
    for unknown in find_unknown(statement, contract.views):
        if not _is_bare_call(unknown.node):
            close = get_close_matches(unknown.name.lower(), sorted(unknown.known), 1)
            remedy = f"did you mean `{close[0]}`?" if close else "correct its name"
            expected = f"a column of {' or '.join(unknown.views)}: {_list(unknown.known)}"
            yield Fault(f"{file}:{_line_of(unknown.node)}", expected, unknown.name, remedy)
    found = list_output(statement.sql(dialect=DIALECT), contract.views)
    if found is None:
        return
    lowered = {output.lower() for output in found}
    for name in contract.returns:
        if name.lower() not in lowered:
            yield Fault(f"{file}:1", f"the output column `{name}`", f"the columns {_list(found)}", "select it")
    for name in sorted({output for output in found if found.count(output) > 1}):
        yield Fault(f"{file}:1", "every output column once", f"`{name}` {found.count(name)} times", "rename one")


def _ctes_read(statement: exp.Query) -> set[int]:
    """Return the ids of the table nodes that name a WITH clause in their reach, and so no table of the catalog."""
    return {
        id(table)
        for scope in traverse_scope(statement)
        for table in scope.tables
        if isinstance(scope.sources.get(table.alias_or_name), Scope)
    }


def _is_bare_call(node: exp.Expr) -> bool:
    """Spark calls a few functions without parentheses: `SELECT current_date`."""
    # without `user` and `version`, which may well be columns
    return (
        isinstance(node, exp.Column)
        and not node.table
        and node.name.lower() in (_CLOCK | _SESSION) - {"user", "version"}
    )


def _names_of(node: exp.Expr) -> set[str]:
    if isinstance(node, (exp.Anonymous, exp.Column)):
        return {node.name.lower()}
    # the parser takes several names for one function and writes it by one: all of them are held against the lists
    written = str(node.meta.get("name", "")).lower()
    names = {name.lower() for name in type(node).sql_names()} if isinstance(node, exp.Func) else set()
    return {*names, written, node.sql(dialect=DIALECT).split("(")[0].strip().lower()} - {""}


def _is_sorted(node: exp.Expr) -> bool:
    """Tell whether what surrounds an aggregate makes the order of its rows irrelevant."""
    parent = node.parent
    return isinstance(parent, exp.Func) and bool(_names_of(parent) & _ORDER_FREE)


def _mark_lines(statement: exp.Query, text: str) -> None:
    """Give calls that the parser left without a line that of the first word of their name."""
    tokens = sqlglot.tokenize(text, read=DIALECT)
    for node in statement.find_all(exp.Func):
        names = _names_of(node)
        if "line" not in node.meta and (
            found := next((token for token in tokens if token.text.lower() in names), None)
        ):
            node.meta["line"] = found.line


def _line_of(node: exp.Expr) -> int:
    """Return the line of a node, or that of the first token below or above it that knows its own."""
    for candidate in (*node.walk(), *_ancestors(node)):
        line = candidate.meta.get("line")
        if line is not None:
            return int(line)
    return 1


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    current = node.parent
    while current is not None:
        yield current
        current = current.parent


def _explain_syntax(error: ParseError | TokenError, file: str) -> Fault:
    details = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    line = details.get("line") or 1
    found = details.get("description") or str(error)
    highlight = str(details.get("highlight") or "")
    return Fault(
        f"{file}:{line}", "one SELECT that parses", _shorten(f"{found} at `{highlight}`"), "correct the syntax"
    )


def _by_line(fault: Fault) -> int:
    return int(fault.where.rpartition(":")[2])


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def _shorten(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
