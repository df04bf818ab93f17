"""What a person clicks in a CRM so that it sends here: one text per dialect, with the webhook's own address in it."""

from __future__ import annotations

from importlib import resources


def instructions(dialect: str, *, url: str, address: str, secret: str, counter: int, name: str) -> list[str]:
    """Return the lines for one webhook. ``url`` carries the secret, ``address`` does not; ``counter`` is Metrika's."""
    text = resources.files(__name__).joinpath(f"{dialect}.txt").read_text(encoding="utf-8")
    placeholders = {"<URL>": url, "<ADDRESS>": address, "<SECRET>": secret, "<COUNTER>": str(counter), "<NAME>": name}
    for placeholder, value in placeholders.items():
        text = text.replace(placeholder, value)
    return text.rstrip("\n").split("\n")
