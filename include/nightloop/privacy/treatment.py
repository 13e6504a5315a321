"""Treat columns that identify a person; afterwards nothing written holds the received value."""

import hashlib
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nightloop.privacy.params import PiiTreatment

_BLOCK_BYTES = 64
_INNER, _OUTER = "_hmac_inner", "_hmac_outer"


def treat_columns(rows: DataFrame, key: bytes, params: Mapping[str, PiiTreatment]) -> DataFrame:
    """Hash, generalise or drop the declared columns of received (string) rows; null stays null.

    The key travels as a row of a joined one-row frame, so that no plan, log or page of Spark prints it.
    Hash is HMAC-SHA-256 (RFC 2104) in hex over the UTF-8 text.
    """
    treated = {name: treatment for name, treatment in params.items() if name in rows.columns}
    dropped = [name for name, treatment in treated.items() if treatment.treatment == "drop"]
    hashed = {name for name, treatment in treated.items() if treatment.treatment == "hash"}
    prefixes = {name: t.keep_characters for name, t in treated.items() if t.treatment == "generalise"}
    if hashed:
        rows = rows.crossJoin(F.broadcast(_key_frame(rows, key)))
    columns = [
        _hmac(F.col(name)).alias(name)
        if name in hashed
        else F.substring(F.col(name), 1, prefixes[name]).alias(name)
        if name in prefixes
        else F.col(name)
        for name in rows.columns
        if name not in {*dropped, _INNER, _OUTER}
    ]
    return rows.select(*columns)


def _key_frame(rows: DataFrame, key: bytes) -> DataFrame:
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (bytearray(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return rows.sparkSession.createDataFrame([(inner, outer)], f"{_INNER} binary, {_OUTER} binary")


def _hmac(value: Column) -> Column:
    # put together from hashes, as Spark has no HMAC
    inner = F.unhex(F.sha2(F.concat(F.col(_INNER), F.encode(value, "UTF-8")), 256))
    return F.sha2(F.concat(F.col(_OUTER), inner), 256)
