"""What a feature version is: everything that decides its values, kept so that it can be computed after a change.

A definition restores folders as they were. Clean tables are shared by all versions, so a version can be computed from
one only if the columns that it reads are still made as it knows them; `describe_cleaning` and `CleanNeeds` tell.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from nightloop.asof.params import LookbackDays
from nightloop.etl.params import Column, KnownAt
from nightloop.fault import NightloopError
from nightloop.folders.contracts import clean_columns, clean_columns_of, feature_views, raw_views, spine_views
from nightloop.folders.source import Source
from nightloop.folders.use_case import Features, SourceJoin, UseCase
from nightloop.privacy.params import PiiTreatment
from nightloop.quality.params import Suite
from nightloop.sql.check import normalise_sql
from nightloop.sql.columns import TracedSelect, ViewColumn, Views

IDENTITY = "(records)"  # stands among the columns of a clean table for what names a record and says when it was known
Cleaning = Mapping[str, str]


class SourceDefinition(BaseModel):
    """One source as a feature version knows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, Column]
    keys: tuple[str, ...]
    known_at: KnownAt
    event_time: str
    tombstone: str | None
    lookback_days: LookbackDays
    pii: dict[str, PiiTreatment]
    clean_sql: str
    join: SourceJoin

    def restore(self, source: Source) -> Source:
        """Return the source as it was; schedule, address and suite are those of today."""
        return source.model_copy(
            update={name: getattr(self, name) for name in type(self).model_fields if name != "join"}
        )


class FeatureDefinition(BaseModel):
    """One feature version of a use case, and beside it the suite that judges it and changes no value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity: tuple[str, ...]
    features: Features
    spine_sql: str
    features_sql: str
    sources: dict[str, SourceDefinition]
    suite: Suite

    @classmethod
    def of(cls, use_case: UseCase, sources: Mapping[str, Source]) -> Self:
        """Describe the features of folders as they are now."""
        own = {name: getattr(use_case, name) for name in ("entity", "features", "spine_sql", "features_sql", "suite")}
        taken = [name for name in SourceDefinition.model_fields if name != "join"]
        described = {
            name: SourceDefinition(join=use_case.sources[name], **{field: getattr(source, field) for field in taken})
            for name, source in sources.items()
        }
        return cls(sources=described, **own)

    def restore(self, use_case: UseCase, sources: Mapping[str, Source]) -> tuple[UseCase, dict[str, Source]]:
        """Return today's folders with everything that decides or judges the features as it was."""
        own = {name: getattr(self, name) for name in ("entity", "features", "spine_sql", "features_sql", "suite")}
        joins = {name: source.join for name, source in self.sources.items()}
        restored = {name: source.restore(sources[name]) for name, source in self.sources.items()}
        return use_case.model_copy(update={**own, "sources": joins}), restored


def describe_cleaning(source: Source) -> dict[str, str]:
    """Return, for each clean column, a digest of how it is made; one more entry for what names a record.

    Where the query cannot be traced, every column is made by all of it.
    """
    described = {IDENTITY: _digest([source.keys, source.known_at.model_dump(mode="json")])}
    try:
        traced = TracedSelect(source.clean_sql, raw_views(source))
    except NightloopError:
        whole = _digest([normalise_sql(source.clean_sql), _treated(source, tuple(source.columns))])
        return {**described, **dict.fromkeys((name.lower() for name in clean_columns(source)), whole)}
    for output in traced.outputs:
        raw = tuple(sorted(column for _, column in traced.origins(output)))
        described[output] = _digest([traced.expression(output), _treated(source, raw)])
    return described


def name_cleaning(cleaning: Cleaning) -> str:
    """Return the short name of one way to clean a source."""
    return _digest(cleaning)


@dataclass(frozen=True)
class CleanNeeds:
    """The columns of one clean table that a feature version reads, and how it wants them made."""

    columns: Cleaning

    def differing(self, cleaning: Cleaning) -> list[str]:
        """Return the needed columns that a clean table made this way lacks or makes otherwise."""
        return sorted(name for name, made in self.columns.items() if cleaning.get(name) != made)


def clean_needs(use_case: UseCase, sources: Mapping[str, Source]) -> dict[str, CleanNeeds]:
    """Return what the features of a use case need of each clean table: columns read, joined on, or naming records."""
    clean = clean_columns_of(use_case, sources)
    read = {
        *_columns_read(use_case.spine_sql, spine_views(clean)),
        *_columns_read(use_case.features_sql, feature_views(use_case, clean)),
    }
    needs = {}
    for name, source in sources.items():
        used = {column for view, column in read if view in {name, f"{name}_new"}}
        used |= {column.lower() for column in (*source.keys, *use_case.sources[name].join)} | {IDENTITY}
        if source.tombstone is not None:
            condition = f"SELECT 1 AS one FROM records WHERE {source.tombstone}"  # noqa: S608 - the folder's own
            used |= {column for _, column in _columns_read(condition, {"records": clean[name]})}
        made = describe_cleaning(source)
        needs[name] = CleanNeeds({column: made[column] for column in sorted(used & made.keys())})
    return needs


def _columns_read(sql: str, views: Views) -> Collection[ViewColumn]:
    """Return the columns of views that a query reads: all of them where it cannot be traced."""
    try:
        return TracedSelect(sql, views).columns_read()
    except NightloopError:
        return {(view, column.lower()) for view, columns in views.items() for column in columns}


def _treated(source: Source, raw: tuple[str, ...]) -> list[object]:
    """Return the types and treatments of raw columns."""
    wanted = {name.lower() for name in raw}
    types = [[name, column.type] for name, column in source.columns.items() if name.lower() in wanted]
    pii = [[name, rule.model_dump(mode="json")] for name, rule in source.pii.items() if name.lower() in wanted]
    return [types, pii]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
