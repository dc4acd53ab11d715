"""From the source to a training set and a test set."""
