"""The shipped search spaces, one YAML file each (`space=NAME` on the command line)."""
