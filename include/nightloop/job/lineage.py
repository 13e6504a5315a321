"""OpenLineage events of a job run: START, then COMPLETE or FAIL, with what it read and wrote in which Delta version.

They go where OpenLineage's own variables say, by default to a file of the state folder. Events name tables, columns and
versions, never values. Whatever goes wrong here is a warning in the job's log and nothing else.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightloop.dataset import DatasetRef
from nightloop.settings import Settings, lineage_transport

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent, RunState

log = logging.getLogger("nightloop.lineage")
PARENT_VARIABLE = "OPENLINEAGE_PARENT_ID"
PRODUCER = "https://github.com/nightloop/nightloop"
_PARENT_PARTS = 3  # namespace/job/run id
Origins = Mapping[str, tuple[str, ...]]


@dataclass
class Touched:
    """What a job run read and wrote: versions of tables by name, rows of what it wrote, files from outside the lake.

    `origins`: for a table it wrote, the `source.column`s as received that each column is made from.
    """

    reads: Mapping[DatasetRef, int] = field(default_factory=dict)
    writes: Mapping[DatasetRef, tuple[int, int]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    origins: Callable[[DatasetRef], Origins] = lambda _: {}


class LineageRun:
    """The events of one job run. `tags` say which run key it computed, with which code, for whom."""

    def __init__(self, job: str, as_of: datetime, settings: Settings, tags: Mapping[str, str]) -> None:
        self._job = job
        self._as_of = as_of
        self._settings = settings
        self._tags = tags
        self._client: OpenLineageClient | None = None
        self._run_id = ""

    def start(self) -> None:
        """Say that the job begins."""
        with _warning():
            from openlineage.client.event_v2 import RunState
            from openlineage.client.uuid import generate_new_uuid

            self._client, self._run_id = _open_client(self._settings.home), str(generate_new_uuid())
            self._client.emit(self._event(RunState.START))

    def finish(self, touched: Touched, exit_code: int, *, is_done: bool) -> None:
        """Say how the job ended and what it touched; nothing where the beginning could not be said."""
        with _warning():
            if self._client is None:
                return
            from openlineage.client.event_v2 import RunState

            state = RunState.COMPLETE if is_done else RunState.FAIL
            self._client.emit(self._event(state, touched, "" if is_done else f"exit code {exit_code}"))
            self._client.close()

    def _event(self, state: "RunState", touched: Touched | None = None, failure: str = "") -> "RunEvent":
        from openlineage.client.event_v2 import Job, Run, RunEvent
        from openlineage.client.facet_v2 import job_type_job

        kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="NIGHTLOOP", jobType="JOB")
        touched = touched or Touched()
        return RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            eventType=state,
            producer=PRODUCER,
            job=Job(_namespace(), self._job, facets={"jobType": kind}),
            run=Run(self._run_id, facets=self._run_facets(failure)),
            inputs=[*self._tables_read(touched), *self._files_read(touched)],
            outputs=[self._describe_output(ref, *found, touched) for ref, found in touched.writes.items()],
        )

    def _run_facets(self, failure: str) -> dict[str, Any]:
        from openlineage.client.facet_v2 import error_message_run, nominal_time_run, parent_run, tags_run

        fields = [tags_run.TagsRunFacetFields(name, value, "nightloop") for name, value in self._tags.items() if value]
        facets: dict[str, Any] = {
            "nominalTime": nominal_time_run.NominalTimeRunFacet(self._as_of.isoformat()),
            "tags": tags_run.TagsRunFacet(fields),
        }
        parts = os.environ.get(PARENT_VARIABLE, "").split("/")
        if len(parts) == _PARENT_PARTS:
            namespace, name, run_id = parts
            facets["parent"] = parent_run.ParentRunFacet(parent_run.Run(run_id), parent_run.Job(namespace, name))
        if failure:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(failure, "PYTHON")
        return facets

    def _tables_read(self, touched: Touched) -> "Iterator[InputDataset]":
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import dataset_version_dataset

        for ref, version in touched.reads.items():
            facet = dataset_version_dataset.DatasetVersionDatasetFacet(str(version))
            yield InputDataset(*name_dataset(f"{self._settings.lake}/{ref.path}"), facets={"version": facet})

    def _files_read(self, touched: Touched) -> "Iterator[InputDataset]":
        from openlineage.client.event_v2 import InputDataset

        for address in touched.files:
            yield InputDataset(*name_dataset(address))

    def _describe_output(self, ref: DatasetRef, version: int, rows: int, touched: Touched) -> "OutputDataset":
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import (
            column_lineage_dataset,
            dataset_version_dataset,
            output_statistics_output_dataset,
            schema_dataset,
        )

        from nightloop.stores.lake.files import LakeFiles

        columns = LakeFiles(self._settings.lake).table(ref).to_pyarrow_dataset().schema
        fields = [schema_dataset.SchemaDatasetFacetFields(column.name, str(column.type)) for column in columns]
        facets: dict[str, Any] = {
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(str(version)),
            "schema": schema_dataset.SchemaDatasetFacet(fields),
        }
        made = {
            name: [self._input_field(one) for one in found] for name, found in touched.origins(ref).items() if found
        }
        if made:
            lineage = {name: column_lineage_dataset.Fields(found) for name, found in made.items()}
            facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(lineage)
        statistics = {"outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rows)}
        named = name_dataset(f"{self._settings.lake}/{ref.path}")
        return OutputDataset(*named, facets=facets, outputFacets=statistics)

    def _input_field(self, origin: str) -> Any:
        from openlineage.client.facet_v2 import column_lineage_dataset

        source, _, column = origin.partition(".")
        namespace, name = name_dataset(f"{self._settings.lake}/raw/{source}")
        return column_lineage_dataset.InputField(namespace, name, column)


def name_dataset(address: str) -> tuple[str, str]:
    """Return namespace and name by OpenLineage's convention: of an object its bucket and key, of a path `file`.

    User, password and query of an address are left out.

    >>> name_dataset("s3a://nightloop/lake/raw/trips"), name_dataset("/state/lake/raw/trips")
    (('s3://nightloop', 'lake/raw/trips'), ('file', '/state/lake/raw/trips'))
    """
    if "://" not in address:
        return "file", str(Path(address))
    scheme, _, rest = address.partition("://")
    place, _, name = rest.partition("?")[0].partition("/")
    return f"{scheme.replace('s3a', 's3')}://{place.rpartition('@')[2]}", name


def _namespace() -> str:
    return os.environ.get("OPENLINEAGE_NAMESPACE", "nightloop")


def _open_client(home: Path) -> "OpenLineageClient":
    from openlineage.client import OpenLineageClient

    logging.getLogger("openlineage").setLevel(logging.WARNING)
    transport = lineage_transport(home)
    (home / "lineage").mkdir(parents=True, exist_ok=True)
    return OpenLineageClient(config={"transport": transport} if transport else None)


@contextmanager
def _warning() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - lineage is told about a run, it is no part of it
        log.warning("no OpenLineage event: %s: %s", type(error).__name__, error)
