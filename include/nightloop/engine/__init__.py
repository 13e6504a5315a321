"""The Spark session and its embedded server."""
