"""Releases are signed with increasing sequences, and simulated bundles are not signed."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from pokeflow import PokeflowError, __version__
from pokeflow_edge.release import keys
from pokeflow_edge.release.sign import sign
from pokeflow_edge.runtime.update.releases import ReleaseRejectedError, read
from pokeflow_edge.runtime.update.sources import Folder

from ..pack.conftest import finished_task


def read_document(folder):
    return json.loads((folder / "release.json").read_bytes())


def test_release_has_archive_document_signature_and_public_key(release):
    to, result = release(at=1_000)
    assert sorted(path.name for path in to.iterdir()) == [
        "release.json", "release.json.sig", "release.pub", "small-v1.2-cpu.tar.gz",
    ]  # fmt: skip
    archive = (to / "small-v1.2-cpu.tar.gz").read_bytes()
    assert read_document(to) == {
        "archive": "small-v1.2-cpu.tar.gz", "size": len(archive), "sha256": hashlib.sha256(archive).hexdigest(),
        "model": "small", "version": "v1.2", "target": "cpu", "sequence": 1_000, "pokeflow": __version__,
    }  # fmt: skip
    assert (to / "release.json").read_text() == json.dumps(read_document(to), indent=2) + "\n"
    assert read(Folder(str(to)), to / "release.pub").sequence == 1_000
    assert result["state"] == "signed"
    assert result["public key"] in (to / "release.pub").read_text()


def test_same_bundle_creates_no_new_release(release):
    to, _ = release(at=1_000)
    before = {path.name: path.read_bytes() for path in to.iterdir()}
    _, result = release(at=2_000)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == before
    assert (result["state"], result["sequence"]) == ("already signed", 1_000)


def test_new_bundle_gets_a_higher_sequence_despite_the_clock(release):
    to, _ = release(at=1_000)
    _, result = release(at=500, top=3)
    assert result["sequence"] == read_document(to)["sequence"] == 1_001


def test_missing_or_damaged_archive_is_released_again(release):
    to, _ = release(at=1_000)
    (to / "small-v1.2-cpu.tar.gz").write_bytes(b"damaged")
    release(at=1_000)
    assert read_document(to)["sequence"] == 1_001
    (to / "small-v1.2-cpu.tar.gz").unlink()
    release(at=1_000)
    assert read_document(to)["sequence"] == 1_002
    assert read(Folder(str(to)), to / "release.pub").size == (to / "small-v1.2-cpu.tar.gz").stat().st_size


def test_simulated_bundle_is_not_signed_and_creates_no_key(release, home):
    with pytest.raises(PokeflowError, match="simulator of the compiler"):
        release(simulated=True)
    assert not keys.DEFAULT.expanduser().exists()


def test_bundle_marked_simulated_is_not_signed(release, home, tmp_path):
    with pytest.raises(PokeflowError, match="simulator of the compiler"):
        release(simulated=True)
    packed = finished_task("package", tmp_path / "package")
    assert not packed.record.simulated
    with pytest.raises(PokeflowError, match="simulator of the compiler"):
        sign(packed, str(tmp_path / "to"))
    assert not (tmp_path / "to").exists()


def test_record_marked_simulated_is_not_signed(release, home, tmp_path):
    release()
    packed = finished_task("package", tmp_path / "package", simulated=True)
    assert "simulated" not in json.loads((packed.folder / "bundle.json").read_bytes())
    with pytest.raises(PokeflowError, match=r"package:small: was produced by a simulator of the compiler"):
        sign(packed, str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_archive_is_written_before_the_release_document(release, monkeypatch):
    replaced, replace = [], Path.replace

    def record(self, target):
        replaced.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", record)
    release()
    assert replaced[-4:] == ["small-v1.2-cpu.tar.gz", "release.json", "release.json.sig", "release.pub"]


def test_signed_files_are_flushed_before_renaming(release, monkeypatch):
    flushed = {}

    def flush(handle):
        file = Path(f"/proc/self/fd/{handle}").resolve()
        flushed[file.name.removesuffix(".new")] = file.read_bytes()

    monkeypatch.setattr(os, "fsync", flush)
    to, _ = release()
    assert [*flushed] == ["signing.pem", "release.json", "release.json.sig", "release.pub"]
    assert all(content == (to / name).read_bytes() for name, content in [*flushed.items()][1:])


def test_result_has_size_keys_and_folder(release, home):
    to, result = release(at=1_000)
    size = (to / "small-v1.2-cpu.tar.gz").stat().st_size
    public = (to / "release.pub").read_text().splitlines()[1]
    key = home / ".config" / "pokeflow" / "signing.pem"
    assert result == {
        "release": str(to / "release.json"), "archive": "small-v1.2-cpu.tar.gz", "size_mb": size / 1e6,
        "sequence": 1_000, "state": "signed", "public key": public,
        "signing key": f"{key}, created now: keep a copy of it in a safe place",
    }  # fmt: skip


def test_release_in_the_same_second_gets_a_higher_sequence(release):
    release(at=1_000)
    _, result = release(at=1_000, top=3)
    assert result["sequence"] == 1_001
    _, result = release(at=2_000, top=4)
    assert result["sequence"] == 2_000


def test_sequence_ignores_releases_of_another_key(release, tmp_path):
    release(at=1_000)
    _, result = release(at=500, key=write(tmp_path / "other.pem"))
    assert (result["state"], result["sequence"]) == ("signed", 500)


def test_tilde_in_the_target_folder_is_expanded(flow, home):
    _, result = flow.package(flow.compile(), flow.prepare())
    sign(finished_task("package", flow.root / "package", **result.facts), "~/releases/cards")
    assert (home / "releases" / "cards" / "release.json").is_file()


def test_task_without_a_bundle_is_reported(release, tmp_path):
    with pytest.raises(PokeflowError, match="package:small: has no edge bundle"):
        sign(finished_task("package", tmp_path), str(tmp_path / "to"))


def test_openssl_verifies_a_release(release):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    to, _ = release()
    words = "openssl pkeyutl -verify -pubin -inkey release.pub -rawin -in release.json -sigfile release.json.sig"
    assert subprocess.run(words.split(), cwd=to, capture_output=True, check=False).returncode == 0
    (to / "release.json").write_bytes((to / "release.json").read_bytes() + b" ")
    assert subprocess.run(words.split(), cwd=to, capture_output=True, check=False).returncode != 0


def test_default_key_is_created_privately_and_reported(release, home):
    old = os.umask(0)
    try:
        _, first = release()
    finally:
        os.umask(old)
    file = home / ".config" / "pokeflow" / "signing.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert first["signing key"] == f"{file}, created now: keep a copy of it in a safe place"
    _, second = release(top=3)
    assert second["signing key"] == str(file)
    assert second["public key"] == first["public key"]


def test_key_is_only_in_its_file(release, home, caplog):
    to, result = release()
    secret = (home / ".config" / "pokeflow" / "signing.pem").read_text().splitlines()[1]
    assert secret not in json.dumps(result) + caplog.text
    for file in to.iterdir():
        assert secret.encode() not in file.read_bytes()


def write(file, key=None, encryption=None, mode=0o600):
    text = (key or Ed25519PrivateKey.generate()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()
    )
    file.write_bytes(text)
    file.chmod(mode)
    return str(file)


def test_key_argument_wins_over_variable_and_default(release, tmp_path, monkeypatch):
    own, variables = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    monkeypatch.setenv("POKEFLOW_SIGNING_KEY", write(tmp_path / "variable.pem", variables))
    to, _ = release()
    assert (to / "release.pub").read_bytes() == keys.public(variables)
    explicit = write(tmp_path / "given.pem", own)
    release(key=explicit)
    assert (to / "release.pub").read_bytes() == keys.public(own)
    assert not keys.DEFAULT.expanduser().exists()


def test_device_refuses_a_release_signed_by_another_key(release, tmp_path):
    to, _ = release(at=1_000)
    (tmp_path / "pinned.pub").write_bytes((to / "release.pub").read_bytes())
    release(at=2_000, key=write(tmp_path / "other.pem"))
    with pytest.raises(ReleaseRejectedError):
        read(Folder(str(to)), tmp_path / "pinned.pub")


def test_key_readable_by_others_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match="chmod 600"):
        keys.load_key(write(tmp_path / "open.pem", mode=0o640))


@pytest.mark.parametrize("text", [b"", b"hush hush", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_invalid_key_is_reported_without_its_content(tmp_path, text):
    (tmp_path / "x.pem").write_bytes(text)
    (tmp_path / "x.pem").chmod(0o600)
    with pytest.raises(PokeflowError, match="not an unencrypted private key") as error:
        keys.load_key(str(tmp_path / "x.pem"))
    assert "hush" not in str(error.value)
    assert "AAAA" not in str(error.value)


def test_wrong_type_encrypted_or_missing_key_is_reported(tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec

    with pytest.raises(PokeflowError, match="not an Ed25519 key"):
        keys.load_key(write(tmp_path / "ec.pem", ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(PokeflowError, match="not an unencrypted private key"):
        keys.load_key(write(tmp_path / "locked.pem", encryption=BestAvailableEncryption(b"x")))
    with pytest.raises(PokeflowError, match=r"openssl genpkey -algorithm ed25519 -out '.*/no where\.pem'"):
        keys.load_key(str(tmp_path / "no where.pem"))
    with pytest.raises(PokeflowError, match="no user of this name"):
        keys.load_key("~no-such-user/x.pem")
    with pytest.raises(PokeflowError, match="not a file"):
        keys.load_key(str(tmp_path))


def test_key_never_overwrites_an_existing_file(home):
    file = keys.DEFAULT.expanduser()
    file.parent.mkdir(parents=True)
    file.symlink_to(home / "victim")
    with pytest.raises(PokeflowError, match="a key cannot be written"):
        keys.load_key(None)
    assert not (home / "victim").exists()
