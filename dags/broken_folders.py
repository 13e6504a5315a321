"""Shows folders with faults as one import error in Airflow, with every fault; builds no airflow DAG itself.

A broken folder loses its own DAGs only. Those of the other folders stay, because their modules leave it out and this
one complains in their place.
"""

from airflow.sdk import get_parsing_context

from nightloop.fault import NightloopError
from nightloop_airflow.parsing import folder_faults

if get_parsing_context().dag_id is None and (faults := folder_faults()):
    raise NightloopError(faults)
