"""A client of the simulator, as any uploader would be: without any of goalpost's own code."""

import time
from collections.abc import Callable
from typing import Any

import requests

COUNTER = 44147844
CSV = b"ClientId,Target,DateTime,Price,Currency\n133591247640966458,GOAL1,1481718166,123.45,RUB\n"
# Metrika's own sample (management/offline-conv), byte for byte.
DOCUMENTED_SAMPLE = b"""ClientId,Target,DateTime,Price,Currency
133591247640966458,GOAL1,1481718166,123.45,RUB
133591247640966458,GOAL2,1481718142,678.90,RUB
133591247640966458,GOAL3,1481718066,123.45,RUB
579124169844706072,GOAL3,1481718116,678.90,RUB
148059425477661429,GOAL2,1481718126,123.45,RUB
148059425477661429,GOAL3,1481714026,678.90,RUB
"""


class Client:
    """The management API of one counter, and the control routes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers = {"Authorization": "OAuth anything"}

    def upload(
        self, content: bytes = CSV, timeout: float = 10, counter: int = COUNTER, **query: str
    ) -> requests.Response:
        return requests.post(
            f"{self.url}/management/v1/counter/{counter}/offline_conversions/upload",
            params=query,
            files={"file": ("data.csv", content, "text/csv")},
            headers=self.headers,
            timeout=timeout,
        )

    def management(self, path: str, **query: str | int) -> requests.Response:
        address = f"{self.url}/management/v1/counter/{COUNTER}/{path}"
        return requests.get(address, params=query, headers=self.headers, timeout=10)

    def control(self, path: str, **query: str | int) -> Any:
        return requests.get(f"{self.url}/_control/{path}", params=query, timeout=10).json()

    def post(self, path: str, content: object = None) -> requests.Response:
        return requests.post(f"{self.url}/_control/{path}", json=content, timeout=10)

    def configure(self, **settings: object) -> None:
        requests.patch(f"{self.url}/_control/config", json=settings, timeout=10).raise_for_status()

    def script(self, fault: str, **rule: object) -> None:
        rules = [{"match": "upload", "fault": fault, **rule}]
        requests.post(f"{self.url}/_control/faults", json=rules, timeout=10).raise_for_status()

    def rows(self) -> int:
        return int(self.control("summary")["rows"])


def eventually(check: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.02)
