"""Where jars come from: Maven Central as jgo knows it, after the mirrors that this machine is configured to use."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

MAVEN_SETTINGS = Path(".m2") / "settings.xml"


def addresses(home: Path) -> list[str]:
    """Base addresses of Maven repositories, the preferred one first, without trailing slashes.

    A mirror of `central` in Maven's own settings comes first, then the `[repositories]` of jgo's configuration file
    (its place can be set in JGO_CONFIG_FILE), then Maven Central. `home` is the folder that holds `.m2`.
    """
    from jgo.config import GlobalSettings  # noqa: PLC0415 - slow, and needed for downloads only
    from jgo.maven import MavenContext  # noqa: PLC0415 - the same

    known = [*mirrors(home / MAVEN_SETTINGS), *GlobalSettings.load().repositories.values()]
    known += MavenContext().remote_repos.values()
    return list(dict.fromkeys(address.rstrip("/") for address in known))


def mirrors(settings: Path) -> list[str]:
    """The mirrors of Maven Central that a Maven settings file names; none when there is no such file."""
    if not settings.is_file():
        return []
    tree = ElementTree.parse(settings)  # noqa: S314 - the person's own file, which Maven reads as well
    found = []
    for mirror in tree.iterfind(".//{*}mirror"):
        patterns = [pattern.strip() for pattern in mirror.findtext("{*}mirrorOf", "").split(",")]
        address = mirror.findtext("{*}url", "").strip()
        if address and {"central", "*", "external:*"} & set(patterns) and "!central" not in patterns:
            found.append(address)
    return found
