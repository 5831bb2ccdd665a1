"""The header of a HEF: read in every container version, and refused with a message where it is damaged."""

import contextlib
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_hailo import hef

from .doubles import hef_bytes


@pytest.mark.parametrize("version", range(4))
@pytest.mark.parametrize("architecture", ["hailo8", "hailo8r", "hailo8l"])
def test_every_container_version_has_chip_and_compiler(tmp_path, version, architecture):
    content = hef_bytes.make(architecture, version, "3.33.1")
    (tmp_path / "model.hef").write_bytes(content)
    header = hef.read(tmp_path / "model.hef")
    assert header == hef.read(content)
    assert (header.version, header.architecture, header.compiler_version) == (version, architecture, "3.33.1")
    assert (header.timestamp, header.size) == (1_760_000_000, len(content))


@pytest.mark.parametrize(("version", "size"), [(0, 32), (1, 28), (2, 44), (3, 56)])
def test_message_offset_depends_on_the_container_version(version, size):
    content = bytearray(hef_bytes.container(version, hef_bytes.message()))
    assert hef.read(bytes(content)).proto_size == len(content) - size
    # The number of the chip in the header, after the keys and the length of the two fields that begin there.
    content[size + 3] = 2
    assert hef.read(bytes(content)).architecture == "hailo8r"


def test_missing_compiler_version_and_time_are_unknown():
    header = hef.read(hef_bytes.container(2, hef_bytes.message(0, b"", None)))
    assert (header.architecture, header.compiler_version, header.timestamp) == ("hailo8", None, None)


def test_unknown_chip_is_named_by_its_number():
    header = hef.read(hef_bytes.container(2, hef_bytes.message(77)))
    assert header.architecture == "an unknown chip (77)"
    with pytest.raises(PokeflowError, match=r"compiled for an unknown chip \(77\), but hailo8l is required"):
        hef.require_architecture(header, "hailo8l", "model.hef")


def test_hef_for_another_chip_is_refused():
    header = hef.read(hef_bytes.make("hailo8"))
    hef.require_architecture(header, "hailo8", "model.hef")
    with pytest.raises(PokeflowError, match=r"^model\.hef: is compiled for hailo8, .*Compile it for hailo8l\."):
        hef.require_architecture(header, "hailo8l", "model.hef")


SOUND = hef_bytes.make()
PROTO = hef_bytes.message()
HEADER = hef_bytes.field(1, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "0 bytes are too few"),
        (SOUND[:11], "11 bytes are too few"),
        (b"PK" + SOUND[2:], r"begins with 0x504b4546, not 0x01484546"),
        (struct.pack("<I", 0x01484546) + SOUND[4:], "begins with"),
        (SOUND[:4] + struct.pack(">I", 4) + SOUND[8:], "version 4; 0 to 3 are supported"),
        (SOUND[:40], "ends at byte 40, within its header"),
        (SOUND[:-1], "ends at byte"),
        (SOUND + b"\0", "1 bytes follow its end"),
        (SOUND[:8] + b"\xff\xff\xff\xff" + SOUND[12:], "ends at byte"),
        (hef_bytes.container(2, PROTO, b"12345678")[:-8], "ends at byte"),
        (hef_bytes.container(3, PROTO, b"1234", b"5678") + b"\0", "1 bytes follow"),
        (hef_bytes.container(2, b""), "has no header"),
        (hef_bytes.container(2, hef_bytes.field(2, b"group")), "has no header"),
        (hef_bytes.container(2, hef_bytes.field(1, 3)), "header in its message is of the wrong kind"),
        (hef_bytes.container(2, b"\x0a\xff\x01"), "longer than the message"),
        (hef_bytes.container(2, b"\x0a\xff"), "ends within a number"),
        (hef_bytes.container(2, b"\x0a" + b"\xff" * 10 + b"\x01"), "more than 64 bits"),
        (hef_bytes.container(2, b"\x0b"), "kind 3"),
        (hef_bytes.container(2, b"\x02\x00"), "without a number"),
        (hef_bytes.container(2, hef_bytes.field(1, hef_bytes.field(1, b"3"))), "field 1 .* wrong kind"),
        (hef_bytes.container(2, hef_bytes.field(1, hef_bytes.field(3, 3))), "field 3 .* wrong kind"),
        (hef_bytes.container(2, hef_bytes.field(1, hef_bytes.field(3, b"\xff\xfe"))), "not text"),
        (hef_bytes.container(2, hef_bytes.field(1, hef_bytes.field(3, b"3\n\x1b[31m"))), "version is invalid"),
        (hef_bytes.container(2, hef_bytes.field(1, hef_bytes.field(3, b"3" * 65))), "version is invalid"),
        (hef_bytes.container(2, hef_bytes.field(2, bytes(hef.MAX_PREFIX)) + PROTO), "no header in the first"),
    ],
)
def test_damaged_hef_is_refused_with_the_fault(content, says):
    with pytest.raises(PokeflowError, match=rf"^here: not a valid HEF: .*{says}.*Compile it again\.$"):
        hef.read(content, "here")


def test_missing_or_oversized_file_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match=r"absent\.hef: cannot be read"):
        hef.read(tmp_path / "absent.hef")
    with (tmp_path / "huge.hef").open("wb") as out:
        out.truncate(hef.MAX_BYTES + 1)
    with pytest.raises(PokeflowError, match="the limit is"):
        hef.read(tmp_path / "huge.hef")


def test_a_large_hef_is_not_read_into_memory(tmp_path):
    proto = hef_bytes.message() + hef_bytes.field(5, bytes(3 << 20))
    (tmp_path / "large.hef").write_bytes(hef_bytes.container(1, proto, bytes(1 << 20)))
    assert hef.read(tmp_path / "large.hef").proto_size == len(proto)


@given(st.binary(max_size=200))
@example(b"\x01HEF")
def test_random_bytes_are_refused(content):
    with pytest.raises(PokeflowError):
        hef.read(content)


@given(st.integers(0, 3), st.integers(0, 2**32 - 1), st.binary(max_size=120))
def test_random_bytes_after_the_magic_are_read_or_refused(version, proto_size, rest):
    try:
        header = hef.read(struct.pack(">III", hef.MAGIC, version, proto_size) + rest)
    except PokeflowError:
        return
    assert header.size == 12 + len(rest)


@given(st.integers(0, 3), st.binary(max_size=120))
def test_random_message_is_read_or_refused(version, proto):
    content = hef_bytes.container(version, proto)
    with contextlib.suppress(PokeflowError):
        assert hef.read(content).proto_size == len(proto)


@given(st.data(), st.integers(0, 3))
def test_hef_with_a_changed_byte_is_read_or_refused(data, version):
    content = bytearray(hef_bytes.container(version, hef_bytes.message(), b"w" * (16 if version else 0)))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PokeflowError):
        assert isinstance(hef.read(bytes(content)), hef.Header)
