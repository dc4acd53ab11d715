"""The real-time service: rows in over HTTP, predictions with intervals out."""
