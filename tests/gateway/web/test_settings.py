"""What the HTTP server may be told, and what is refused in one sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.web.settings import WebSettings, read_web_settings
from gateway.web.signing import Shown, Signer, read_or_make_key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host: 0.0.0.0\n", "expected tokens for clients of /v1"),
        ("host: example.org\n", "expected tokens"),
        ("item_url: https://shop.example/\n", "with {item_id} in its path"),
        ("item_url: 'javascript:alert({item_id})'\n", "with {item_id} in its path"),
        ("item_url: '//evil.example/{item_id}'\n", "with {item_id} in its path"),
        ("item_url: 'https://{item_id}/x'\n", "with {item_id} in its path"),
        ("item_url: 'https://shop.example/{merchant_id}/{item_id}'\n", "no braces but those of {item_id}"),
        ("item_urls: {m: /p}\n", "with {item_id} in its path"),
        ("origins: ['*']\n", "expected origins such as"),
        ("origins: ['https://shop.example/']\n", "expected origins such as"),
        ("public_url: ftp://x\n", "expected an address such as"),
        ("certificate: a.pem\n", "expected both files or neither"),
        ("tokens: {a: {sha256: abc}}\n", "sha256"),
        ("tokens: {a: {sha256: 0}}\n", "sha256"),
        ("prot: 1\n", "did you mean port?"),
    ],
)
def test_wrong_settings_are_refused_with_file_and_field(tmp_path, text, words):
    path = tmp_path / "web.yaml"
    path.write_text(text)
    with pytest.raises(GatewayError) as found:
        read_web_settings(path)
    assert words in str(found.value) and str(path) in str(found.value) and "\n" not in str(found.value)


def test_an_items_page_is_its_merchants_or_the_common_one_and_ids_are_quoted():
    settings = WebSettings(item_url="https://a.example/{item_id}", item_urls={"m": "/p?i={item_id}"})
    assert settings.item_page("other", "a/b?c&d #é") == "https://a.example/a%2Fb%3Fc%26d%20%23%C3%A9"
    assert settings.item_page("m", "x y") == "/p?i=x%20y"
    assert WebSettings().item_page("m", "x") is None


@given(st.tuples(*[st.text(max_size=20)] * 5), st.integers(0, 2**40))
def test_what_was_signed_is_read_back_and_nothing_else_is_accepted(texts, seconds):
    shown, signer = Shown(*texts, seconds), Signer(b"k" * 32)
    token = signer.sign(shown)
    assert signer.read(token) == shown
    assert all(one.isalnum() or one in "-_." for one in token)
    for place in (0, len(token) // 2, len(token) - 3):
        wrong = token[:place] + ("B" if token[place] == "A" else "A") + token[place + 1 :]
        with pytest.raises(GatewayError, match="not signed"):
            signer.read(wrong)


def test_the_key_is_made_once_and_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "deep" / "web.key"
    key = read_or_make_key(path)
    assert len(key) == 32 and read_or_make_key(path) == key
    path.write_text("short\n")
    with pytest.raises(GatewayError, match="expected 64 hexadecimal digits"):
        read_or_make_key(path)
