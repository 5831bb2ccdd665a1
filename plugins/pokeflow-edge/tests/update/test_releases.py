"""A tampered release is never installed, and is refused as early as possible."""

import gzip
import hashlib
import io
import json
import os
import re
import tarfile

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokeflow.errors import PokeflowError
from pokeflow_edge.release import keys
from pokeflow_edge.runtime.update import releases, unpack
from pokeflow_edge.runtime.update.releases import ReleaseRejectedError, parse_release, verify

from .conftest import Maker, bundle, tar

ABOUT = {
    "archive": "a-v1-cpu.tar.gz", "size": 1, "sha256": "0" * 64, "model": "a", "version": "v1", "target": "cpu",
    "sequence": 1, "pokeflow": "0.1.0",
}  # fmt: skip


def flip(file, position):
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["release.json", "release.json.sig"])
def test_flipped_bit_in_document_or_signature_is_refused(device, name):
    device.maker.release(200)
    before, whole = device.snapshot(), (device.maker.folder / name).read_bytes()
    for position in range(0, len(whole), 7):
        (device.maker.folder / name).write_bytes(whole)
        flip(device.maker.folder / name, position)
        with pytest.raises(ReleaseRejectedError, match="not signed by a key that this device trusts"):
            device.update()
    assert device.snapshot() == before
    assert not device.root.downloads.exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_flipped_bit_in_the_archive_is_refused_before_unpacking(device, share, monkeypatch):
    device.maker.release(200)
    archive = device.maker.folder / "small-v200-cpu.tar.gz"
    flip(archive, int(share * archive.stat().st_size))
    before = device.snapshot()
    monkeypatch.setattr(tarfile, "open", None)
    with pytest.raises(ReleaseRejectedError, match="not the archive that was signed"):
        device.update()
    assert device.snapshot() == before
    assert list(device.root.downloads.iterdir()) == []


def test_longer_or_shorter_archive_is_refused(device):
    device.maker.release(200)
    archive = device.maker.folder / "small-v200-cpu.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole + b"\0")
    with pytest.raises(ReleaseRejectedError, match="longer than the archive that was signed"):
        device.update()
    archive.write_bytes(whole[:-1])
    with pytest.raises(PokeflowError, match="ended 1 bytes too early"):
        device.update()
    assert device.require_whole() == 100


def test_release_signed_by_another_key_is_refused(device):
    other = Maker(device.maker.folder, Ed25519PrivateKey.generate())
    other.release(200)
    before = device.snapshot()
    with pytest.raises(ReleaseRejectedError, match="not signed by a key"):
        device.update()
    assert device.snapshot() == before


def test_signature_of_another_release_is_refused(device):
    device.maker.release(200)
    signature = (device.maker.folder / "release.json.sig").read_bytes()
    device.maker.release(300)
    (device.maker.folder / "release.json.sig").write_bytes(signature)
    with pytest.raises(ReleaseRejectedError, match="not signed by a key"):
        device.update()


@pytest.mark.parametrize("length", [0, 1, 63])
def test_signature_of_wrong_length_is_refused(device, length):
    device.maker.release(200)
    (device.maker.folder / "release.json.sig").write_bytes(b"\0" * length)
    with pytest.raises(ReleaseRejectedError, match="not signed by a key"):
        device.update()


def test_oversized_document_or_signature_is_refused(device):
    device.maker.release(200)
    for name, length in (("release.json", 65_537), ("release.json.sig", 65)):
        (device.maker.folder / name).write_bytes(b"x" * length)
        with pytest.raises(PokeflowError, match=r"larger than the limit of [\d,]+ bytes"):
            device.update()
        device.maker.release(200)


