"""Batch scoring: files of any number and size in, predictions in Parquet out."""
