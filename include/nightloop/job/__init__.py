"""The frame of every job: command line, context, exit code, lineage. What a job does is in `jobs` and `loop`."""
