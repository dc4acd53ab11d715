"""Commands that judge the prediction log, show its alarms, and make traffic to try them on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlref.console import progress, say, show, status, table
from mlref.core.storage import Project

if TYPE_CHECKING:
    from mlref.monitoring.run import Asked, Outcome

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
    window: Annotated[
        str, typer.Option(help="UTC days (1d), or rows in order of arrival (200).")
    ] = "1d",
    since: Annotated[
        str | None, typer.Option(help="Only predictions from this day or moment on, ISO 8601.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Only this model: version, alias or digest.")
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--open", help="Judge windows that are not over, too, and keep nothing.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show each threshold with its reason, and joint drift."),
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
        bool,
        typer.Option(
            "--act", help="Retrain on alarms, and roll back: `act` in config/params.yaml."
        ),
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
    import datetime

    from mlref.monitoring import alarms as episodes
    from mlref.monitoring import publish, run
    from mlref.monitoring.windows import Size

    if act and scored:
        raise typer.BadParameter(
            "Of --scored files no alarm is kept, so that there is nothing to --act on."
        )
    project, now = Project.here(), datetime.datetime.now(datetime.UTC)
    asked = run.Asked(Size.parse(window), _moment(since), version, unfinished)
    with status("monitor"):
        if scored:
            from mlref.monitoring.scored import run as judge

            outcome = judge(project, asked, scored, truth, key)
        else:
            outcome = run.run(project, asked, now)
            publish.publish(project, asked, outcome, now)
    _show(project, outcome)
    if explain:
        _explain(project, asked)
    if json:
        publish.write(json, outcome)
    if notify and outcome.alarms:
        episodes.notify(notify, outcome.alarms)
    if act:
        from mlref.monitoring.act import act as run_policy

        with status("act"):
            for line in run_policy(project, str(asked.size), progress):
                say(f"ACT: {line}")
    if _alert(outcome):
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
        str | None,
        typer.Option(
            help="Version whose predictions are near the truth; else the one that answers."
        ),
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


def _moment(text: str | None) -> Any:
    import datetime

    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"a day or a moment such as 2026-11-24, not {text!r}", param_hint="--since"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _alert(outcome: "Outcome") -> bool:
    from mlref.monitoring.report import findings

    return bool(outcome.alarms) or any(
        finding.alarm for window in outcome.unfinished for finding in findings(window)
    )


def _show(project: Project, outcome: "Outcome") -> None:
    """Print the newest window of each model and stream, the alarms, and what was not judged."""
    from mlref.bundle.store import Store
    from mlref.monitoring import report
    from mlref.monitoring.alarms import sentence

    newest = {(one.version, one.stream): one for one in (*outcome.judged, *outcome.unfinished)}
    for (version, stream), window in newest.items():
        if stream == "inputs":
            count = sum((one.version, one.stream) == (version, stream) for one in outcome.judged)
            title = (
                f"Inputs and predictions, version {version}: new windows {count}; the last, to"
                f" {window.end[:16]} UTC, has {window.rows} rows (value / threshold)"
            )
            show(table(*report.table(window), title=title))
        else:
            contract = Store(project.store).open(window.digest)[0].contract
            say(report.truth(window, contract))
    for note in outcome.notes:
        say(note)
    if not newest:
        say("No window is new.")
    for alarm in outcome.alarms:
        say(f"ALARM: {sentence(alarm)}" if alarm.state == "open" else f"Over: {sentence(alarm)}")
    if not _alert(outcome):
        say("No alarm.")


def _explain(project: Project, asked: "Asked") -> None:
    """Print the thresholds of the champion, or of the model that was asked for."""
    from mlref.monitoring.run import explained

    rows, joint = explained(project, asked)
    head = ["monitor", "column", "threshold", "false alarms a month", "reason"]
    show(table(head, rows, title=f"Thresholds of a window of {asked.size}"))
    if joint:
        say(joint)


@alarms.command("list")
def alarms_list(
    every: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
) -> None:
    """List alarms that are open or acknowledged, with their evidence.

    Example:  mlref alarms list --all
    """
    import contextlib

    from mlref.monitoring.alarms import sentence
    from mlref.prediction_log import monitored
    from mlref.prediction_log.database import Database

    with contextlib.closing(Database.of(Project.here())) as database:
        found = monitored.alarms(database)
    shown = [one for one in found if every or one.state != "closed"]
    head = ["id", "state", "severity", "opened", "updated", "what"]
    rows = [
        [str(one.id), f"{one.state} {one.because}".strip(), one.severity, one.opened[:16],
         one.updated[:16], sentence(one)]
        for one in shown
    ]  # fmt: skip
    if shown:
        show(table(head, rows))
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
    import contextlib

    from mlref.prediction_log import monitored
    from mlref.prediction_log.database import Database

    with contextlib.closing(Database.of(Project.here())) as database:
        alarm = monitored.acknowledge(database, number, because)
    say(f"Alarm {alarm.id} ({alarm.monitor} {alarm.column}) is acknowledged: {because}")
