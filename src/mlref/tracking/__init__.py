"""The one package that knows MLflow: where its store is, what goes into it, what is found there.

MLflow is imported inside functions: it takes a second and a half, which `mlref register` spares when
there is nothing to publish.
"""
