"""A file of settings is read or refused by the place of its mistake; nothing is served in clear to others unasked."""

from pathlib import Path

import pytest

from rheostat.base.errors import BadArgument, FileNotUsable, MissingExtra
from rheostat.serve import extra
from rheostat.serve.secret import read_secret
from rheostat.serve.settings import Settings, checked, read_settings

TOML = """
model = "gemma3-270m"
port = 9000
folder = "state"

[impairment]
mode = "gaussian"
most = 2.0
default = "floor"
texts = "texts.txt"

[limits]
rows = 4

[directions]
formal = "formal.safetensors"

[tls]
certificate = "a.pem"
private_key = "b.pem"
"""


def test_a_file_is_read_and_its_paths_lie_beside_it(tmp_path):
    (tmp_path / "serve.toml").write_text(TOML)
    found = read_settings(tmp_path / "serve.toml")
    assert (found.model, found.port, found.limits.rows, found.impairment.most) == ("gemma3-270m", 9000, 4, 2.0)
    assert found.keys_path == tmp_path / "state" / "keys.sqlite"
    assert found.impairment.texts == tmp_path / "texts.txt"
    assert found.directions == {"formal": tmp_path / "formal.safetensors"}
    assert found.tls is not None and found.tls.certificate == tmp_path / "a.pem"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("prot = 1", "prot"),
        ("port = 99999", "port"),
        ("[limits]\nrows = 0", "limits.rows"),
        ('[directions]\n"two words" = "a"', "directions.two words.\\[key\\]"),
        ("[impairment]\nmost = inf", "impairment.most"),
        ('[impairment]\nmode = "loud"', "impairment.mode"),
        ('[impairment]\nmode = "magnitude"\nmost = 2.0', "impairment.most"),
    ],
)
def test_a_mistake_is_named_by_its_place(tmp_path, text, place):
    (tmp_path / "serve.toml").write_text(text)
    with pytest.raises(BadArgument, match=rf"serve\.toml: {place}: "):
        read_settings(tmp_path / "serve.toml")


def test_a_file_that_is_no_toml_is_refused(tmp_path):
    (tmp_path / "serve.toml").write_text("= 3")
    for name in ("serve.toml", "missing.toml"):
        with pytest.raises(FileNotUsable, match=name):
            read_settings(tmp_path / name)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_is_served_without_a_certificate(host):
    Settings(host=host).check_host()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "", "127.0.0.1.example.org"])
def test_others_are_not_unless_it_is_encrypted_or_allowed(host):
    with pytest.raises(BadArgument, match="--insecure"):
        Settings(host=host).check_host()
    Settings(host=host).check_host(insecure=True)
    with pytest.raises(FileNotUsable, match=r"\[tls\]"):
        checked({"host": host, "tls": {"certificate": "a", "private_key": "b"}}).check_host()


def test_the_secret_is_made_once_and_kept_from_others(tmp_path):
    path = tmp_path / "state" / "secret"
    first = read_secret(path)
    assert len(first) == 32 and read_secret(path) == first and path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["secret"]
    path.chmod(0o644)
    with pytest.raises(FileNotUsable, match="chmod 600"):
        read_secret(path)
    path.chmod(0o600)
    for wrong in ("", "00" * 31, "zz" * 32):
        path.write_text(wrong)
        with pytest.raises(FileNotUsable, match="damaged"):
            read_secret(path)


def test_a_missing_extra_is_named(monkeypatch):
    extra.check_installed()
    monkeypatch.setattr(extra.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[serve\]'"):
        extra.check_installed()


def test_a_file_of_settings_is_that_of_the_documentation():
    page = Path(__file__).parents[2] / "docs" / "serving.md"
    text = page.read_text(encoding="utf-8").split("```toml\n", 1)[1].split("```", 1)[0]
    import tomllib

    found = tomllib.loads(text)
    assert checked(found).model_dump(exclude={"folder", "tls"}) == Settings().model_dump(exclude={"folder", "tls"})
