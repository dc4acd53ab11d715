"""Commands that start the service and make its keys."""

from typing import Annotated, Literal

import typer

app = typer.Typer()
keys = typer.Typer(no_args_is_help=True, help="Make API keys of the service.")
app.add_typer(keys, name="keys", rich_help_panel="Service")


@app.command(rich_help_panel="Service")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
    model: Annotated[
        str, typer.Option(help="Version, alias or digest.", envvar="MLREF_MODEL")
    ] = "champion",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Need no key, even from other machines.")
    ] = False,
    drain: Annotated[
        float, typer.Option(help="Seconds from SIGTERM to the stop, for balancers.", min=0)
    ] = 3.0,
    no_log: Annotated[
        bool, typer.Option("--no-log", help="Keep no predictions.", envvar="MLREF_NO_LOG")
    ] = False,
    shadow: Annotated[
        str | None, typer.Option(help="A model that scores the same rows, for the log alone.")
    ] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy",
            help="A proxy bounds clients: take the quicker parser and trust the proxy's headers.",
            envvar="MLREF_BEHIND_PROXY",
        ),
    ] = False,
    cors: Annotated[
        str,
        typer.Option(
            metavar="ORIGINS",
            help="Origins whose pages may ask, separated by commas: https://app.example.org.",
            envvar="MLREF_CORS",
        ),
    ] = "",
) -> None:
    """Answer predictions over HTTP; the documentation is at /docs.

    Follows the alias: a promoted model answers from the next request on. Predictions go to the
    prediction log, `predictions.db` or the database of `MLREF_LOG_URL`. On another address than
    loopback it asks for the keys of `MLREF_API_KEYS`, and does not start without them. Behind a proxy
    that bounds clients, `--behind-proxy` takes a sixth to a quarter off a request's cost; the proxy's headers
    are then trusted from the addresses in `FORWARDED_ALLOW_IPS`.

    Example:  mlref serve --port 8080
    """
    if shadow and no_log:
        raise typer.BadParameter(
            "a shadow answers nobody, so without the log it does nothing", param_hint="--shadow"
        )
    from mlref.serving.server import serve

    serve(
        host=host, port=port, reference=model, insecure=insecure, drain=drain, logged=not no_log,
        shadow=shadow, behind_proxy=behind_proxy,
        origins=[origin.strip() for origin in cors.split(",") if origin.strip()],
    )  # fmt: skip


@keys.command("new")
def keys_new(
    role: Annotated[
        Literal["predict", "admin"], typer.Argument(help="An admin may read /metrics.")
    ],
) -> None:
    """Print a new key, which is not kept anywhere, and its entry for `MLREF_API_KEYS`.

    Example:  mlref keys new predict
    """
    from mlref.serving.keys import new

    key, entry = new(role)
    typer.echo(f"key    {key}\nentry  {entry}")
