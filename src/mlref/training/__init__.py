"""From a training split to one fitted model."""
