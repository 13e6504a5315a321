"""The Delta lake, with Spark and without: write, read, keep up, mend. What its rows mean is said elsewhere."""
