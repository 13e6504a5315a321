"""What feature versions and cleaned sources were made of, and which nights were built from which definition."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from nightloop.run import MAIN_VARIANT, Replay, format_night
from nightloop.stores.database.engine import current_rows
from nightloop.stores.ledger.part import RUN_KEY, LedgerPart, key_of
from nightloop.stores.ledger.rows import BuildRow, row_as
from nightloop.stores.ledger.schema import builds, definitions


class DefinitionRecords(LedgerPart):
    """Definitions by scope and version, and one build per night and dataset."""

    def keep_definition(self, scope: str, version: str, token: int, definition: Mapping[str, Any]) -> None:
        """Keep the definition of a version; one that is kept as it is adds nothing."""
        if self.definition(scope, version) != definition:
            row = {"scope": scope, "version": version, "token": token, "definition": definition}
            self._append(definitions, [row])

    def definition(self, scope: str, version: str) -> dict[str, Any] | None:
        """Return the definition of a version as it was kept last; None where none was kept."""
        mine = (definitions.c.scope == scope, definitions.c.version == version)
        query = select(definitions.c.definition).where(*mine).order_by(definitions.c.token.desc()).limit(1)
        found = self._fetch(query)
        return dict(found[0]["definition"]) if found else None

    def write_builds(self, replay: Replay, token: int, dataset: str, version: str, rows: Mapping[str, int]) -> None:
        """Record that a definition built the nights of a replay; `rows` by night, empty nights with 0."""
        base = {"dataset": dataset, "token": token, "version": version}
        built = [{**key_of(key), **base, "rows": rows[key.night]} for key in replay.run_keys if key.night in rows]
        self._append(builds, built)

    def builds(self, scope: str, dataset: str, variant: str = MAIN_VARIANT) -> dict[str, BuildRow]:
        """Return what built each night of a dataset, by night."""
        own = (builds.c.scope == scope, builds.c.dataset == dataset, builds.c.variant == variant)
        rows = [row_as(BuildRow, row) for row in self._fetch(current_rows(builds, (*RUN_KEY, "dataset"), *own))]
        return {format_night(row.as_of): row for row in rows}
