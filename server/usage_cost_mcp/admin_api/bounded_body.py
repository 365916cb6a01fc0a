"""Reads and decodes a response body up to a maximum size.

Why not the HTTP library's decoding: it inflates a whole chunk before its size can be checked, and accepts a truncated
gzip stream as complete.
"""

import zlib

import httpx

from usage_cost_mcp.errors import ContractError, ResponseTooLargeError
from usage_cost_mcp.runtime.limits import MEBIBYTE

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


async def read_body(response: httpx.Response, max_bytes: int) -> bytearray:
    """The decoded body.

    Args:
        response: A streamed response whose body has not been read.
        max_bytes: The most decoded bytes accepted.

    Raises:
        ResponseTooLargeError: The body is larger.
        ContractError: The content encoding is neither gzip nor identity.
        httpx.RemoteProtocolError: The body is truncated or corrupt.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise ContractError(f"{response.url.path} answered with an unexpected content encoding; no total is reported.")
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        try:
            body += inflater.decompress(chunk, max_bytes + 1 - len(body)) if inflater else chunk
        except zlib.error:
            raise httpx.RemoteProtocolError("the compressed body is corrupt") from None
        if len(body) > max_bytes:
            raise ResponseTooLargeError(
                f"{response.url.path} answered with more than {max_bytes // MEBIBYTE} MiB. Ask for a shorter period."
            )
    if inflater and not inflater.eof:
        raise httpx.RemoteProtocolError("the compressed body is truncated")
    return body
