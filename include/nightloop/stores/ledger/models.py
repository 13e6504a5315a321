"""Registered models, and who is champion from which night on."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select

from nightloop.fault import Fault, NightloopError
from nightloop.stores.database.engine import reading, writing
from nightloop.stores.ledger.part import LedgerPart
from nightloop.stores.ledger.rows import ChampionRow, ModelRow, row_as
from nightloop.stores.ledger.schema import champion_changes, models


class ModelRecords(LedgerPart):
    """Models by version, and the champion in logical time."""

    def register_model(self, model: ModelRow) -> int:
        """Give a model the next version of its scope; a digest that is registered keeps its version."""
        with writing(self._engine, f"models/{model.scope}") as connection:
            same = and_(models.c.scope == model.scope, models.c.digest == model.digest)
            known = connection.scalar(select(models.c.version).where(same))
            if known is not None:
                return int(known)
            highest = connection.scalar(select(func.max(models.c.version)).where(models.c.scope == model.scope))
            version = int(highest or 0) + 1
            connection.execute(insert(models).values({**asdict(model), "version": version}))
            return version

    def model(self, scope: str, version: int) -> ModelRow:
        """Return one registered model.

        Raises:
            NightloopError: the scope has no such version.
        """
        with reading(self._engine) as connection:
            return _find_model(connection, scope, version)

    def models(self, scope: str) -> list[ModelRow]:
        """Return the registered models of a scope, by version."""
        query = select(models).where(models.c.scope == scope).order_by(models.c.version)
        return [row_as(ModelRow, row) for row in self._fetch(query)]

    def champion(self, scope: str, as_of: datetime) -> ModelRow | None:
        """Return the champion of a night: of the changes decided before it the last; None before the first."""
        query = (
            select(models)
            .join(champion_changes, _same_model())
            .where(champion_changes.c.scope == scope, champion_changes.c.decided_as_of < as_of)
            # of two changes decided as of one night the one made later holds
            .order_by(champion_changes.c.decided_as_of.desc(), champion_changes.c.id.desc())
        )
        found = self._fetch(query.limit(1))
        return row_as(ModelRow, found[0]) if found else None

    def change_champion(self, scope: str, version: int, decided_as_of: datetime, decided_by: str, why: str) -> None:
        """Make a version champion of the nights after `decided_as_of`; the same change made again adds nothing.

        Raises:
            NightloopError: the scope has no such version.
        """
        with writing(self._engine, f"champion/{scope}") as connection:
            _find_model(connection, scope, version)
            last = _last_change(connection, scope, decided_as_of)
            change = ChampionRow(scope, version, last.version if last else None, decided_as_of, decided_by, why)
            if last is None or last != replace(change, from_version=last.from_version):
                connection.execute(insert(champion_changes).values(asdict(change)))

    def champion_history(self, scope: str) -> list[ChampionRow]:
        """Return every change of champion in the order in which they hold."""
        query = select(champion_changes).where(champion_changes.c.scope == scope)
        rows = self._fetch(query.order_by(champion_changes.c.decided_as_of, champion_changes.c.id))
        return [row_as(ChampionRow, row) for row in rows]

    def champion_changes_since(self, scope: str, seen: int) -> list[ChampionRow]:
        """Return the changes of champion that were made after the first `seen` ones, as they were made."""
        query = select(champion_changes).where(champion_changes.c.scope == scope).order_by(champion_changes.c.id)
        return [row_as(ChampionRow, row) for row in self._fetch(query.offset(seen))]


def _same_model() -> Any:
    return and_(models.c.scope == champion_changes.c.scope, models.c.version == champion_changes.c.version)


def _find_model(connection: Connection, scope: str, version: int) -> ModelRow:
    one = and_(models.c.scope == scope, models.c.version == version)
    row = connection.execute(select(models).where(one)).mappings().first()
    if row is None:
        known = connection.scalars(select(models.c.version).where(models.c.scope == scope).order_by(models.c.version))
        expected = f"one of {list(known)}"
        raise NightloopError(Fault(f"model version of {scope}", expected, str(version), "name a registered version"))
    return row_as(ModelRow, row)


def _last_change(connection: Connection, scope: str, decided_as_of: datetime) -> ChampionRow | None:
    query = (
        select(champion_changes)
        .where(champion_changes.c.scope == scope, champion_changes.c.decided_as_of <= decided_as_of)
        .order_by(champion_changes.c.decided_as_of.desc(), champion_changes.c.id.desc())
    )
    row = connection.execute(query.limit(1)).mappings().first()
    return row_as(ChampionRow, row) if row else None
