"""As much of the ELF format as tells which functions a library exports, so that no tool beside Python is needed."""

import struct

DYNAMIC_SYMBOLS = 11  # SHT_DYNSYM
UNDEFINED = 0  # the section of a symbol that another library has


def exported_symbols(path):
    """The names that a 64-bit little-endian shared library defines for others."""
    content = path.read_bytes()
    assert content[:6] == b"\x7fELF\x02\x01"
    (table,) = struct.unpack_from("<Q", content, 40)
    size, count = struct.unpack_from("<HH", content, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", content, table + size * number) for number in range(count)]
    (symbols,) = [section for section in sections if section[1] == DYNAMIC_SYMBOLS]
    offset, length, linked, entry = symbols[4], symbols[5], symbols[6], symbols[9]
    names = set()
    for at in range(offset, offset + length, entry):
        name, _, _, section = struct.unpack_from("<IBBH", content, at)
        if section != UNDEFINED:
            start = sections[linked][4] + name
            names.add(content[start : content.index(b"\0", start)].decode())
    return names
