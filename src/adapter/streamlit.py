"""Parts of Streamlit that it does not promise to keep: the attributes of its page, its check of hosts."""

from typing import Any
from urllib.parse import urlsplit

STYLE = """<style>
.block-container { padding: 1.2rem 2.6rem 2rem; max-width: 1500px }
[data-testid=stSidebar] [data-baseweb=select], [data-baseweb=popover] li { font-size: .85rem }
@media (max-width: 1150px) {
  .block-container { padding: 1.5rem 1rem }
  [data-testid=stHorizontalBlock] { flex-wrap: wrap; gap: .6rem }
  [data-testid=stColumn] { min-width: 110px }
  [class*=st-key-image_columns] [data-testid=stColumn] { min-width: 240px }
}
h1 { font-size: 1.5rem !important; padding: 0 0 .2rem !important }
[data-testid=stCaptionContainer] p { line-height: 1.35 }
</style>"""


class OwnNamesOnly:
    """ASGI middleware that refuses requests under another host name, and those that pages of other origins send.

    Otherwise any web page could use this one by DNS rebinding: its own name leads to this machine then, and a browser
    sends that name as Host and Origin. The names are those of Streamlit's option server.allowedHosts, which Streamlit
    itself compares for websockets only, where it accepts all ports of localhost as Origin.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        reason = refusal(scope["headers"])
        if reason is None:
            await self.app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await receive()  # the handshake
            await send({"type": "websocket.close", "code": 1008, "reason": reason})  # before it is accepted: HTTP 403
        else:
            head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 403, "headers": head})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})


def refusal(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Return why a request with these headers is refused, or None."""
    from streamlit import config
    from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

    def values(name: bytes) -> list[str]:
        return [value.decode("latin-1") for key, value in headers if key.lower() == name]

    hosts, origins = values(b"host"), values(b"origin")
    names = config.get_option("server.allowedHosts")
    if not names or len(hosts) != 1 or not is_host_allowed(hosts[0]):
        return f"This page answers under these names only: {', '.join(dict.fromkeys(names))}."
    if any(
        urlsplit(origin).scheme not in ("http", "https") or urlsplit(origin).netloc != hosts[0] for origin in origins
    ):
        return "Pages of other origins may not use this page."
    return None


def _unframed(send: Any) -> Any:
    """Return `send` with a header by which no page of another origin can show this one, and catch clicks on it."""

    async def send_with_header(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"content-security-policy", b"frame-ancestors 'self'")]
        await send(message)

    return send_with_header
