"""The landing zone, and whatever is landed from elsewhere. Which file is of which night is said in `etl`."""
