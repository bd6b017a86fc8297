"""What listens is reached from this machine alone: the sockets of a real process are looked at."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.stories import Stories

LISTENING = "0A"


def listening(port: int) -> list[str]:
    """The local addresses of sockets that listen on the port, as the kernel has them."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            _number, local, _remote, state = line.split()[:4]
            address, _colon, there = local.rpartition(":")
            if state == LISTENING and int(there, 16) == port:
                found.append(address)
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel says nothing of its sockets")
def test_the_page_is_served_to_this_machine_and_to_nobody_without_the_key(stories: Stories) -> None:
    command = [sys.executable, "-m", "afk_es.cli", "debug", stories.location("failing"), "--web"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        site, _, key = process.stdout.readline().strip().partition("/?key=")
        assert len(key) > 20
        assert listening(int(site.rpartition(":")[2])) == ["0100007F"]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{site}/", timeout=30)
    finally:
        process.kill()
        process.communicate()
