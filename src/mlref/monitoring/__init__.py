"""The monitor: what came in, what went out, what turned out true, and alarms."""
