"""Airflow reads and writes its home when it is imported: give it one of its own."""

import os
import tempfile

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="nightloop-airflow-"))
