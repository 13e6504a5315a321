"""Links from a task's page to what its job left behind."""

from typing import ClassVar

import attrs
from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey


@attrs.define()
class JobLink(BaseOperatorLink):
    """A link that the job's result names; absent until the job has run, and for results that are no web address."""

    result_name: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        link = str(getattr(operator, "links", {}).get(self.result_name, ""))
        return link if link.startswith(("http://", "https://", "/")) else ""


@attrs.define()
class MlflowLink(JobLink):
    name: ClassVar[str] = "MLflow run"
    result_name: ClassVar[str] = "mlflow"


@attrs.define()
class ReportLink(JobLink):
    name: ClassVar[str] = "Report"
    result_name: ClassVar[str] = "report"


@attrs.define()
class DataDocsLink(JobLink):
    name: ClassVar[str] = "Data Docs"
    result_name: ClassVar[str] = "data_docs"
