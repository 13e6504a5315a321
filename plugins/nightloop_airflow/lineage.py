"""Hand a task's OpenLineage run to the job that it starts, so that the job's run has it as parent."""

import logging

from airflow.sdk import Context

log = logging.getLogger(__name__)
PARENT_VARIABLE = "OPENLINEAGE_PARENT_ID"


def find_parent(context: Context) -> dict[str, str]:
    """Return the variable that names the task's run; nothing where OpenLineage's provider is absent or switched off."""
    try:
        from airflow.providers.openlineage import conf
        from airflow.providers.openlineage.plugins.macros import lineage_parent_id

        return {} if conf.is_disabled() else {PARENT_VARIABLE: lineage_parent_id(context["ti"])}
    except ImportError:
        return {}
    except Exception as error:  # noqa: BLE001 - lineage is told about a task, it is no part of it
        log.warning("the job's lineage has no parent: %s", error)
        return {}
