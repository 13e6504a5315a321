"""The frame of every job: command line, context, ending, lineage. What a job does stands in `jobs` and `loop`."""
