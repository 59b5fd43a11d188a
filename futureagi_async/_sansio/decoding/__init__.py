"""Bytes of the server -> models. `answers` says how, and lists the quirks."""

from futureagi_async._sansio.decoding.converter import (
    build_page,
    converter,
    decode_call,
    decode_columns,
    decode_groups,
    decode_kpis,
    decode_list,
    decode_record,
    decode_records,
)

__all__ = [
    "build_page",
    "converter",
    "decode_call",
    "decode_columns",
    "decode_groups",
    "decode_kpis",
    "decode_list",
    "decode_record",
    "decode_records",
]
