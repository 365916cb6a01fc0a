"""The body of a response, decoded and whole, never larger than allowed.

Why not the HTTP library's own decoding: it inflates a piece as far as it goes before anyone can look at its size, and
takes a compressed body that was cut for a whole one.
"""

import zlib

import httpx

from usage_cost_mcp.errors import ContractError, ResponseTooLargeError

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


async def read_body(response: httpx.Response, most: int) -> bytearray:
    """Every byte of the body.

    Args:
        response: A response whose body was not read yet.
        most: How many decoded bytes are accepted.

    Raises:
        TooMuchError: When there are more.
        ContractError: When the encoding is not one that we asked for.
        httpx.RemoteProtocolError: When the body ends too early, or is garbled.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise ContractError(f"{response.url.path} answered in an encoding that was not asked for. No number is given.")
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        try:
            body += inflater.decompress(chunk, most + 1 - len(body)) if inflater else chunk
        except zlib.error:
            raise httpx.RemoteProtocolError("the compressed body is garbled") from None
        if len(body) > most:
            raise ResponseTooLargeError(
                f"{response.url.path} answered with more than {most // 2**20} MiB. Ask for a shorter period."
            )
    if inflater and not inflater.eof:
        raise httpx.RemoteProtocolError("the compressed body was cut")
    return body
