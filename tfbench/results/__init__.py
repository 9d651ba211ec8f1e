"""Rows: what a run found out, one JSON file per run, written once and never changed."""
