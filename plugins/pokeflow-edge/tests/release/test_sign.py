"""A signed release: what is written, in which order releases come, and what is not signed."""

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

from ..pack.conftest import done


def told(folder):
    return json.loads((folder / "release.json").read_bytes())


def test_a_release_is_archive_words_signature_and_public_key(release):
    to, result = release(at=1_000)
    assert sorted(path.name for path in to.iterdir()) == [
        "release.json", "release.json.sig", "release.pub", "small-v1.2-cpu.tar.gz",
    ]  # fmt: skip
    archive = (to / "small-v1.2-cpu.tar.gz").read_bytes()
    assert told(to) == {
        "archive": "small-v1.2-cpu.tar.gz", "size": len(archive), "sha256": hashlib.sha256(archive).hexdigest(),
        "model": "small", "version": "v1.2", "target": "cpu", "sequence": 1_000, "pokeflow": __version__,
    }  # fmt: skip
    assert (to / "release.json").read_text() == json.dumps(told(to), indent=2) + "\n"
    assert read(Folder(str(to)), to / "release.pub").sequence == 1_000
    assert result["state"] == "signed"
    assert result["public key"] in (to / "release.pub").read_text()


def test_the_same_bundle_again_is_no_new_release(release):
    to, _ = release(at=1_000)
    before = {path.name: path.read_bytes() for path in to.iterdir()}
    _, result = release(at=2_000)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == before
    assert (result["state"], result["sequence"]) == ("already signed", 1_000)


def test_another_bundle_is_a_later_release_even_where_the_clock_was_set_back(release):
    to, _ = release(at=1_000)
    _, result = release(at=500, top=3)
    assert result["sequence"] == told(to)["sequence"] == 1_001


def test_a_release_whose_archive_is_gone_or_damaged_is_made_anew_and_later(release):
    to, _ = release(at=1_000)
    (to / "small-v1.2-cpu.tar.gz").write_bytes(b"damaged")
    release(at=1_000)
    assert told(to)["sequence"] == 1_001
    (to / "small-v1.2-cpu.tar.gz").unlink()
    release(at=1_000)
    assert told(to)["sequence"] == 1_002
    assert read(Folder(str(to)), to / "release.pub").size == (to / "small-v1.2-cpu.tar.gz").stat().st_size


def test_what_a_double_made_is_never_signed_and_makes_no_key(release, home):
    with pytest.raises(PokeflowError, match="simulator of the compiler"):
        release(simulated=True)
    assert not keys.DEFAULT.expanduser().exists()


def test_a_bundle_that_says_it_is_simulated_is_never_signed_whatever_its_record_says(release, home, tmp_path):
    with pytest.raises(PokeflowError, match="simulator of the compiler"):
        release(simulated=True)
    packed = done("package", tmp_path / "package")
    assert not packed.record.simulated
    with pytest.raises(PokeflowError, match="simulator of the compiler"):
        sign(packed, str(tmp_path / "to"))
    assert not (tmp_path / "to").exists()


