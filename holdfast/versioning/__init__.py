"""Dataset versions: the registry of known datasets, the home's private DVC repository, and the prepare stage."""
