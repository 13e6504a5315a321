"""Tell somebody that a deadline has passed: in the log, and at a webhook where one is named."""

import logging
import os
from typing import Any

from airflow.sdk import Context

log = logging.getLogger(__name__)
WEBHOOK_VARIABLE = "NIGHTLOOP_ALERT_WEBHOOK"
_SECONDS = 10


def alert_of_deadline(context: Context) -> None:
    """Say which task failed and why; post it as `{"text": …}`, as chat services take it, to NIGHTLOOP_ALERT_WEBHOOK.

    A webhook that does not take it costs the task nothing but a line in its log, without the address, which is secret.
    """
    instance: Any = context["ti"]
    words = f"{instance.dag_id}.{instance.task_id} failed in run {instance.run_id}: {context.get('exception')}"
    log.error("ALERT %s", words)
    address = os.environ.get(WEBHOOK_VARIABLE)
    if not address:
        return
    import httpx

    try:
        httpx.post(address, json={"text": words}, timeout=_SECONDS).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("the alert did not reach the webhook: %s", type(error).__name__)
