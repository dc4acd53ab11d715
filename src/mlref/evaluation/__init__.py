"""How good a model is, with intervals: overall, in slices, against simpler models, by behavioural checks."""
