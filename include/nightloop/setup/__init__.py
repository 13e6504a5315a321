"""Build the environment. Standard library only: these modules run before the virtual environment exists."""
