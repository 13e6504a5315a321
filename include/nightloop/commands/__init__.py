"""The command `nightloop`: what it looks at and prints. It changes nothing of the loop, and no job imports it."""
