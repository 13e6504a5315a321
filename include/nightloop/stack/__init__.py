"""The embedded stack: Airflow, the Spark Connect server and MLflow as supervised processes of this machine."""

from nightloop.stack.stack import Stack, find_stack, stop_stack

__all__ = ["Stack", "find_stack", "stop_stack"]
