"""Personal data: found, treated, named by a hash. Removing a person from the stores is `erasure`."""