def test_key_is_rotated_by_trusting_both_keys(device):
    new = Maker(device.maker.folder, Ed25519PrivateKey.generate())
    new.release(200)
    device.keys.write_bytes(device.keys.read_bytes() + keys.public(new.key))
    device.update()
    device.keys.write_bytes(keys.public(new.key))
    device.maker.release(300)
    with pytest.raises(ReleaseRejectedError, match="not signed by a key"):
        device.update()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no public key in PEM format"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is not a public key"),
        (
            ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
                Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
            ),
            "not an Ed25519 key",
        ),
    ],
)  # fmt: skip
def test_invalid_or_missing_pinned_key_is_reported(device, text, message):
    device.keys.write_bytes(text)
    with pytest.raises(PokeflowError, match=message):
        device.update()
    device.keys.unlink()
    with pytest.raises(PokeflowError, match="cannot read the public key"):
        device.update()


def test_document_is_not_parsed_before_its_signature_is_valid(device, monkeypatch):
    device.maker.release(200)
    (device.maker.folder / "release.json.sig").write_bytes(b"\0" * 64)

    def read(*_):
        raise AssertionError("it was read")

    monkeypatch.setattr(releases, "parse_release", read)
    with pytest.raises(ReleaseRejectedError, match="not signed by a key"):
        device.update()


@pytest.mark.parametrize(
    "change",
    [
        {"archive": "../x.tar.gz"}, {"archive": "/etc/x.tar.gz"}, {"archive": "x.zip"}, {"archive": ""}, {"archive": 1},
        {"size": 0}, {"size": -1}, {"size": 1 << 40}, {"size": "1"}, {"size": True}, {"size": 1.0},
        {"sha256": "0" * 63}, {"sha256": "G" * 64}, {"sequence": 0}, {"sequence": 1 << 60},
        {"sequence": "9"}, {"sequence": None}, {"model": None}, {"version": ["v1"]}, {"target": {}},
    ],
)  # fmt: skip
def test_signed_document_with_an_invalid_value_is_refused(change):
    with pytest.raises(ReleaseRejectedError, match="signed, but"):
        parse_release(json.dumps(ABOUT | change).encode())
    assert parse_release(json.dumps(ABOUT | {"more": 1}).encode()).sequence == 1


def test_largest_archive_size_and_sequence_are_accepted():
    for name, most in (("size", 4_000_000_000), ("sequence", (1 << 53) - 1)):
        assert getattr(parse_release(json.dumps(ABOUT | {name: most}).encode()), name) == most
        with pytest.raises(ReleaseRejectedError, match=f"signed, but has an invalid {name}: '{most + 1}'"):
            parse_release(json.dumps(ABOUT | {name: most + 1}).encode())


def test_label_has_model_version_target_and_sequence():
    assert parse_release(json.dumps(ABOUT).encode()).label == "a v1 for cpu, release 1"


def test_files_of_the_maximum_size_are_read(device):
    device.maker.release(200)
    text = (device.maker.folder / "release.json").read_bytes()
    device.maker.sign(text + b" " * (65_536 - len(text)))
    key = device.keys.read_bytes().strip()
    device.keys.write_bytes(b"\n" * (65_536 - len(key)) + key)
    assert device.update().startswith("installed")
    device.keys.write_bytes(b"\n" * (65_537 - len(key)) + key)
    with pytest.raises(PokeflowError, match="no public key in PEM format"):
        device.update()


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff", b'{"size": 1}', b"[" * 50_000])
def test_signed_document_that_is_malformed_is_refused(text):
    with pytest.raises(ReleaseRejectedError, match="signed, but not a valid release"):
        parse_release(text)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.binary(max_size=80))
def test_random_signatures_are_refused(text, signature):
    key = Ed25519PrivateKey.generate()
    with pytest.raises(ReleaseRejectedError):
        verify(text, signature, [keys.public(key)], "x")
    verify(text, key.sign(text), [keys.public(Ed25519PrivateKey.generate()), keys.public(key)], "x")


def member(name, type=tarfile.REGTYPE, target="", size=0):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = type, target
    return entry, b"\0" * size


def release_members(device, members):
    """Release a valid bundle with these additional members, correctly signed."""
    good = [(tarfile.TarInfo(name), data) for name, data in bundle("v200", b"model").items()]
    device.maker.release(200, packed=tar([*good, *members]))


