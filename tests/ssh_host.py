"""A second host for tests: an SSH server on another loopback address, and a client that knows how to reach it."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest

ADDRESS = "127.0.0.2"


@dataclass
class SshHost:
    """Its address, the `ssh` that reaches it with a key of its own, and the commands that it was given."""

    address: str
    client: Path
    commands: list[str] = field(default_factory=list)


@contextmanager
def serve_ssh(folder: Path) -> Iterator[SshHost]:
    """Serve SSH until the end of the block; commands run on this machine."""
    ssh = shutil.which("ssh")
    if ssh is None:
        pytest.skip("no SSH client is installed")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "key")
    (folder / "key").chmod(0o600)
    host = SshHost(ADDRESS, folder / "bin" / "ssh")

    async def run(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        host.commands.append(process.command or "")
        pipe = asyncio.subprocess.PIPE
        started = await asyncio.create_subprocess_shell(process.command or "", stdout=pipe, stderr=pipe)
        await process.redirect(stdout=started.stdout, stderr=started.stderr)
        process.exit(await started.wait())

    ports: Future[int] = Future()
    ended = threading.Event()

    async def serve() -> None:
        keys = asyncssh.import_authorized_keys(key.export_public_key().decode())
        server = await asyncssh.listen(
            ADDRESS, 0, server_host_keys=[key], authorized_client_keys=keys, process_factory=run, encoding=None
        )
        ports.set_result(server.get_port())
        await asyncio.to_thread(ended.wait)
        server.close()
        await server.wait_closed()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    config = folder / "config"
    known = "StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR"
    config.write_text(f"Host {ADDRESS}\n  Port {ports.result(10)}\n  IdentityFile {folder / 'key'}\n  {known}\n")
    host.client.parent.mkdir()
    host.client.write_text(f'#!/bin/sh\nexec {ssh} -F {config} "$@"\n')
    host.client.chmod(0o755)
    try:
        yield host
    finally:
        ended.set()
        thread.join()
