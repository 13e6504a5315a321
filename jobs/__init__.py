"""One entry point per task of the loop."""
