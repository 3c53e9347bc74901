"""HTTP requests and websocket handshakes with any Host and Origin, as an attack by DNS rebinding would send them."""

import http.client
from urllib.parse import urlsplit

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
UPGRADE |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def status(address: str, path: str, **headers: str | None) -> int:
    """Return the status of the answer to a GET request; a header that is None is left out."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        connection.putrequest("GET", path, skip_host=True)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def handshake(address: str, path: str, **headers: str | None) -> int:
    """Return the status of the answer to a websocket handshake: 101 if it is accepted."""
    return status(address, path, **UPGRADE, **headers)
