"""Attempts draw tokens; a newer attempt of a job over the same nights fences the older one. Nights close once."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, insert, select

from nightloop.fault import Fault, FencedError
from nightloop.run import MAIN_VARIANT, Replay, RunKey
from nightloop.stores.database.engine import insert_missing, writing
from nightloop.stores.ledger.part import LedgerPart, key_of
from nightloop.stores.ledger.readmissions import CLOSING, count_readmissions
from nightloop.stores.ledger.schema import attempts, closed_nights


class AttemptRecords(LedgerPart):
    """Tokens, fences and closed nights."""

    def draw_token(self, replay: Replay, job: str, attempt: str = "", code: str | None = None) -> int:
        """Record a new attempt and return its token, higher than every token drawn before.

        Tokens follow the clock (milliseconds since 1970), so that a ledger restored from a backup draws higher ones
        than those which the lost ledger drew and the lake remembers; a clock that was set back does not lower them.
        """
        row = {
            "scope": replay.scope,
            "variant": replay.variant,
            "job": job,
            "first_as_of": replay.first,
            "last_as_of": replay.last,
            "attempt": attempt,
            "code": code,
        }
        with writing(self._engine, "attempts") as connection:
            drawn = connection.scalar(select(func.max(attempts.c.token))) or 0
            token = max(drawn + 1, time.time_ns() // 1_000_000)
            connection.execute(insert(attempts).values(token=token, **row))
        return token

    def stale_tokens(self, replay: Replay, job: str, token: int) -> list[int]:
        """Return the tokens of earlier attempts of the job that share a night with this one."""
        query = select(attempts.c.token).where(_overlapping(replay, job), attempts.c.token < token)
        return [row["token"] for row in self._fetch(query.order_by(attempts.c.token))]

    def drawn_wall(self, tokens: Sequence[int]) -> dict[int, datetime]:
        """Return when each token was drawn, by the clock on the wall."""
        query = select(attempts.c.token, attempts.c.recorded_wall).where(attempts.c.token.in_(tokens))
        return {row["token"]: row["recorded_wall"] for row in self._fetch(query)}

    def assert_not_fenced(self, replay: Replay, job: str, token: int) -> None:
        """Pass if no newer attempt of the job shares a night with this one.

        Raises:
            FencedError: one does; it names both tokens.
        """
        query = select(attempts.c.token, attempts.c.attempt).where(_overlapping(replay, job), attempts.c.token > token)
        newer = self._fetch(query.order_by(attempts.c.token.desc()).limit(1))
        if newer:
            where = f"{job} of {replay.run_key}, token {token}"
            found = f"token {newer[0]['token']} ({newer[0]['attempt'] or 'unnamed attempt'})"
            raise FencedError(Fault(where, "no newer attempt over the same nights", found, "the newer attempt writes"))

    def close_run(self, replay: Replay, token: int, readmissions: int = 0) -> None:
        """Close the nights of a replay; a night that closed before keeps what it knew then.

        Raises:
            FencedError: the nights have other than the given number of readmissions: one came while the run worked.
        """
        rows = [{**key_of(key), "known_to": replay.knowledge, "token": token} for key in replay.run_keys]
        with writing(self._engine, CLOSING) as connection:
            found = count_readmissions(connection, replay)
            if found != readmissions:
                where, expected = f"closing {replay.run_key}", f"{readmissions} readmissions, as when the run began"
                raise FencedError(Fault(where, expected, f"{found}", "the next attempt takes them in"))
            insert_missing(connection, closed_nights, rows)

    def is_closed(self, scope: str, as_of: datetime, variant: str = MAIN_VARIANT) -> bool:
        return self.known_to(RunKey(scope, as_of, variant)) is not None

    def known_to(self, run_key: RunKey) -> datetime | None:
        """Return up to which arrival a night knew the world when it closed; None while it is open."""
        condition = and_(*(closed_nights.c[name] == value for name, value in key_of(run_key).items()))
        found = self._fetch(select(closed_nights.c.known_to).where(condition))
        return found[0]["known_to"] if found else None

    def closed_nights(self, scope: str, variant: str = MAIN_VARIANT) -> list[datetime]:
        """Return the closed nights of a scope, oldest first."""
        query = select(closed_nights.c.as_of).where(closed_nights.c.scope == scope, closed_nights.c.variant == variant)
        return [row["as_of"] for row in self._fetch(query.order_by(closed_nights.c.as_of))]


def _overlapping(replay: Replay, job: str) -> Any:
    return and_(
        attempts.c.scope == replay.scope,
        attempts.c.variant == replay.variant,
        attempts.c.job == job,
        attempts.c.first_as_of <= replay.last,
        attempts.c.last_as_of >= replay.first,
    )
