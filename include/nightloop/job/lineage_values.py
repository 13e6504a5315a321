"""Take out of Airflow's OpenLineage events what may hold values: the form of a run, and the words of an error.

OpenLineage loads this transformer by its name, in whatever process sends events; see `settings.lineage_transport`.
"""

from typing import Any

from openlineage.client.event_v2 import RunEvent
from openlineage.client.facet_v2 import error_message_run
from openlineage.client.transport.transform import EventTransformer

SEE_LOG = "see the task's log"
OWN_WORDS = "exit code "  # so a job words its failure, which holds no value


class DropValues(EventTransformer):  # type: ignore[misc] # its library is published without types
    """Sends every event on, without values: whose form named a subject to erase must not name it for ever."""

    def transform(self, event: Any) -> Any:
        if isinstance(event, RunEvent):
            for name, facet in (event.run.facets or {}).items():
                # facets of Airflow's provider spell it either way
                for run in (getattr(facet, part, None) for part in ("dagRun", "dag_run")):
                    if isinstance(run, dict):
                        run.pop("conf", None)
                if isinstance(facet, error_message_run.ErrorMessageRunFacet) and not facet.message.startswith(
                    OWN_WORDS
                ):
                    event.run.facets[name] = error_message_run.ErrorMessageRunFacet(SEE_LOG, facet.programmingLanguage)
        return event
