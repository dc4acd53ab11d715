"""What one client may take of the service: bytes, rows, seconds and places in the queue."""

from dataclasses import dataclass

from mlref.core.contract import Contract


@dataclass(frozen=True)
class Limits:
    """Bounds of requests; each has an answer of its own.

    Parameters
    ----------
    rows : int
        Rows of a request.
    head : int
        Bytes of a request's first line and headers.
    seconds : float
        Time in which a request must have arrived in full.
    queue : int
        Complete requests that may wait for their turn. One process answers one at a time, so the last in
        the queue waits as long as all before it take: this bounds how late an answer comes.
    uploads : int
        Requests whose bodies are still on their way: this bounds memory.
    """

    rows: int = 10_000
    head: int = 16 * 1024
    seconds: float = 10.0
    queue: int = 100
    uploads: int = 64

    def body(self, contract: Contract) -> int:
        """Bytes that a request of as many rows may need, laid out generously.

        A cell is its name, a value (a number has up to 24 digits), and 40 bytes around them.
        """
        texts = [len(str(value)) for column in contract.features for value in column.allowed or ()]
        cell = max([24, *texts]) + 40
        names = sum(len(name.encode()) for name in contract.names)
        return 1024 + self.rows * (names + cell * len(contract.names))
