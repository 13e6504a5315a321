"""Build the environment; standard library only, for it runs before there is one. Starts no service: that is `stack`."""
