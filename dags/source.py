"""Takes in and cleans one source, once, whoever reads it.

1. `wait_for_files` waits, deferred, for the files of a source that declares `expects`, at most until its deadline.
2. `land_source` takes the files that arrived since the previous night, as received; a table is read and landed first.
3. `clean_source` types them, sets bad rows aside with their rule, closes the night and emits the source's asset.

**When it fails**

- *`wait_for_files`*: too few files came. Clear it once they are there; marked as success, the night
  closes without them.
- *exit code 65*: the feed is not what `source.yaml` says, or too many rows are bad. The last lines of the log name
  file, rule, expected and found. Repair the feed or the folder, then clear the failed task.
- *anything else* was tried again by itself; if it still fails, see `nightloop doctor`, then clear the task.

Clearing is always safe: a night replaces itself.
"""

from datetime import UTC, datetime, time, timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from nightloop.folders.source import Source
from nightloop_airflow.alert import alert_of_deadline
from nightloop_airflow.forms import night_param, variant_param
from nightloop_airflow.parsing import describe_dag, nights_end, sources_of, title_of
from nightloop_airflow.sensor import FilesArrivedSensor
from nightloop_airflow.tasks import default_args, source_asset, source_job


def build_source_dag(source: Source) -> DAG:
    deadline = timedelta(hours=source.expects.deadline_hours if source.expects else 0)
    with DAG(
        f"source_{source.name}",
        dag_display_name=title_of("source", source.name),
        description=source.description.strip().splitlines()[0],
        doc_md=describe_dag(__doc__, source),
        schedule=CronTriggerTimetable(source.schedule, timezone="UTC"),
        start_date=datetime.combine(source.start, time(), UTC),
        end_date=nights_end(),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=deadline + timedelta(hours=6),
        default_args=default_args(source.owner),
        params={"as_of": night_param(), "variant": variant_param()},
        tags={"nightloop", "source"},
    ) as dag:
        land = source_job("land_source", source)
        land >> source_job("clean_source", source, outlets=[source_asset(source.name)])
        if source.expects is not None:
            wait = FilesArrivedSensor(
                task_id="wait_for_files",
                source=source.name,
                schedule=source.schedule,
                files=source.expects.files,
                timeout=deadline,
                on_failure_callback=alert_of_deadline,
            )
            wait >> land
    return dag


for folder in sources_of("source"):
    build_source_dag(folder)
