"""The landing zone, and whatever is landed from elsewhere. Which night takes what is decided in `loop`."""