@pytest.mark.parametrize(
    "entry",
    [
        member("../../../out", size=1), member("../out", size=1), member("a/../../../../out", size=1),
        member("C:/x", size=1), member("a\\b", size=1), member("", size=1),
        member("./x", size=1), member("a//b", size=1),
        member("x\n", size=1), member("ü" * 200, size=1),
        member("link", tarfile.SYMTYPE, "/etc/passwd"), member("hard", tarfile.LNKTYPE, "../../release.pub"),
        member("device", tarfile.CHRTYPE), member("block", tarfile.BLKTYPE), member("pipe", tarfile.FIFOTYPE),
        member("folder", tarfile.DIRTYPE), member("model/model", size=1), member("model/model/x", size=1),
        member("bin", size=1), member("more", size=1), member("sparse", tarfile.GNUTYPE_SPARSE, size=1),
        member("z" * 300, size=1),
    ],
    ids=lambda entry: repr(entry[0].name[:20]),
)  # fmt: skip
def test_signed_hostile_archive_is_refused(device, entry):
    release_members(device, [entry])
    around = set(os.listdir(device.root.folder.parent))  # noqa: PTH208 - names alone
    before = device.snapshot()
    with pytest.raises(PokeflowError, match=r"not a (valid|readable) bundle"):
        device.update()
    assert device.snapshot() == before
    assert not device.root.staging.exists()
    assert set(os.listdir(device.root.folder.parent)) == around  # noqa: PTH208 - the same


def test_absolute_path_is_refused_before_writing(device, tmp_path):
    release_members(device, [member(f"{tmp_path}/out", size=1)])
    with pytest.raises(ReleaseRejectedError, match="is not a safe path"):
        device.update()
    assert not (tmp_path / "out").exists()


def test_signed_decompression_bomb_is_stopped_at_the_limit(device, monkeypatch):
    monkeypatch.setattr(unpack.unpack, "__defaults__", (1_000_000,))
    written = []
    monkeypatch.setattr("shutil.copyfileobj", _counting_copy(written))
    release_members(device, [member("zeros", size=50_000_000)])
    with pytest.raises(ReleaseRejectedError, match="unpacks to more than 1 MB"):
        device.update()
    assert sum(written) < 1_200_000
    assert device.require_whole() == 100


def _counting_copy(written):
    def copy(source, target):
        while block := source.read(65_536):
            written.append(len(block))
            target.write(block)

    return copy


@pytest.mark.parametrize("name", ["model/model", "bin/recognize", "lib/pokeflow_edge/runtime/__main__.py"])
def test_signed_bundle_with_differing_file_is_refused(device, name):
    content = bundle("v200", b"model")
    content[name] += b" and more"
    device.maker.release(200, packed=tar(content))
    with pytest.raises(ReleaseRejectedError, match="differs from bundle"):
        device.update()
    content.pop(name)
    device.maker.release(201, "v200", packed=tar(content))
    with pytest.raises(ReleaseRejectedError, match=f"{re.escape(name)}: is missing"):
        device.update()


@pytest.mark.parametrize("about", [b"", b"[]", b"{}", b'{"files": 1}', b'{"files": {}}', b"[" * 100_000])
def test_malformed_bundle_json_is_refused(device, about):
    device.maker.release(200, packed=tar({"bundle.json": about}))
    with pytest.raises(ReleaseRejectedError, match="not a valid bundle"):
        device.update()
    assert device.require_whole() == 100


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_signed_archive_is_refused_or_installed_whole(device, data):
    """A tar with changed bytes, signed again, is refused, or every installed file matches its checksum."""
    plain = io.BytesIO(gzip.decompress(tar(bundle("v200", b"model"))))
    raw = bytearray(plain.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    packed = gzip.compress(bytes(raw[: data.draw(st.integers(1, len(raw)))]), 1)
    device.maker.release(200, packed=packed)
    try:
        device.update(older=True)
    except PokeflowError:
        assert device.require_whole() in (100, 200)
        return
    assert device.require_whole() == 200
    digest = hashlib.sha256((device.root.folder / "current" / "model" / "model").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(b"model").hexdigest()
