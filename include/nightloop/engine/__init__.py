"""The Spark session of a job: against the embedded Connect server, a cluster, or under `spark-submit`."""
