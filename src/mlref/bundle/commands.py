"""The stage that packages a model."""

import typer

from mlref.console import stage

app = typer.Typer()


@app.command(rich_help_panel="Stages")
def package() -> None:
    """Turn the model into a bundle: ONNX and JSON, checked.

    Example:  mlref package
    """
    from mlref.bundle.package import run

    stage("package", run)