def test_a_record_that_says_it_is_simulated_is_never_signed_whatever_its_bundle_says(release, home, tmp_path):
    release()
    packed = done("package", tmp_path / "package", simulated=True)
    assert "simulated" not in json.loads((packed.folder / "bundle.json").read_bytes())
    with pytest.raises(PokeflowError, match=r"package:small: was produced by a simulator of the compiler"):
        sign(packed, str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_the_archive_is_in_its_place_before_the_release_that_names_it(release, monkeypatch):
    replaced, replace = [], Path.replace

    def recorded(self, target):
        replaced.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", recorded)
    release()
    assert replaced[-4:] == ["small-v1.2-cpu.tar.gz", "release.json", "release.json.sig", "release.pub"]


def test_what_is_signed_is_flushed_before_it_takes_its_name(release, monkeypatch):
    flushed = {}

    def flush(handle):
        file = Path(f"/proc/self/fd/{handle}").resolve()
        flushed[file.name.removesuffix(".new")] = file.read_bytes()

    monkeypatch.setattr(os, "fsync", flush)
    to, _ = release()
    assert [*flushed] == ["signing.pem", "release.json", "release.json.sig", "release.pub"]
    assert all(content == (to / name).read_bytes() for name, content in [*flushed.items()][1:])


def test_a_release_tells_its_size_key_and_folder(release, home):
    to, result = release(at=1_000)
    size = (to / "small-v1.2-cpu.tar.gz").stat().st_size
    public = (to / "release.pub").read_text().splitlines()[1]
    key = home / ".config" / "pokeflow" / "signing.pem"
    assert result == {
        "release": str(to / "release.json"), "archive": "small-v1.2-cpu.tar.gz", "size_mb": size / 1e6,
        "sequence": 1_000, "state": "signed", "public key": public,
        "signing key": f"{key}, created now: keep a copy of it in a safe place",
    }  # fmt: skip


def test_a_release_of_the_same_second_is_later(release):
    release(at=1_000)
    _, result = release(at=1_000, top=3)
    assert result["sequence"] == 1_001
    _, result = release(at=2_000, top=4)
    assert result["sequence"] == 2_000


def test_a_release_that_another_key_signed_is_none_of_ours(release, tmp_path):
    release(at=1_000)
    _, result = release(at=500, key=write(tmp_path / "other.pem"))
    assert (result["state"], result["sequence"]) == ("signed", 500)


def test_a_folder_below_the_home_is_written_there(flow, home):
    _, made = flow.package(flow.compiled(), flow.prepared())
    sign(done("package", flow.root / "package", **made.facts), "~/releases/cards")
    assert (home / "releases" / "cards" / "release.json").is_file()


def test_a_task_that_left_no_bundle_is_told(release, tmp_path):
    with pytest.raises(PokeflowError, match="package:small: has no edge bundle"):
        sign(done("package", tmp_path), str(tmp_path / "to"))


def test_openssl_verifies_a_release(release):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    to, _ = release()
    words = "openssl pkeyutl -verify -pubin -inkey release.pub -rawin -in release.json -sigfile release.json.sig"
    assert subprocess.run(words.split(), cwd=to, capture_output=True, check=False).returncode == 0
    (to / "release.json").write_bytes((to / "release.json").read_bytes() + b" ")
    assert subprocess.run(words.split(), cwd=to, capture_output=True, check=False).returncode != 0


def test_the_users_own_key_is_made_at_its_first_use_for_nobody_else_and_is_told(release, home):
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


def test_the_key_is_nowhere_but_in_its_file(release, home, caplog):
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


def test_a_key_is_the_one_given_before_the_variables_before_the_users(release, tmp_path, monkeypatch):
    own, variables = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    monkeypatch.setenv("POKEFLOW_SIGNING_KEY", write(tmp_path / "variable.pem", variables))
    to, _ = release()
    assert (to / "release.pub").read_bytes() == keys.public(variables)
    given = write(tmp_path / "given.pem", own)
    release(key=given)
    assert (to / "release.pub").read_bytes() == keys.public(own)
    assert not keys.DEFAULT.expanduser().exists()


def test_another_key_signs_anew_and_a_device_with_the_first_one_refuses(release, tmp_path):
    to, _ = release(at=1_000)
    (tmp_path / "pinned.pub").write_bytes((to / "release.pub").read_bytes())
    release(at=2_000, key=write(tmp_path / "other.pem"))
    with pytest.raises(ReleaseRejectedError):
        read(Folder(str(to)), tmp_path / "pinned.pub")


def test_a_key_that_others_can_read_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match="chmod 600"):
        keys.load_key(write(tmp_path / "open.pem", mode=0o640))


@pytest.mark.parametrize("text", [b"", b"hush hush", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_told_without_its_words(tmp_path, text):
    (tmp_path / "x.pem").write_bytes(text)
    (tmp_path / "x.pem").chmod(0o600)
    with pytest.raises(PokeflowError, match="not an unencrypted private key") as error:
        keys.load_key(str(tmp_path / "x.pem"))
    assert "hush" not in str(error.value)
    assert "AAAA" not in str(error.value)


def test_another_kind_of_key_one_with_a_password_and_one_that_is_not_there_are_told(tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec

    with pytest.raises(PokeflowError, match="not an Ed25519 key"):
        keys.load_key(write(tmp_path / "ec.pem", ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(PokeflowError, match="not an unencrypted private key"):
        keys.load_key(write(tmp_path / "locked.pem", encryption=BestAvailableEncryption(b"x")))
    with pytest.raises(PokeflowError, match="openssl genpkey -algorithm ed25519"):
        keys.load_key(str(tmp_path / "nowhere.pem"))
    with pytest.raises(PokeflowError, match="not a file"):
        keys.load_key(str(tmp_path))


def test_a_key_is_never_written_over_another(home):
    file = keys.DEFAULT.expanduser()
    file.parent.mkdir(parents=True)
    file.symlink_to(home / "victim")
    with pytest.raises(PokeflowError, match="a key cannot be written"):
        keys.load_key(None)
    assert not (home / "victim").exists()
