"""The prediction log: a database of predictions, rejected inputs and ground truth."""
