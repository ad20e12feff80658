"""Signed click addresses and their key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.web.signing import Shown, Signer, read_or_make_key


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
