"""A simulator of Yandex Metrika's offline-conversions API: a real HTTP server with quotas, statuses and failures."""

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.process import RunningSimulator, running
from sandbox.metrika.server import serve

__all__ = ["Configuration", "RunningSimulator", "running", "serve"]
