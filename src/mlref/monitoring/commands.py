"""Commands that judge the prediction log, show its alarms, and make traffic to try them on."""

import contextlib
import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mlref.console import progress, say, show, status, table
from mlref.core.storage import Project
from mlref.registry.commands import past

app = typer.Typer()
alarms = typer.Typer(no_args_is_help=True, help="Show and acknowledge alarms of the monitor.")
app.add_typer(alarms, name="alarms", rich_help_panel="Monitoring")

Scenario = Literal[
    "none", "shift", "unit", "gradual", "level", "slopes", "noise", "late-labels", "noisy-labels",
    "schema", "burst",
]  # fmt: skip
"""The same as ``SCENARIOS`` of simulate.py, which takes seconds to import."""

ALERT = 3
"""Exit code of a monitor with an alarm."""


@app.command(rich_help_panel="Monitoring")
def monitor(
    window: Annotated[str, typer.Option(help="UTC days (1d), or rows by arrival (200).")] = "1d",
    since: Annotated[
        datetime.datetime | None,
        typer.Option(parser=past, metavar="TIME", help="Only predictions from then on, ISO 8601."),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Only this version, alias or digest.")] = None,
    unfinished: Annotated[
        bool, typer.Option("--open", help="Judge windows that are not over, too, and keep nothing.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show thresholds with their reasons, and joint drift.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write windows and alarms to this file.")
    ] = None,
    scored: Annotated[
        Path | None, typer.Option(help="Judge the parts of this folder, from `mlref score`.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Ground truth of --scored: CSV or Parquet.")
    ] = None,
    key: Annotated[
        str, typer.Option("--id", help="Column that joins --scored and --truth.")
    ] = "id",
    act: Annotated[
        bool, typer.Option("--act", help="Retrain on alarms, and roll back: `act` in params.yaml.")
    ] = False,
    notify: Annotated[
        str | None, typer.Option(help="Send alarms to this webhook, or write them to this file.")
    ] = None,
) -> None:
    """Judge what is new in the prediction log; exit code 3 while an alarm is open.

    Compares inputs, predictions and ground truth with what the model's bundle says of its training, each
    closed window once. The first look at a model simulates its thresholds, which takes seconds. The page
    is `reports/monitoring/index.html`, and `/monitor` in the service.

    Example:  mlref monitor --window 200
    """
    from mlref.core.storage import write_json
    from mlref.monitoring import explain as reasons
    from mlref.monitoring import report, run
    from mlref.monitoring import scored as files
    from mlref.monitoring.alarms import notify as tell
    from mlref.monitoring.windows import Size

    if act and scored:
        raise typer.BadParameter(
            "No alarm of --scored files is kept: there is nothing to --act on."
        )
    project, now = Project.here(), datetime.datetime.now(datetime.UTC)
    asked = run.Asked(Size.parse(window), since, version, unfinished)
    with status("monitor"):
        if scored:
            outcome = files.run(project, asked, scored, truth, key)
        else:
            outcome = run.run(project, asked, now)
            report.publish(project, asked, outcome, now)
    for shown in [*report.shown(outcome), *(reasons.explain(project, asked) if explain else ())]:
        say(shown) if isinstance(shown, str) else show(shown)
    if json:
        write_json(json, report.document(outcome))
    if notify and outcome.alarms:
        tell(notify, outcome.alarms)
    if act:
        from mlref.monitoring.act import act as run_policy

        with status("act"):
            for line in run_policy(project, str(asked.size), progress):
                say(f"ACT: {line}")
    if outcome.alert:
        raise typer.Exit(ALERT)


@app.command(rich_help_panel="Monitoring")
def simulate(
    scenario: Annotated[Scenario, typer.Argument(help="What happens; see below.")],
    url: Annotated[
        str, typer.Option(help="Address of a running service.")
    ] = "http://127.0.0.1:8000",
    rows: Annotated[int, typer.Option(help="Rows to send.", min=1, max=1_000_000)] = 500,
    seed: Annotated[int, typer.Option(help="Decides the rows.", min=0)] = 0,
    key: Annotated[str | None, typer.Option(help="API key of the role `predict`.")] = None,
    world: Annotated[
        str | None, typer.Option(help="Version near the truth; else the one that answers.")
    ] = None,
) -> None:
    """Send training rows with a fault to a service, and their ground truth after them.

    `none`, `shift`, `unit`, `gradual` and `burst` change what comes in; `level`, `slopes` and `noise` what is
    true; `late-labels` and `noisy-labels` what is known of it; `schema` has rows rejected. All of it is
    logged as real predictions are: take a clone or a log of its own (`MLREF_LOG_URL`).

    Example:  mlref simulate unit --url http://127.0.0.1:8000 --rows 500
    """
    from mlref.monitoring.simulate import SCENARIOS
    from mlref.monitoring.simulate import simulate as send
    from mlref.monitoring.simulate import to_service

    sent = send(Project.here(), scenario, to_service(url, key), rows, seed, world)
    say(
        f"{scenario}: {SCENARIOS[scenario]}. Answered {sent.answered} rows, rejected {sent.rejected};"
        f" labels accepted {sent.labels}."
    )


@alarms.command("list")
def alarms_list(
    every: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
) -> None:
    """List alarms that are open or acknowledged, with their evidence.

    Example:  mlref alarms list --all
    """
    from mlref.monitoring.alarms import sentence
    from mlref.prediction_log import monitored

    with _log() as database:
        found = [one for one in monitored.alarms(database) if every or one.state != "closed"]
    rows = [
        [str(one.id), f"{one.state} {one.because}".strip(), one.severity, one.opened[:16],
         one.updated[:16], sentence(one)]
        for one in found
    ]  # fmt: skip
    if rows:
        show(table(["id", "state", "severity", "opened", "updated", "what"], rows))
    else:
        say("No alarm.")


@alarms.command("acknowledge")
def alarms_acknowledge(
    number: Annotated[int, typer.Argument(metavar="ID", help="From `mlref alarms list`.")],
    because: Annotated[str, typer.Option(help="Why nothing more is to be done.")],
) -> None:
    """Dismiss an alarm: it is silent until it has been quiet once.

    Example:  mlref alarms acknowledge 3 --because "a new clinic, labels follow"
    """
    from mlref.prediction_log import monitored

    with _log() as database:
        alarm = monitored.acknowledge(database, number, because)
    say(f"Alarm {alarm.id} ({alarm.monitor} {alarm.column}) is acknowledged: {because}")


def _log() -> Any:
    from mlref.prediction_log.database import Database

    return contextlib.closing(Database.of(Project.here()))
