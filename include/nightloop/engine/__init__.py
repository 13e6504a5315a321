"""The Spark session of a job and the embedded Connect server. What is computed in a session is not known here."""
