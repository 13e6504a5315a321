"""Airflow, Spark, MLflow as supervised processes of this machine, and the signals that end them. No job here."""
