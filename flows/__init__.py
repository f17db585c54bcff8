"""Prefect flows and the command line. Importing this package imports no Prefect."""
