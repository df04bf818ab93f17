"""HTTPS servers with certificates of every kind, for tests of what is said about them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def certificate(folder: Path, *, host: str = "localhost", days: int = 1) -> Path:
    """Write a self-signed certificate with its key, good for ``host`` until in ``days`` days; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    ends = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=30))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / f"{host}.pem"
    file.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(encoding)
    )
    return file


@contextmanager
def https_server(file: Path | None, *, cuts: bool = False) -> Iterator[str]:
    """Give the address of a server with that certificate, or of one that speaks no TLS at all.

    With ``cuts`` it reads the request and breaks off.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if file is not None:
        context.load_cert_chain(file)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with closing(plain), suppress(OSError):
                    _answer(plain, context if file is not None else None, cuts=cuts)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://localhost:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer(plain: socket.socket, context: ssl.SSLContext | None, *, cuts: bool) -> None:
    plain.settimeout(5)
    if context is None:
        plain.recv(4096)
        plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return
    with context.wrap_socket(plain, server_side=True) as secured:
        secured.recv(4096)
        if not cuts:
            secured.sendall(_ANSWER)
