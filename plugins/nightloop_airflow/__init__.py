"""All that knows Airflow and is not a DAG."""
