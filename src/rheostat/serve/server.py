"""`serve`: run the application until it is told to stop."""

import logging
import socket
import sys
import time
from collections.abc import Callable

import uvicorn

from rheostat.base.errors import BadArgument
from rheostat.models.network import Network
from rheostat.serve.app import make_app
from rheostat.serve.connection import connection
from rheostat.serve.service import open_service
from rheostat.serve.settings import Settings

SWITCH = 0.0005
"""Seconds after which a thread that waits for the interpreter gets it. The thread that computes gives it up at every
operation; at Python's 0.005 it would wait longer than it computes whenever many requests arrive."""


def serve(
    network: Network, settings: Settings, *, insecure: bool = False, on_ready: Callable[[str], None] | None = None
) -> None:
    """Serve a network until SIGINT or SIGTERM; answers under way get some seconds to end.

    Args:
        network: with a tokenizer.
        settings: what is served, where, and to whom.
        insecure: be reached from other machines without encryption.
        on_ready: called with the address, once requests are answered there.

    Raises:
        BadArgument: the host can be reached from elsewhere, without certificate or permission; or address and port
            cannot be listened at.
        NeedsTokenizer, FileNotUsable, SiteNotFound, SiteNotOffered: see `open_service`.
    """
    settings.check_host(insecure=insecure)
    check_free(settings.host, settings.port)
    sys.setswitchinterval(SWITCH)
    make_server(network, settings, on_ready=on_ready).run()


def check_free(host: str, port: int) -> None:
    """See that an address can be listened at, before anything is opened.

    Raises:
        BadArgument: another process listens there, the port is not for everyone, or the host is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise BadArgument(
            f"cannot listen at {host}:{port}: {error.strerror}. Give another --host or --port."
        ) from error


class Server(uvicorn.Server):
    """Tells its address when it listens: port 0 stands for any free one."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None] | None) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._on_ready(f"{'https' if self.config.is_ssl else 'http'}://{shown}:{port}")


def make_server(
    network: Network, settings: Settings, *, on_ready: Callable[[str], None] | None = None
) -> uvicorn.Server:
    """Return a server that is not running yet. Requests are in the audit log, not in uvicorn's."""
    service = open_service(network, settings, created=int(time.time()))
    limits, tls = settings.limits, settings.tls
    return Server(
        uvicorn.Config(
            make_app(service),
            host=settings.host,
            port=settings.port,
            http=connection(limits.body_seconds),
            ssl_certfile=str(tls.certificate) if tls else None,
            ssl_keyfile=str(tls.private_key) if tls else None,
            access_log=False,
            log_level=logging.WARNING,
            limit_concurrency=limits.connections,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=int(limits.grace_seconds),
            server_header=False,
        ),
        on_ready,
    )
