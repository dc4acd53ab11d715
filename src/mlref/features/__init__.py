"""From encoded rows to what an estimator takes."""
