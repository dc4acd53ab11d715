"""The artefact that is evaluated and served: made once, checked at every load, data only."""
